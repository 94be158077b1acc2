//! Streams under way: what they send, byte for byte, from where they go on, and what a slow one
//! costs.

mod apps;
mod backlog;
mod bytes;
mod cursors;
pub mod slow;
mod socket;

use serde_json::{Value, json};

use crate::support::{Client, Events};

/// Inserts of the records `t{n}` into a table.
fn inserts(table: &str, numbers: std::ops::Range<usize>) -> Vec<Value> {
    let insert = |n| json!({"table": table, "id": format!("t{n}"), "op": "insert", "data": {}});
    numbers.map(insert).collect()
}

/// The ids of their records.
pub fn records(changes: &[Value]) -> Vec<String> {
    changes.iter().map(|change| change["id"].as_str().unwrap().to_owned()).collect()
}

/// The records `t{n}` that [`inserts`] makes.
fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("t{n}")).collect()
}

/// The streams that are open at a node, as its health tells.
async fn open_streams(node: &str, client: &Client) -> u64 {
    let health = client.get(node, "/health").await.text().await.unwrap();
    let health: Value = serde_json::from_str(&health).unwrap();
    health["connections"].as_u64().unwrap()
}

/// Opens a stream as a browser does that was cut off: with the old `since`, and the last id seen.
async fn reopen(client: &Client, node: &str, since: &str, last: &str) -> Events {
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{node}/sync/{}/stream?since={since}", client.app);
    let request = request.get(url).bearer_auth(&client.token).header("Last-Event-ID", last);
    Events::new(request.send().await.unwrap().error_for_status().unwrap())
}
