//! A database that breaks its connections, is gone, or does not answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::proxy::Mode;
use super::{impatient, proxy, push_until_acknowledged, repeatable, through};
use crate::support::{Client, World, eventually, insert, psql};

/// Ends every server process of every node of this database.
pub const END_ALL: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
                       where datname = current_database() and application_name = 'mana-sync'";

/// The first page of `tasks`. Connections of the pool may have been ended and nobody has noticed
/// yet: whoever meets one is told to come again.
async fn pull_until_answered(client: &Client, node: &str) -> Vec<Value> {
    let page = eventually("a page", async || {
        let answer = client.get(node, "/sync/todo/pull?collection=tasks&since=").await;
        match answer.status().as_u16() {
            200 => Some(answer.json::<Value>().await.unwrap()),
            503 => None,
            other => panic!("{other}: {}", answer.text().await.unwrap()),
        }
    });
    page.await["serverChanges"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_all_connections_are_ended_under_load() {
    const CLIENTS: usize = 4;
    const PUSHES: usize = 40;
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    let mut stream = world.client("alice", "follower").stream(&nodes[1].url, "tasks", "").await;
    let follower = tokio::spawn(async move { stream.changes(CLIENTS * PUSHES).await });
    let done = Arc::new(AtomicUsize::new(0));
    for client in 0..CLIENTS {
        let device = world.client("alice", &format!("client-{client}"));
        let (node, done) = (nodes[client % 2].url.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            for n in 0..PUSHES {
                push_until_acknowledged(&device, &node, &[repeatable(&format!("c{client}n{n}"))])
                    .await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut admin = world.admin().await;
    for round in 1..=10 {
        let share = CLIENTS * PUSHES * round / 11;
        let reached = async || (done.load(Ordering::Relaxed) >= share).then_some(());
        eventually("the next round", reached).await;
        psql(&mut admin, END_ALL).await;
    }
    let streamed = crate::streams::records(&follower.await.unwrap());
    let pulled = pull_until_answered(&world.client("alice", "puller"), &nodes[0].url).await;
    for read in [streamed, crate::streams::records(&pulled)] {
        let mut times = BTreeMap::<String, usize>::new();
        for record in read {
            *times.entry(record).or_default() += 1;
        }
        assert_eq!(times.len(), CLIENTS * PUSHES);
        assert!(times.values().all(|count| *count == 1), "none twice: {times:?}");
    }
}

/// What a request is answered with while the database is away.
async fn is_told_to_retry(client: &Client, node: &str) {
    let push = json!({"changes": [insert("refused", &json!({}))]}).to_string();
    let begun = Instant::now();
    let (pushed, pulled) = tokio::join!(
        timeout(Duration::from_secs(8), client.post(node, push)),
        timeout(
            Duration::from_secs(8),
            client.get(node, "/sync/todo/pull?collection=tasks&since=0")
        ),
    );
    println!("push and pull were answered after {:.1?}", begun.elapsed());
    for (what, answer) in [("push", pushed), ("pull", pulled)] {
        let answer = answer.unwrap_or_else(|_| panic!("the {what} has no answer"));
        assert_eq!(answer.status(), 503, "{what}");
        let seconds = answer.headers()["retry-after"].to_str().unwrap();
        assert!(seconds.parse::<u64>().unwrap() > 0, "{what}");
        let text = answer.text().await.unwrap();
        assert!(text.starts_with(r#"{"error":""#), "{what}: {text}");
    }
}

async fn rides_out(away: Mode) {
    let world = World::new().await;
    let proxy = proxy(&world).await;
    let mut settings = impatient(&world);
    settings.database.url = through(&world, &proxy);
    settings.listener.url = settings.database.url.clone();
    let node = world.start(settings).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = phone.stream(&node.url, "tasks", "").await;
    laptop.push(&node.url, &[insert("before", &json!({}))]).await;
    stream.record("before").await;

    proxy.set(away);
    is_told_to_retry(&laptop, &node.url).await;
    for health in ["live", "ready"] {
        // A short absence is no reason to send clients elsewhere: nobody has another database.
        let answer = phone.get(&node.url, &format!("/health/{health}")).await;
        assert_eq!(answer.status(), 200, "{health}");
    }
    for _ in 0..3 {
        stream.named("heartbeat").await;
    }
    let mut opened = timeout(Duration::from_secs(5), phone.stream(&node.url, "tasks", ""))
        .await
        .expect("a stream opens without a database");
    opened.named("heartbeat").await;

    proxy.set(Mode::Pass);
    push_until_acknowledged(&laptop, &node.url, &[repeatable("after")]).await;
    let (pulled, _) = phone.pull_all(&node.url, "tasks", "").await;
    let mut records = crate::streams::records(&pulled);
    assert_eq!(records.first().unwrap(), "before", "what was acknowledged is there");
    // The refused push may have been stored: its outcome was unknown.
    records.retain(|record| record != "refused");
    assert_eq!(records, ["before", "after"]);
    stream.record("after").await;
    opened.record("after").await;
}

#[tokio::test]
async fn a_node_rides_out_a_database_that_is_gone() {
    rides_out(Mode::Cut).await;
}

#[tokio::test]
async fn a_node_rides_out_a_database_that_does_not_answer() {
    rides_out(Mode::Blackhole).await;
}

#[tokio::test]
async fn a_node_without_an_answer_of_its_database_is_found_ready_before_probes_give_up() {
    let world = World::new().await;
    let proxy = proxy(&world).await;
    let mut settings = world.settings();
    settings.database.url = through(&world, &proxy);
    let node = world.start(settings).await;
    let alice = world.client("alice", "laptop");
    let ready = async || {
        let answer = alice.get(&node.url, "/health/ready").await;
        (answer.status() == 200).then_some(())
    };
    eventually("a node that is ready", ready).await;
    // As long as `mana-sync health` waits.
    let probe =
        async || timeout(Duration::from_secs(3), alice.get(&node.url, "/health/ready")).await;
    for fault in ["half-open connections", "a black hole"] {
        if fault == "a black hole" {
            proxy.set(Mode::Blackhole);
        } else {
            proxy.deafen();
        }
        let answer = probe().await.unwrap_or_else(|_| panic!("{fault}: no answer in time"));
        assert_eq!(answer.status(), 200, "{fault}");
        let says = answer.text().await.unwrap();
        assert!(says.contains("the database is away"), "{fault}: {says}");
    }
}
