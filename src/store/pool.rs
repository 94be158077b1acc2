//! The connections of a node to its database: few, kept, handed out one at a time.
//!
//! Invariant: whoever takes one waits for the database no longer than told, and nothing is asked of
//! a connection that comes back. (sqlx's own pool asks it whether it is well: one more round trip a
//! statement, without a limit of time, so that a connection that dies just then holds its place until
//! the kernel gives it up.)

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, RecycleError, RecycleResult};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::sleep;

use super::connect::identify;

/// The connections.
pub(super) type Pool = deadpool::managed::Pool<Connector>;
/// One of them, given back when it is dropped.
pub(super) type Pooled = Object<Connector>;

/// One that was not used for so long is not used again: something between may have dropped it.
const IDLE: Duration = Duration::from_mins(10);
/// Nor is one that is so old, for server processes grow.
const LIFE: Duration = Duration::from_mins(30);
/// Between two attempts to connect; twice as long each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(10);
/// Ditto.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How connections are made.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) options: PgConnectOptions,
    /// The last stamp of which the node has heard, in microseconds.
    pub(super) heard: Arc<AtomicI64>,
}

impl Manager for Connector {
    type Type = PgConnection;
    type Error = sqlx::Error;

    /// Connects, again and again while the server is starting or full: whoever waits knows for how
    /// long.
    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        let mut pause = PAUSE;
        loop {
            // Boxed, for it is large, and a part of all that ask the database.
            match Box::pin(self.options.connect()).await {
                Ok(mut connection) => {
                    match Box::pin(identify(&mut connection, &self.heard)).await {
                        Ok(()) => return Ok(connection),
                        Err(error) => tracing::error!(%error, "a new connection broke"),
                    }
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn recycle(&self, _: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.last_used() > IDLE || metrics.age() > LIFE {
            return Err(RecycleError::message("retired"));
        }
        Ok(())
    }
}

/// The server is not there yet, or has no room.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}
