//! `mana-sync dev --demo`: takes the tour itself, and tells how long each step took.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::fleet::{Fleet, Replica};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the tour went wrong.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A request failed.
    #[error("the tour: {0}")]
    Http(#[from] reqwest::Error),
    /// Something that was to come did not.
    #[error("the tour: {0}")]
    Missing(String),
}

/// Pushes through each replica in turn, and waits for it on a stream of the next one.
pub(super) async fn run(fleet: &Fleet) -> Result<(), DemoError> {
    let http = reqwest::Client::new();
    let addresses: Vec<_> = fleet.replicas().iter().map(Replica::address).collect();
    for (number, address) in addresses.iter().enumerate() {
        let next = (number + 1) % addresses.len();
        let bob = fleet.tokens.token("bob", Duration::from_mins(1));
        let stream = format!("http://{}/sync/todo/stream?collections=tasks", addresses[next]);
        let mut stream = http.get(stream).bearer_auth(bob).send().await?.error_for_status()?;
        println!("bob follows replica {}.", next + 1);
        let record = format!("milk-{}", jiff::Timestamp::now().as_microsecond());
        let change = json!({ "table": "tasks", "id": record, "op": "insert", "spaceId": "home",
                             "data": { "title": "Milk" } });
        let alice = fleet.tokens.token("alice", Duration::from_mins(1));
        let pushed = Instant::now();
        let answer: Value = http
            .post(format!("http://{address}/sync/todo"))
            .bearer_auth(alice)
            .header("X-Client-Id", "laptop")
            .body(json!({ "changes": [change] }).to_string())
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let acknowledged = pushed.elapsed();
        println!(
            "alice pushed {record} through replica {}: acknowledged after {:.1} ms, up to {}.",
            number + 1,
            millis(acknowledged),
            answer["syncedUntil"].as_str().unwrap_or("?"),
        );
        let arrived = timeout(PATIENCE, wait_for(&mut stream, &record)).await;
        arrived.map_err(|_| DemoError::Missing(format!("{record} did not arrive")))??;
        println!(
            "bob received it through replica {}, {:.1} ms after the push.",
            next + 1,
            millis(pushed.elapsed())
        );
    }
    Ok(())
}

async fn wait_for(stream: &mut reqwest::Response, record: &str) -> Result<(), DemoError> {
    let mut seen = String::new();
    while let Some(chunk) = stream.chunk().await? {
        seen.push_str(&String::from_utf8_lossy(&chunk));
        if seen.contains(record) {
            return Ok(());
        }
    }
    Err(DemoError::Missing("the stream ended".to_owned()))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
