//! What `/metrics` counts, number by number: of processes, each with a recorder of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::drain::websocket;
use super::{Process, serve};
use crate::faults::{end_listeners, unrung};
use crate::memberships::invalidate_at;
use crate::store::sql::Ear;
use crate::support::{Client, Events, World, eventually, insert, psql};

/// No heartbeat comes during a test: what moves is what the test has moved.
const QUIET: &str = "--heartbeat-ms=60000";

/// What a node counts at a moment, by name and labels; what is no whole number is left out.
#[derive(Debug)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Asks for them.
    pub async fn of(node: &Process) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = http.get(format!("{}/metrics", node.url)).send().await.unwrap();
        let text = response.text().await.unwrap();
        let numbers = text.lines().filter_map(|line| {
            let (name, number) = line.strip_prefix("mana_sync_")?.rsplit_once(' ')?;
            Some((name.to_owned(), number.parse().ok()?))
        });
        Self(numbers.collect())
    }

    /// The number under a name, with its labels; what never happened is not told.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// By how much each of these names grew since `before`.
    pub fn grown<const N: usize>(&self, before: &Self, names: [&str; N]) -> [u64; N] {
        names.map(|name| self.get(name) - before.get(name))
    }
}

/// What a change passes on its way to a stream.
const ON_THE_WAY: [&str; 6] = [
    "rings_total",
    "doorbells_heard_total",
    "relay_reads_total",
    "relay_rows_total",
    "tail_hits_total",
    "tail_misses_total",
];

/// A node that hears its one heartbeat, and then nothing that the test does not bring about.
async fn quiet(world: &World, flags: &[&str]) -> Process {
    let mut ear = Ear::new(world).await;
    let node = serve(world, &[&[QUIET], flags].concat()).await;
    ear.text().await;
    eventually("a node that listens", async || {
        let counts = Counts::of(&node).await;
        (counts.get("listener_connected") == 1).then_some(())
    })
    .await;
    node
}

/// A stream of `client`, whose memberships were fresh before, that has had something from memory.
async fn live_stream(client: &Client, pusher: (&Client, &str), node: &str) -> Events {
    client.pull(node, "tasks", "").await;
    pusher.0.pull(pusher.1, "tasks", "").await;
    let mut stream = client.stream(node, "tasks", "").await;
    stream.named("spaces").await;
    for record in ["warm-1", "warm-2"] {
        pusher.0.push(pusher.1, &[insert(record, &json!({}))]).await;
        stream.record(record).await;
    }
    stream
}

fn three(name: &str) -> Vec<Value> {
    (0..3).map(|n| insert(&format!("{name}-{n}"), &json!({}))).collect()
}

// P-104: is Prometheus text, every name beginning with `mana_sync_`
#[tokio::test]
async fn a_push_is_counted_by_the_node_that_stores_it_and_by_the_one_that_streams_it() {
    let world = World::new().await;
    let (first, second) = (quiet(&world, &[]).await, quiet(&world, &[]).await);
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = live_stream(&phone, (&laptop, &first.url), &second.url).await;
    for round in 0..3 {
        let before = [Counts::of(&first).await, Counts::of(&second).await];
        laptop.push(&first.url, &three(&format!("round-{round}"))).await;
        assert_eq!(stream.changes(3).await.len(), 3);
        let after = [Counts::of(&first).await, Counts::of(&second).await];
        let grown = |n: usize| after[n].grown(&before[n], ON_THE_WAY);
        assert_eq!(grown(0), [1, 1, 0, 0, 0, 0], "it rings, hears itself, and nobody follows");
        assert_eq!(grown(1), [0, 1, 1, 3, 1, 0], "one read of three rows, and memory serves them");
        let stored = ["changes_stored_total", r#"pushes_total{result="stored"}"#];
        assert_eq!(after[0].grown(&before[0], stored), [3, 1]);
        assert_eq!(after[1].grown(&before[1], stored), [0, 0]);
    }
}

#[tokio::test]
async fn a_stream_that_memory_cannot_serve_is_a_miss() {
    let world = World::new().await;
    let node = quiet(&world, &["--limit-tail-bytes=1"]).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = live_stream(&phone, (&laptop, &node.url), &node.url).await;
    let before = Counts::of(&node).await;
    laptop.push(&node.url, &three("missed")).await;
    assert_eq!(stream.changes(3).await.len(), 3);
    let grown = Counts::of(&node).await.grown(&before, ON_THE_WAY);
    assert_eq!(grown, [1, 1, 1, 3, 0, 1], "read, forgotten at once, and read by the stream");
}

#[tokio::test]
async fn a_listener_that_was_ended_is_counted_and_so_is_catching_up() {
    const NAMES: [&str; 3] =
        ["listener_reconnects_total", "catch_ups_total", "doorbells_heard_total"];
    let world = World::new().await;
    let node = quiet(&world, &[]).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = live_stream(&phone, (&laptop, &node.url), &node.url).await;
    let (mut sql, mut admin) = (world.sql().await, world.admin().await);
    for round in 1..=3 {
        let before = Counts::of(&node).await;
        assert_eq!(before.get("listener_connected"), 1);
        // Nobody rings for it, and no heartbeat comes: only who catches up finds it.
        let record = format!("unheard-{round}");
        psql(&mut sql, &unrung(&record)).await;
        assert_eq!(end_listeners(&mut admin).await, 1);
        stream.record(&record).await;
        let after = Counts::of(&node).await;
        assert_eq!(after.grown(&before, NAMES), [1, 1, 0], "in round {round}");
        assert_eq!(after.get("listener_connected"), 1);
    }
}

#[tokio::test]
async fn memberships_that_move_are_read_from_the_database() {
    let world = World::new().await;
    let node = quiet(&world, &[]).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = live_stream(&phone, (&laptop, &node.url), &node.url).await;
    let before = Counts::of(&node).await;
    world.issuer.join("alice", "home");
    assert_eq!(invalidate_at(&node.url, "alice").await.status(), 204);
    while stream.named("spaces").await.data != json!({ "spaces": ["home"] }) {}
    let after = Counts::of(&node).await;
    let [doorbells, hits, misses] =
        after.grown(&before, ["doorbells_heard_total", "tail_hits_total", "tail_misses_total"]);
    assert_eq!((doorbells, hits), (2, 0), "forgotten, and verified again");
    assert!((1..=2).contains(&misses), "{misses}");
}

// P-104: `mana_sync_connections_total` and `mana_sync_users_connected` count what is connected
#[tokio::test]
async fn streams_sockets_and_their_users_are_counted_while_they_are_there() {
    let world = World::new().await;
    let node = serve(&world, &[]).await;
    let open = async || {
        let counts = Counts::of(&node).await;
        ["connections_total", "streams_active", "websockets_active", "users_connected"]
            .map(|name| counts.get(name))
    };
    assert_eq!(open().await, [0, 0, 0, 0]);
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let stream = alice.stream(&node.url, "", "").await;
    let sockets = [websocket(&node.url, &alice).await, websocket(&node.url, &bob).await];
    assert_eq!(open().await, [3, 1, 2, 2]);
    drop(stream);
    let now = [2, 0, 2, 2];
    eventually("the end of the stream", async || (open().await == now).then_some(())).await;
    drop(sockets);
    eventually("nobody", async || (open().await == [0, 0, 0, 0]).then_some(())).await;
}

#[tokio::test]
async fn the_pool_s_connections_are_told() {
    let world = World::new().await;
    let node = serve(&world, &[]).await;
    world.client("alice", "a").push(&node.url, &[insert("t1", &json!({}))]).await;
    let counts = Counts::of(&node).await;
    let [size, idle] = ["pool_connections", "pool_idle_connections"].map(|name| counts.get(name));
    assert!((1..=8).contains(&size), "the pool has {size}");
    // One of them is a lane's, for as long as the node runs.
    assert!(idle < size, "{idle} of {size} connections are idle");
}
