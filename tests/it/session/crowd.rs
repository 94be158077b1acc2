//! A crowd writes into one space, through both replicas, while three readers follow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::support::world::TestNode;
use crate::support::{Client, Events, PATIENCE, World, insert};

const SPACE: &str = "team";
const WRITERS: usize = 8;
const PUSHES: usize = 300;
const CHANGES: usize = 3;

/// Four users with two devices each, and a fifth who reads.
struct Crowd {
    nodes: [TestNode; 2],
    writers: Vec<Client>,
    reader: Client,
}

impl Crowd {
    async fn gather() -> Self {
        let world = World::new().await;
        let writers = (0..WRITERS).map(|n| {
            let user = format!("user-{}", n / 2);
            world.issuer.join(&user, SPACE);
            world.client(&user, &format!("device-{n}"))
        });
        let writers: Vec<_> = writers.collect();
        world.issuer.join("reader", SPACE);
        let nodes = [world.node().await, world.node().await];
        let crowd = Self { nodes, writers, reader: world.client("reader", "r") };
        // Both nodes know everybody, as they do in the middle of a day.
        for client in crowd.writers.iter().chain([&crowd.reader]) {
            for node in &crowd.nodes {
                assert_eq!(client.pull(&node.url, "tasks", "").await["spaces"], json!([SPACE]));
            }
        }
        crowd
    }

    fn node(&self, turn: usize) -> &str {
        &self.nodes[turn % 2].url
    }

    /// One of the 300 pushes: a changeset of three.
    async fn push(&self, number: usize) {
        let writer = number % WRITERS;
        let change = |n| {
            let mut change = insert(&format!("{writer}-{number:03}-{n}"), &json!({ "n": n }));
            change["spaceId"] = json!(SPACE);
            change["eventId"] = json!(Uuid::now_v7());
            change
        };
        let changes: Vec<Value> = (0..CHANGES).map(change).collect();
        let body = json!({ "changes": changes }).to_string();
        let (writer, node) = (&self.writers[writer], self.node(number / 3));
        let answer = patiently(async || writer.post(node, body.clone()).await).await;
        assert!(answer.get("unpublished").is_none(), "{answer}");
    }

    /// Follows by asking again and again, with one cursor, at either replica in turn.
    async fn ask(&self, ask: impl AsyncFn(&str, &str) -> Value) -> Vec<String> {
        let (mut seen, mut since) = (Vec::new(), String::new());
        for turn in 0.. {
            let answer = ask(self.node(turn), &since).await;
            seen.extend(records(&answer["serverChanges"]));
            let until = answer["syncedUntil"].as_str().unwrap();
            assert!(until >= since.as_str(), "a cursor goes back: {since} to {until}");
            until.clone_into(&mut since);
            if seen.len() >= PUSHES * CHANGES {
                break;
            }
        }
        seen
    }

    async fn watch(&self, mut stream: Events) -> Vec<String> {
        let mut seen = Vec::new();
        while seen.len() < PUSHES * CHANGES {
            let before = stream.cursor.clone();
            let event = stream.named("changes").await;
            let (came, until) =
                (records(&event.data["changes"]).collect::<Vec<_>>(), &stream.cursor);
            let is_right = if came.is_empty() { *until >= before } else { *until > before };
            assert!(is_right, "after {before} came {}", event.text);
            seen.extend(came);
        }
        seen
    }

    /// Runs the writers and the three readers together; gives what each reader saw, by its way.
    async fn meet(&self, write: impl Future<Output = ()>) -> [(&'static str, Vec<String>); 3] {
        let stream = self.reader.stream(self.node(1), "", "").await;
        let pull = async |node: &str, since: &str| {
            let path = format!("/sync/todo/pull?collection=tasks&since={since}");
            patiently(async || self.reader.get(node, &path).await).await
        };
        let push = async |node: &str, since: &str| {
            let body = json!({ "since": since }).to_string();
            patiently(async || self.reader.post(node, body.clone()).await).await
        };
        let all = async { tokio::join!(write, self.ask(pull), self.ask(push), self.watch(stream)) };
        let ((), pulled, pushed, streamed) = timeout(PATIENCE, all).await.expect("all complete");
        [("pull", pulled), ("push", pushed), ("stream", streamed)]
    }
}

/// Asks until the node has room: a busy one says 503, and to come again.
async fn patiently(mut ask: impl AsyncFnMut() -> Response) -> Value {
    loop {
        let response = ask().await;
        match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(response.headers().contains_key("retry-after"));
                sleep(Duration::from_millis(20)).await;
            }
            status => {
                let text = response.text().await.unwrap();
                assert_eq!(status, StatusCode::OK, "{text}");
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}

fn records(changes: &Value) -> impl Iterator<Item = String> {
    changes.as_array().unwrap().iter().map(|change| change["id"].as_str().unwrap().to_owned())
}

/// All arrived, none twice, and the changes of each push stand in their order without a stranger's
/// change between them.
fn assert_whole(seen: &[(&'static str, Vec<String>); 3]) {
    for (how, seen) in seen {
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (PUSHES * CHANGES, PUSHES * CHANGES), "{how}");
        for run in seen.chunks(CHANGES) {
            let push = run[0].strip_suffix("-0").unwrap_or_else(|| panic!("{how}: {run:?}"));
            let whole: Vec<_> = (0..CHANGES).map(|n| format!("{push}-{n}")).collect();
            assert_eq!(run, whole, "{how}");
        }
    }
    assert_eq!(seen[0].1, seen[1].1, "pull and push saw one order");
    assert_eq!(seen[0].1, seen[2].1, "pull and stream saw one order");
}

#[tokio::test]
async fn three_hundred_pushes_at_once_reach_whoever_pulls_pushes_or_streams() {
    let crowd = Crowd::gather().await;
    let write = async {
        join_all((0..PUSHES).map(|number| crowd.push(number))).await;
    };
    assert_whole(&crowd.meet(write).await);
}

#[tokio::test]
async fn what_a_device_pushes_one_after_the_other_is_read_in_that_order() {
    let crowd = Crowd::gather().await;
    let write = async {
        let device = async |writer| {
            for number in (writer..PUSHES).step_by(WRITERS) {
                crowd.push(number).await;
            }
        };
        join_all((0..WRITERS).map(device)).await;
    };
    let seen = crowd.meet(write).await;
    assert_whole(&seen);
    for (how, seen) in seen {
        let mut by_device = BTreeMap::<String, Vec<String>>::new();
        for record in seen {
            let (device, rest) = record.split_once('-').unwrap();
            by_device.entry(device.to_owned()).or_default().push(rest.to_owned());
        }
        assert_eq!(by_device.len(), WRITERS);
        assert!(by_device.values().all(|records| records.is_sorted()), "{how}: {by_device:?}");
    }
}
