//! How soon a change is where it is read, and what that costs the database.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Events, PATIENCE, World, insert, psql, say};

/// An insert into the space `home`.
fn shared(record: &str) -> Value {
    let mut change = insert(record, &json!({"title": "Milk"}));
    change["spaceId"] = json!("home");
    change
}

/// A world in which alice and bob share the space `home`.
async fn household() -> World {
    let world = World::new().await;
    world.issuer.join("alice", "home");
    world.issuer.join("bob", "home");
    world
}

/// Waits until a stream is live: what is pushed then comes on it.
async fn live(client: &Client, node: &str) -> Events {
    let mut stream = client.stream(node, "tasks", "").await;
    stream.named("spaces").await;
    stream
}

#[tokio::test]
async fn a_push_is_on_a_members_stream_at_another_replica_within_100_ms() {
    let world = household().await;
    let (first, second) = (world.node().await, world.node().await);
    let alice = world.client("alice", "a");
    let mut bob = live(&world.client("bob", "b"), &second.url).await;
    alice.push(&first.url, &[shared("warm")]).await;
    bob.record("warm").await;
    let mut took = Vec::new();
    for n in 0..100 {
        let record = format!("t{n}");
        let change = [shared(&record)];
        let pushed = Instant::now();
        let pushing = alice.push(&first.url, &change);
        let arrived = async {
            bob.record(&record).await;
            pushed.elapsed()
        };
        let (_, arrived) = tokio::join!(pushing, arrived);
        took.push(arrived);
    }
    took.sort();
    let (median, p99) = (took[50], took[98]);
    say(&format!("push to event at another replica, of 100: median {median:.1?}, p99 {p99:.1?}"));
    assert!(median < Duration::from_millis(100), "the median is {median:?}");
}

/// Waits for `sync-available` of the app `todo` on a WebSocket.
async fn hear_of_todo(node: &str, client: &Client) -> impl Future<Output = ()> + use<> {
    let url = format!("{}/ws", node.replace("http://", "ws://"));
    let (mut socket, _) = connect_async(url).await.unwrap();
    let auth = json!({"type": "auth", "token": client.token}).to_string();
    socket.send(Message::text(auth)).await.unwrap();
    let first = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert_eq!(first, r#"{"type":"auth-ok"}"#);
    async move {
        loop {
            let text = socket.next().await.unwrap().unwrap().into_text().unwrap();
            let said: Value = serde_json::from_str(&text).unwrap();
            if said["type"] == "sync-available" {
                let wanted =
                    json!({"type": "sync-available", "appId": "todo", "tables": ["tasks"]});
                assert_eq!(said, wanted);
                return;
            }
        }
    }
}

#[tokio::test]
async fn users_and_spaces_wake_at_another_replica_within_2_seconds() {
    let world = household().await;
    let (first, second) = (world.node().await, world.node().await);
    let alice = world.client("alice", "a");
    for (who, change) in [("alice", insert("own", &json!({}))), ("bob", shared("shared"))] {
        let client = world.client(who, "other");
        let mut stream = live(&client, &second.url).await;
        let socket = hear_of_todo(&second.url, &client).await;
        let pushed = Instant::now();
        let pushing = alice.push(&first.url, std::slice::from_ref(&change));
        let record = change["id"].as_str().unwrap();
        let woken = async { tokio::join!(pushing, stream.record(record), socket) };
        timeout(PATIENCE, woken).await.expect("stream and socket wake");
        let took = pushed.elapsed();
        say(&format!("a {record} change woke {who} at another replica after {took:.1?}"));
        assert!(took < Duration::from_secs(2), "{who} woke after {took:?}");
    }
}

/// How many statements have called a function since the last reset.
async fn calls(admin: &mut PgConnection, function: &str) -> i64 {
    let query = "select coalesce(sum(calls), 0)::bigint from pg_stat_statements s \
                 where query like '%from ' || $1 || '(%' and query not like '%pg_stat%' \
                 and dbid = (select oid from pg_database where datname = current_database())";
    sqlx::query_scalar(query).bind(function).fetch_one(admin).await.unwrap()
}

#[tokio::test]
async fn a_step_reads_once_however_many_streams_follow() {
    const STREAMS: usize = 200;
    const PUSHES: i64 = 50;
    let world = household().await;
    let (first, second) = (world.node().await, world.node().await);
    let mut admin = world.admin().await;
    psql(&mut admin, "create extension pg_stat_statements").await;
    let bob = world.client("bob", "b");
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(live(&bob, &second.url).await);
    }
    let alice = world.client("alice", "a");
    alice.push(&first.url, &[shared("warm")]).await;
    for stream in &mut streams {
        stream.record("warm").await;
    }
    let reads = async |admin: &mut PgConnection| {
        let mut reads = [0; 3];
        for (count, name) in reads.iter_mut().zip(["sync_feeds", "sync_page", "sync_moved"]) {
            *count = calls(admin, name).await;
        }
        reads
    };
    let before = reads(&mut admin).await;
    assert!(before[0] > 0 && before[1] > 0, "the statements are counted: {before:?}");
    for n in 0..PUSHES {
        let record = format!("t{n}");
        alice.push(&first.url, &[shared(&record)]).await;
        for stream in &mut streams {
            stream.record(&record).await;
        }
    }
    let after = reads(&mut admin).await;
    let [steps, pages, gaps] = std::array::from_fn(|place| after[place] - before[place]);
    say(&format!(
        "{PUSHES} changes to {STREAMS} streams on one node: {steps} reads by its steps, {gaps} \
         for gaps; {pages} pages for the answers to the pushes"
    ));
    assert!(10 * (steps + gaps) <= 11 * PUSHES, "{steps} steps and {gaps} gaps read");
    assert!(steps >= PUSHES, "each change was awaited, so each took a step");
    assert!(pages <= 2 * PUSHES, "streams read the database {pages} times");
}
