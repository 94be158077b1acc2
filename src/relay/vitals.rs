//! Asks now and then how the database server is, for the metrics.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::store::{Store, Vitals};

/// Asks again and again, until told to stop. A server that does not say is unknown, not as it was.
pub async fn watch(store: Store, every: Duration, stop: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match store.vitals(metrics::TABLES).await {
            Ok(vitals) => tell(&vitals),
            Err(error) => {
                tracing::debug!(%error, "the database does not say how it is");
                metrics::database(f64::NAN, f64::NAN, f64::NAN);
                for table in metrics::TABLES {
                    metrics::table_size(table, f64::NAN, f64::NAN, f64::NAN);
                }
            }
        }
    }
}

fn tell(vitals: &Vitals) {
    metrics::database(vitals.notification_queue, vitals.connections, vitals.max_connections);
    for table in metrics::TABLES {
        if let Some(found) = vitals.tables.iter().find(|found| found.name == *table) {
            metrics::table_size(table, found.live, found.dead, found.bytes);
        }
    }
}
