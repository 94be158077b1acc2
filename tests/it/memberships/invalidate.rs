//! The auth service says that something changed.

use std::time::{Duration, Instant};

use mana_sync::dev::issuer::Answer;
use serde_json::json;

use super::oracle::Oracle;
use super::{invalidate, shared};
use crate::protocol::talk::{http, ids, page_ids, refusal};
use crate::support::world::{SERVICE_KEY, TestNode};
use crate::support::{World, eventually, psql, say};

async fn two_nodes() -> (World, [TestNode; 2]) {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    (world, nodes)
}

// P-87: makes all nodes ask again at once, for running streams too
#[tokio::test]
async fn an_invalidation_reaches_streams_of_other_nodes() {
    let (world, [first, second]) = two_nodes().await;
    let mut stream = world.client("alice", "a").stream(&second.url, "", "").await;
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": []}));
    let asked = world.issuer.lookups("alice");
    world.issuer.join("alice", "home");
    let response = invalidate(&first, "alice", SERVICE_KEY).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.bytes().await.unwrap().len(), 0);
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": ["home"]}));
    assert_eq!(world.issuer.lookups("alice"), asked + 1, "once for the fleet");
    world.issuer.leave("alice", "home");
    let begun = Instant::now();
    invalidate(&first, "alice", SERVICE_KEY).await;
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": []}));
    let took = begun.elapsed();
    say(&format!("a stream of another node lost a space after {took:.1?}"));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

// P-85: After an invalidation the old answer grants no space until a lookup succeeds
#[tokio::test]
async fn an_invalidation_ends_delivery_until_membership_is_verified_again() {
    let (world, [first, second]) = two_nodes().await;
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let (laptop, bob) = (world.client("alice", "laptop"), world.client("bob", "b"));
    let mut stream = laptop.stream(&second.url, "tasks", "").await;
    bob.push(&first.url, &[shared("1", "home")]).await;
    laptop.push(&first.url, &[shared("2", "home")]).await;
    stream.record("1").await;
    world.issuer.answer_memberships(Answer::Status(500));
    assert_eq!(invalidate(&first, "alice", SERVICE_KEY).await.status(), 204);
    bob.push(&first.url, &[shared("3", "home")]).await;
    let phone = world.client("alice", "phone");
    let answer = phone.push(&first.url, &[shared("4", "home")]).await;
    assert_eq!(answer["unpublished"][0]["id"], "4");
    assert_eq!(answer.get("spaces"), None);
    // Of what came after the invalidation, the stream gets what is alice's own.
    assert_eq!(ids(&stream.changes(1).await), ["4"]);
    for node in [&first, &second] {
        assert_eq!(page_ids(&laptop.pull(&node.url, "tasks", "").await), ["4"]);
    }
    world.issuer.answer_memberships(Answer::Normal);
    invalidate(&first, "alice", SERVICE_KEY).await;
    // Newly joined: the whole history once more, the own changes included, whatever the client; and
    // again where it was read before the last one had entered.
    let mut seen = Vec::new();
    while seen.last().is_none_or(|id| id != "4") {
        seen.extend(ids(&stream.changes(1).await).into_iter().map(ToOwned::to_owned));
    }
    assert!(seen.ends_with(&["1", "2", "3", "4"].map(ToOwned::to_owned)), "{seen:?}");
}

// P-84: An answer that was asked for before an invalidation is not kept.
#[tokio::test]
async fn an_answer_from_before_an_invalidation_is_not_kept() {
    let world = World::new().await;
    let oracle = Oracle::start().await;
    let mut settings = world.settings();
    settings.auth_url = Some(oracle.url.clone());
    let (first, second) = (world.start(settings.clone()).await, world.start(settings).await);
    let alice = world.client("alice", "a");
    oracle.say(r#"{"memberships":[{"organizationId":"home"}]}"#);
    oracle.hold(true);
    let pulling = alice.pull(&first.url, "tasks", "");
    let invalidating = async {
        eventually("the first question", async || (oracle.asked().len() == 1).then_some(())).await;
        oracle.say(r#"{"memberships":[]}"#);
        oracle.hold(false);
        // The other node asks anew, and hears the truth before the first has its old answer.
        assert_eq!(invalidate(&second, "alice", SERVICE_KEY).await.status(), 204);
        assert_eq!(oracle.asked().len(), 2);
        oracle.release();
    };
    let (page, ()) = tokio::join!(pulling, invalidating);
    assert_eq!(page["spaces"], json!([]), "an answer from before was kept");
    for node in [&first, &second] {
        assert_eq!(alice.pull(&node.url, "tasks", "").await["spaces"], json!([]));
    }
}

// P-88: Without the right key an invalidation is refused with 401, and nothing is forgotten.
#[tokio::test]
async fn strangers_invalidate_nothing() {
    let (world, [first, second]) = two_nodes().await;
    world.issuer.join("alice", "home");
    let alice = world.client("alice", "a");
    alice.pull(&first.url, "tasks", "").await;
    let lookups = world.issuer.lookups("alice");
    let nearly = &SERVICE_KEY[..SERVICE_KEY.len() - 1];
    let longer = format!("{SERVICE_KEY}x");
    for key in ["", "wrong", nearly, &longer, &SERVICE_KEY.to_uppercase()] {
        let (status, code, _) = refusal(invalidate(&first, "alice", key).await).await;
        assert_eq!((status, code.as_str()), (401, "unauthenticated"), "{key:?}");
    }
    let url = format!("{}/internal/memberships/alice/invalidate", first.url);
    // A user's token opens nothing here.
    let response = http().post(url).bearer_auth(&alice.token).send().await.unwrap();
    assert_eq!(refusal(response).await.0, 401);
    world.issuer.leave("alice", "home");
    assert_eq!(alice.pull(&second.url, "tasks", "").await["spaces"], json!(["home"]));
    assert_eq!(world.issuer.lookups("alice"), lookups);
}

// P-88: Without the right key an invalidation is refused with 401
#[tokio::test]
async fn a_node_without_a_key_takes_no_invalidation() {
    let world = World::new().await;
    let mut settings = world.settings();
    (settings.auth_url, settings.credits_url, settings.service_key) = (None, None, None);
    let node = world.start(settings).await;
    for key in ["", SERVICE_KEY] {
        assert_eq!(invalidate(&node, "alice", key).await.status(), 401);
    }
}

// P-36: `spaces` lists the caller's verified spaces
#[tokio::test]
async fn a_member_who_is_joining_anew_is_not_told_to_be_a_member_of_nothing() {
    let (world, [first, _second]) = two_nodes().await;
    world.issuer.join("alice", "home");
    let alice = world.client("alice", "a");
    assert_eq!(alice.pull(&first.url, "tasks", "").await["spaces"], json!(["home"]));
    // Somebody's run is under way: what is joined now lies ahead of what can be read.
    let mut writer = world.sql().await;
    psql(&mut writer, "begin; select sync_stamp(1)").await;
    assert_eq!(invalidate(&first, "alice", SERVICE_KEY).await.status(), 204);
    assert_eq!(alice.pull(&first.url, "tasks", "").await["spaces"], json!(null));
    psql(&mut writer, "commit").await;
    assert_eq!(alice.pull(&first.url, "tasks", "").await["spaces"], json!(["home"]));
}

// P-85: After an invalidation the old answer grants no space until a lookup succeeds
#[tokio::test]
async fn a_stream_gets_its_spaces_back_after_one_failed_lookup() {
    let (world, [first, _second]) = two_nodes().await;
    world.issuer.join("alice", "home");
    let mut stream = world.client("alice", "a").stream(&first.url, "", "").await;
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": ["home"]}));
    world.issuer.answer_memberships(Answer::Status(500));
    let asked = world.issuer.lookups("alice");
    assert_eq!(invalidate(&first, "alice", SERVICE_KEY).await.status(), 204);
    eventually("a lookup that fails", async || {
        (world.issuer.lookups("alice") > asked).then_some(())
    })
    .await;
    world.issuer.join("alice", "work");
    world.issuer.answer_memberships(Answer::Normal);
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": ["home", "work"]}));
}
