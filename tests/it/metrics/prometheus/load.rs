//! Users of two nodes, who push, pull and stream until told to stop.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::processes::drain::websocket;
use crate::support::{Client, World, insert};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Load under way.
pub(super) struct Load {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Every user streams from both nodes, and pushes and pulls through both; all share a space.
    pub(super) async fn start(world: &World, nodes: [&str; 2]) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        for user in USERS {
            world.issuer.join(user, "family");
            for (n, node) in nodes.into_iter().enumerate() {
                let client = world.client(user, &format!("{user}-{n}"));
                let stream = follow(client.clone(), node.to_owned(), stop.clone());
                let socket = websocket(node, &client).await;
                let work = work(client, node.to_owned(), stop.clone());
                tasks.push(tokio::spawn(stream));
                tasks.push(tokio::spawn(async move {
                    work.await;
                    drop(socket);
                }));
            }
        }
        Self { stop, tasks }
    }

    /// Ends it; panics where something had failed.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Reads streams, each for a while.
async fn follow(client: Client, node: String, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let mut stream = client.stream(&node, "tasks", "").await;
        let reading = async { while stream.next().await.is_some() {} };
        drop(timeout(Duration::from_secs(5), stop.run_until_cancelled(reading)).await);
    }
}

/// Pushes and pulls, and now and then what is refused.
async fn work(client: Client, node: String, stop: CancellationToken) {
    let mut ticks = interval(Duration::from_millis(100));
    for n in 0.. {
        ticks.tick().await;
        if stop.is_cancelled() {
            return;
        }
        let mut change = insert(&format!("{}-{n}", client.client), &json!({ "n": n }));
        if n % 2 == 0 {
            change["spaceId"] = json!("family");
        }
        let answer = client.push(&node, &[change]).await;
        let until = answer["syncedUntil"].as_str().unwrap();
        client.pull(&node, "tasks", until).await;
        if n % 10 == 0 {
            assert_eq!(client.post(&node, "{").await.status(), 400);
            let stranger = Client::new("no token".to_owned(), "x");
            assert_eq!(stranger.post(&node, "{}").await.status(), 401);
        }
    }
}
