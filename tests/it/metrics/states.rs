//! What streams do, what the database says of itself, and what holds without a service.

use std::time::Duration;

use mana_sync::dev::issuer::Answer;
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::metrics;
use crate::processes::counts::Counts;
use crate::processes::{Process, serve};
use crate::streams::slow::open;
use crate::support::{World, eventually, insert, psql};

/// How many streams are in each state.
async fn states(node: &Process) -> [u64; 4] {
    let counts = Counts::of(node).await;
    ["catching_up", "live", "waiting", "blocked"]
        .map(|state| counts.get(&format!("streams{{state=\"{state}\"}}")))
}

async fn state(node: &Process, expected: [u64; 4]) {
    eventually(&format!("{expected:?}"), async || (states(node).await == expected).then_some(()))
        .await;
}

async fn deliveries(node: &Process) -> u64 {
    Counts::of(node).await.get("delivery_seconds_count")
}

#[tokio::test]
async fn a_stream_is_live_or_blocked_by_its_client_and_then_nowhere() {
    let world = World::new().await;
    let node = serve(&world, &[]).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut socket = open(&node.url, &phone).await;
    state(&node, [0, 1, 0, 0]).await;
    let text = "x".repeat(400_000);
    for n in 0..20 {
        laptop.push(&node.url, &[insert(&format!("t{n}"), &json!({ "text": text }))]).await;
    }
    // It has read nothing since: its socket is full.
    state(&node, [0, 0, 0, 1]).await;
    let mut read = vec![0; 1 << 20];
    let mut left = 20 * text.len();
    while left > 0 {
        left = left.saturating_sub(socket.read(&mut read).await.unwrap());
    }
    state(&node, [0, 1, 0, 0]).await;
    drop(socket);
    state(&node, [0; 4]).await;
}

#[tokio::test]
async fn what_a_slow_client_has_kept_waiting_is_no_late_delivery_and_what_memory_lost_is_one() {
    let world = World::new().await;
    // Live streams find nothing in memory.
    let node = serve(&world, &["--limit-tail-bytes=1"]).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    laptop.push(&node.url, &[insert("old", &json!({}))]).await;
    let mut stream = phone.stream(&node.url, "tasks", "").await;
    stream.record("old").await;
    state(&node, [0, 1, 0, 0]).await;
    assert_eq!(deliveries(&node).await, 0, "history is not delivered late");
    laptop.push(&node.url, &[insert("new", &json!({}))]).await;
    stream.record("new").await;
    assert_eq!(deliveries(&node).await, 1, "read from the database, and new all the same");
}

#[tokio::test]
async fn a_stream_waits_while_the_database_is_away() {
    let world = World::new().await;
    let node =
        serve(&world, &["--database-timeout-seconds=1", "--acquire-timeout-seconds=1"]).await;
    let phone = world.client("alice", "phone");
    let mut admin = world.admin().await;
    psql(&mut admin, "begin; lock table sync_changes in access exclusive mode").await;
    let _stream = phone.stream(&node.url, "tasks", "").await;
    state(&node, [0, 0, 1, 0]).await;
    psql(&mut admin, "rollback").await;
    state(&node, [0, 1, 0, 0]).await;
}

#[tokio::test]
async fn the_database_tells_how_it_is() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    psql(&mut sql, &crate::faults::unrung("rung")).await;
    let node = serve(&world, &[]).await;
    let value = async |name: &str| {
        let text = metrics(&node).await;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("mana_sync_{name} ")));
        line.unwrap_or_else(|| panic!("no {name}")).parse::<f64>().unwrap()
    };
    eventually("its word", async || (value("database_max_connections").await > 0.0).then_some(()))
        .await;
    assert!((value("database_max_connections").await - 400.0).abs() < 0.5);
    assert!(value("database_connections").await >= 2.0);
    assert!((0.0..0.1).contains(&value("notification_queue_ratio").await));
    for table in ["sync_changes", "sync_members", "sync_users"] {
        let bytes = value(&format!("table_size_bytes{{table=\"{table}\"}}")).await;
        assert!(bytes >= 8192.0, "{table} takes {bytes}");
    }
}

#[tokio::test]
async fn answers_without_a_service_are_counted_and_so_is_the_age_of_the_keys() {
    const NAMES: [&str; 2] =
        [r#"fail_opens_total{what="membership"}"#, r#"fail_opens_total{what="billing"}"#];
    let world = World::new().await;
    let node = serve(&world, &["--membership-life-seconds=1"]).await;
    let alice = world.client("alice", "a");
    alice.pull(&node.url, "tasks", "").await;
    let before = Counts::of(&node).await;
    assert_eq!(NAMES.map(|name| before.get(name)), [0, 0]);
    world.issuer.answer_memberships(Answer::Status(500));
    world.issuer.answer_billing(Answer::Status(500));
    eventually("both", async || {
        alice.push(&node.url, &[insert("t1", &json!({}))]).await;
        let grown = Counts::of(&node).await.grown(&before, NAMES);
        grown.iter().all(|grown| *grown >= 1).then_some(())
    })
    .await;
    let text = metrics(&node).await;
    let age = text.lines().find_map(|line| line.strip_prefix("mana_sync_jwks_age_seconds "));
    let age = Duration::from_secs_f64(age.unwrap().parse().unwrap());
    assert!(age > Duration::from_millis(100) && age < Duration::from_mins(5), "{age:?}");
}
