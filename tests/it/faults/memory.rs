//! What a node remembers of what moved lately, where rings are lost, or the database is another.

use serde_json::{Value, json};

use super::{end_listeners, listeners, unrung};
use crate::support::world::TestNode;
use crate::support::{Client, World, eventually, insert, psql};

/// Polls until the node remembers enough to answer without the database: the first pull finds
/// what another device has pushed, the next ones nothing.
async fn polling(client: &Client, node: &TestNode) -> String {
    let (_, mut since) = client.pull_all(&node.url, "tasks", "").await;
    for _ in 0..2 {
        let page = client.pull(&node.url, "tasks", &since).await;
        since = page["syncedUntil"].as_str().unwrap().into();
    }
    since
}

#[tokio::test]
async fn a_poll_finds_what_was_never_rung() {
    let world = World::new().await;
    let node = world.node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    laptop.push(&node.url, &[insert("rung", &json!({}))]).await;
    let mut since = polling(&phone, &node).await;
    let mut sql = world.sql().await;
    for n in 0..5 {
        let record = format!("unrung-{n}");
        psql(&mut sql, &unrung(&record)).await;
        let page = phone.pull(&node.url, "tasks", &since).await;
        assert_eq!(page["serverChanges"][0]["id"], record.as_str(), "{page}");
        since = polling(&phone, &node).await;
    }
}

/// The spaces that a poll and the answer to a push tell, where both find nothing new.
async fn told(client: &Client, node: &TestNode, since: &str) -> [Value; 2] {
    let polled = client.pull(&node.url, "tasks", since).await;
    let pushed = client.push_since(&node.url, since, &[insert("own", &json!({}))]).await;
    [polled["spaces"].clone(), pushed["spaces"].clone()]
}

/// A node that remembers of alice's phone that she is a member of home.
async fn member_of_home() -> (World, TestNode, Client) {
    let world = World::new().await;
    let node = world.node().await;
    world.issuer.join("alice", "home");
    let alice = world.client("alice", "phone");
    world.client("alice", "laptop").push(&node.url, &[insert("other", &json!({}))]).await;
    let since = polling(&alice, &node).await;
    assert_eq!(told(&alice, &node, &since).await, [json!(["home"]), json!(["home"])]);
    (world, node, alice)
}

#[tokio::test]
async fn a_loss_of_membership_that_was_never_rung_is_seen() {
    let (world, node, alice) = member_of_home().await;
    let since = polling(&alice, &node).await;
    let lost = "begin; delete from sync_members where user_id = 'alice';
         update sync_users set moved_at = sync_time(run.last) from sync_stamp(1) run
         where user_id = 'alice'; commit";
    psql(&mut world.sql().await, lost).await;
    assert_eq!(told(&alice, &node, &since).await, [json!([]), json!([])]);
}

#[tokio::test]
async fn who_listens_anew_may_have_been_led_to_another_database() {
    let (world, node, alice) = member_of_home().await;
    // As on a standby that had not heard of the joining: neither a stamp nor a ring tells of it.
    let mut admin = world.admin().await;
    psql(&mut admin, "delete from sync_members").await;
    let before = listeners(&mut admin).await;
    assert_eq!(end_listeners(&mut admin).await, 1);
    eventually("a new listener", async || {
        let now = listeners(&mut admin).await;
        (now.len() == 1 && now != before).then_some(())
    })
    .await;
    eventually("the spaces of the other database", async || {
        let since = polling(&alice, &node).await;
        let told = told(&alice, &node, &since).await;
        (told == [json!([]), json!([])]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_names_no_device_is_told_the_own_changes_too() {
    let world = World::new().await;
    let node = world.node().await;
    let nameless = world.client("alice", "");
    let mut since = polling(&nameless, &node).await;
    for n in 0..3 {
        let record = format!("own-{n}");
        let answer = nameless.push_since(&node.url, &since, &[insert(&record, &json!({}))]).await;
        assert_eq!(answer["serverChanges"][0]["id"], record.as_str(), "{answer}");
        since = answer["syncedUntil"].as_str().unwrap().into();
    }
}
