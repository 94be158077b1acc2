//! One answer for all nodes, asked for again when its life is over.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::shared;
use crate::protocol::talk::ids;
use crate::support::world::TestNode;
use crate::support::{World, eventually};

/// Nodes on which an answer is good for `life`.
async fn nodes<const N: usize>(world: &World, life: Duration) -> [TestNode; N] {
    let mut settings = world.settings();
    settings.membership_life = life;
    let starts = std::array::from_fn::<_, N, _>(|_| world.start(settings.clone()));
    join_all(starts).await.try_into().unwrap_or_else(|_| unreachable!())
}

// P-81: An answer is good for 5 minutes, and is asked for once for all nodes.
#[tokio::test]
async fn the_fleet_asks_once() {
    let world = World::new().await;
    let life = world.settings().membership_life;
    assert_eq!(life, Duration::from_mins(5));
    let nodes: [TestNode; 3] = nodes(&world, life).await;
    world.issuer.join("alice", "home");
    let answers = join_all((0..30).map(async |n: usize| {
        let client = world.client("alice", &format!("c{n}"));
        let node = &nodes[n % 3].url;
        if n.is_multiple_of(2) {
            client.pull(node, "tasks", "").await
        } else {
            client.push(node, &[]).await
        }
    }))
    .await;
    assert!(answers.iter().all(|page| page["spaces"] == json!(["home"])), "{answers:?}");
    assert_eq!(world.issuer.lookups("alice"), 1);
}

// P-81: is asked for once for all nodes
#[tokio::test]
async fn the_fleet_asks_again_once_a_life() {
    let world = World::new().await;
    let nodes: [TestNode; 3] = nodes(&world, Duration::from_secs(1)).await;
    let alice = world.client("alice", "a");
    let begun = tokio::time::Instant::now();
    while world.issuer.lookups("alice") < 3 {
        join_all(nodes.iter().map(|node| alice.pull(&node.url, "tasks", ""))).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody asks again");
    }
    let lives = begun.elapsed().as_millis();
    assert!(lives >= 1_900, "three lookups of one second each within {lives} ms");
}

// P-82: It is asked for again also for users who only hold a stream.
#[tokio::test]
async fn whoever_only_streams_is_asked_about_too() {
    let world = World::new().await;
    let [node, other]: [TestNode; 2] = nodes(&world, Duration::from_millis(200)).await;
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let mut stream = world.client("alice", "a").stream(&node.url, "", "").await;
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": ["home"]}));
    eventually("alice is asked about, again and again", async || {
        (world.issuer.lookups("alice") > 3).then_some(())
    })
    .await;
    world.client("bob", "b").push(&other.url, &[shared("t1", "home")]).await;
    assert_eq!(ids(&stream.changes(1).await), ["t1"]);
    // Joined by itself, without any request.
    world.issuer.join("alice", "work");
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": ["home", "work"]}));
}

// P-78: A verified loss of membership ends delivery at once, in running streams too.
#[tokio::test]
async fn leaving_ends_delivery_in_a_running_stream() {
    let world = World::new().await;
    let [node, other]: [TestNode; 2] = nodes(&world, Duration::from_millis(200)).await;
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let (alice, bob) = (world.client("alice", "phone"), world.client("bob", "b"));
    let mut stream = world.client("alice", "laptop").stream(&node.url, "", "").await;
    bob.push(&other.url, &[shared("before", "home")]).await;
    stream.record("before").await;
    world.issuer.leave("alice", "home");
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": []}));
    let since = stream.cursor.clone();
    bob.push(&other.url, &[shared("after", "home")]).await;
    alice.push(&other.url, &[shared("own", "home")]).await;
    assert_eq!(ids(&stream.changes(1).await), ["own"]);
    for node in [&node, &other] {
        let (seen, _) = world.client("alice", "laptop").pull_all(&node.url, "tasks", &since).await;
        assert_eq!(ids(&seen), ["own"]);
        let (all, _) = world.client("alice", "laptop").pull_all(&node.url, "tasks", "").await;
        assert_eq!(ids(&all), ["own"], "what was shared is seen no more");
    }
}
