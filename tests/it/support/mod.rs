//! What tests stand on: a world of a database, an issuer and nodes; clients; patience.

pub mod client;
pub mod events;
pub mod world;

pub use client::{Client, change, delete, insert, update};
pub use events::{Event, Events};
pub use world::{World, psql};

use std::io::Write;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use crate::store::sql::value;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Prints a figure, past the test runner, which keeps what a test that passes has printed.
pub fn say(line: &str) {
    let mut past = std::io::stderr();
    writeln!(past, "{line}").unwrap();
}

/// Waits until what joinings publish is published.
pub async fn all_published(admin: &mut PgConnection) {
    let done = "select not exists (select from sync_members where not published)";
    eventually("publishing", async || value::<bool>(admin, done).await.then_some(())).await;
}

/// Waits until `look` gives something, under a deadline.
///
/// # Panics
/// Where it does not in time: `what` was awaited.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
