//! What is not shared.

use serde_json::{Value, json};

use super::shared;
use crate::protocol::talk::{everything, ids, page_ids};
use crate::support::{World, insert};

/// Users who are nearly the same, and not.
const USERS: [&str; 6] = ["alice", "Alice", "alice ", "alic", "alice,bob", "bob"];

// P-79: no user reads another's changes outside a space
#[tokio::test]
async fn users_never_cross() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    let mut streams = Vec::new();
    for user in USERS {
        streams.push(world.client(user, "reader").stream(&second.url, "", "").await);
    }
    // The same record, event, client and space as everybody else.
    for (n, user) in USERS.into_iter().enumerate() {
        let mut change = shared("t1", "home");
        change["data"] = json!({ "of": user });
        change["eventId"] = json!("0198c5d2-7a4e-7c3b-9f51-0a6d3e2b1c48");
        let node = [&first, &second][n % 2];
        let answer = world.client(user, "writer").push(&node.url, &[change]).await;
        assert_eq!(answer["serverChanges"], json!([]), "{user}");
    }
    for (user, stream) in USERS.into_iter().zip(&mut streams) {
        let own = |changes: &[Value]| {
            changes.len() == 1 && changes.iter().all(|change| change["data"]["of"] == user)
        };
        assert!(own(&stream.changes(1).await), "{user}");
        let reader = world.client(user, "reader");
        for node in [&first, &second] {
            assert!(own(&everything(&reader, &node.url).await), "{user}");
            assert!(own(&reader.pull_all(&node.url, "tasks", "").await.0), "{user}");
        }
    }
    // Nothing else comes behind: the next event of each stream is a change of its own.
    for (user, mut stream) in USERS.into_iter().zip(streams) {
        world.client(user, "writer").push(&first.url, &[insert("last", &json!({}))]).await;
        assert_eq!(ids(&stream.changes(1).await), ["last"], "{user}");
    }
}

// P-79: nor one app's through another
#[tokio::test]
async fn apps_never_cross() {
    let world = World::new().await;
    let node = world.node().await;
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let apps = ["todo", "Todo", "todo2", "a b", "ü"];
    for app in apps {
        let own = insert(app, &json!({}));
        let encoded: String = url::form_urlencoded::byte_serialize(app.as_bytes()).collect();
        let encoded = encoded.replace('+', "%20");
        let client = world.client("alice", "a").app(&encoded);
        client.push(&node.url, &[own, shared(&format!("{app}-shared"), "home")]).await;
    }
    for app in apps {
        let encoded: String = url::form_urlencoded::byte_serialize(app.as_bytes()).collect();
        let encoded = encoded.replace('+', "%20");
        let own = world.client("alice", "b").app(&encoded).push(&node.url, &[]).await;
        assert_eq!(page_ids(&own), [app.to_owned(), format!("{app}-shared")]);
        let bob = world.client("bob", "b").app(&encoded);
        assert_eq!(page_ids(&bob.push(&node.url, &[]).await), [format!("{app}-shared")]);
        let mut stream = bob.stream(&node.url, "", "").await;
        assert_eq!(ids(&stream.changes(1).await), [format!("{app}-shared")]);
    }
}
