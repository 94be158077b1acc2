//! A real node's `/metrics`, as promtool sees it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::metrics;
use crate::processes::serve;
use crate::support::{World, insert};

/// What promtool has to complain of.
fn complaints(text: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: scripts/setup installs it");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    format!("{}{}", String::from_utf8(said).unwrap(), if done.status.success() { "" } else { "!" })
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_of() {
    let world = World::new().await;
    let node = serve(&world, &[]).await;
    let alice = world.client("alice", "a");
    let mut stream = world.client("alice", "b").stream(&node.url, "", "").await;
    alice.push(&node.url, &[insert("t1", &serde_json::json!({}))]).await;
    stream.record("t1").await;
    let text = metrics(&node).await;
    assert_eq!(complaints(&text), "");
    let wrong = text.replace(
        "# TYPE mana_sync_connections_total untyped",
        "# TYPE mana_sync_connections_total gauge",
    );
    assert!(
        complaints(&wrong).contains("_total"),
        "the old name alone would be refused as a gauge"
    );
}
