//! A node whose watermark lags: it neither hears nor gets an answer about the horizon, while reads
//! do.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::proxy::Mode;
use super::{impatient, proxy, through};
use crate::memberships::invalidate_at;
use crate::support::world::TestNode;
use crate::support::{Client, World, eventually};

/// Server processes that stand still; they go on when this is dropped.
struct Frozen(Vec<i32>);

impl Frozen {
    fn signal(&self, name: &str) {
        for pid in &self.0 {
            // One may have ended meanwhile.
            let _ = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

/// Stops the server processes that the relay has asked. Those of requests go on: which is which
/// shows by what they did last, and by a request.
async fn deafen(world: &World, node: &TestNode, client: &Client) -> Frozen {
    let relays = "select pid from pg_stat_activity where datname = current_database() \
                  and application_name = 'mana-sync' and state = 'idle' \
                  and query ~ 'sync_(beat|horizon|feeds|moved)'";
    let mut admin = world.admin().await;
    eventually("a node that is deaf, and answers", async || {
        let pids: Vec<i32> = sqlx::query_scalar(relays).fetch_all(&mut admin).await.unwrap();
        let frozen = Frozen(pids);
        frozen.signal("STOP");
        let pull = client.get(&node.url, "/sync/todo/pull?collection=tasks&since=2999-01-01");
        let answered = timeout(Duration::from_secs(1), pull).await;
        let is_served = answered.is_ok_and(|answer| answer.status() == 200);
        (is_served && !frozen.0.is_empty()).then_some(frozen)
    })
    .await
}

/// A change in the space `home`: of a few of them, an event holds only some.
fn large(n: usize) -> Value {
    json!({"table": "tasks", "id": format!("t{n}"), "op": "insert", "spaceId": "home",
           "data": {"text": "x".repeat(100_000)}})
}

#[tokio::test]
async fn the_pages_of_a_stream_never_end_before_the_one_that_came_first() {
    const CHANGES: usize = 8;
    let world = World::new().await;
    world.issuer.join("bob", "home");
    let (listening, asking) = (proxy(&world).await, proxy(&world).await);
    let mut settings = impatient(&world);
    settings.listener.url = through(&world, &listening);
    settings.database.url = through(&world, &asking);
    settings.database.statement = Duration::from_secs(10);
    let lagging = world.start(settings).await;
    let alice = world.client("alice", "phone");
    let (_, since) = alice.pull_all(&lagging.url, "tasks", "").await;
    listening.set(Mode::Blackhole);
    asking.set(Mode::Full);
    let frozen = deafen(&world, &lagging, &alice).await;

    let other = world.node().await;
    let bob = world.client("bob", "laptop");
    bob.push(&other.url, &(0..CHANGES).map(large).collect::<Vec<_>>()).await;
    world.issuer.join("alice", "home");
    invalidate_at(&other.url, "alice").await;
    let mut stream = alice.stream(&lagging.url, "tasks", &since).await;
    let reading = async {
        let (mut read, mut cursor) = (Vec::new(), since);
        while read.len() < CHANGES {
            let event = stream.named("changes").await;
            let until = event.data["syncedUntil"].as_str().unwrap();
            assert!(until >= cursor.as_str(), "a cursor goes back: {cursor} to {until}");
            until.clone_into(&mut cursor);
            read.extend(crate::streams::records(event.data["changes"].as_array().unwrap()));
        }
        read
    };
    let read = timeout(Duration::from_secs(8), reading).await.expect("all of it at once");
    assert_eq!(read, (0..CHANGES).map(|n| format!("t{n}")).collect::<Vec<_>>());
    drop(frozen);
}
