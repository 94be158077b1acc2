//! The way of a change, from one device to another, through two replicas.

use serde_json::json;

use crate::support::{World, insert};

#[tokio::test]
async fn a_push_through_one_replica_is_read_through_another() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    let laptop = world.client("alice", "laptop");
    let phone = world.client("alice", "phone");
    let mut stream = phone.stream(&second.url, "tasks", "").await;
    let answer = laptop.push(&first.url, &[insert("t1", &json!({"title": "Milk"}))]).await;
    assert_eq!(answer["serverChanges"], json!([]));
    let event = stream.record("t1").await;
    assert_eq!(event["data"], json!({"title": "Milk"}));
    let page = phone.pull(&second.url, "tasks", "1970-01-01T00:00:00Z").await;
    assert_eq!(page["serverChanges"][0]["id"], "t1");
}

#[tokio::test]
async fn a_member_hears_of_a_member_in_a_space() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    world.issuer.join("alice", "home");
    world.issuer.join("bob", "home");
    let mut bob = world.client("bob", "b").stream(&second.url, "", "").await;
    assert_eq!(bob.named("spaces").await.data, json!({"spaces": ["home"]}));
    let mut shared = insert("t1", &json!({"title": "Milk"}));
    shared["spaceId"] = json!("home");
    let answer = world.client("alice", "a").push(&first.url, &[shared]).await;
    assert!(answer.get("unpublished").is_none(), "{answer}");
    assert_eq!(bob.record("t1").await["spaceId"], "home");
    let carol = world.client("carol", "c").pull(&second.url, "tasks", "").await;
    assert_eq!(carol["serverChanges"], json!([]));
}
