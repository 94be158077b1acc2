//! What enters a space, and when.

use mana_sync::dev::issuer::Answer;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{invalidate, shared};
use crate::protocol::talk::{everything, ids, page_ids};
use crate::store::sql::value;
use crate::support::world::{SERVICE_KEY, TestNode};
use crate::support::{World, eventually, insert, psql};

async fn two_nodes() -> (World, [TestNode; 2]) {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    world.issuer.join("bob", "home");
    (world, nodes)
}

// P-72: Authors see their own changes in every space
// P-75: kept for its author alone, and reported as `unpublished`
// P-77: Nothing is refused on account of its space.
#[tokio::test]
async fn a_stranger_s_change_never_reaches_the_space() {
    let (world, nodes) = two_nodes().await;
    let (mallory, bob) = (world.client("mallory", "m"), world.client("bob", "b"));
    let mut stream = bob.stream(&nodes[1].url, "", "").await;
    let mut own = world.client("mallory", "phone").stream(&nodes[1].url, "", "").await;
    let answer = mallory.push(&nodes[0].url, &[shared("evil", "home")]).await;
    let reported = json!([{"table": "tasks", "id": "evil", "spaceId": "home"}]);
    assert_eq!(answer["unpublished"], reported);
    assert_eq!(own.record("evil").await["spaceId"], "home");
    let phone = everything(&world.client("mallory", "tablet"), &nodes[1].url).await;
    assert_eq!(ids(&phone), ["evil"]);
    bob.push(&nodes[0].url, &[shared("mine", "home")]).await;
    world.client("bob", "other").push(&nodes[0].url, &[shared("good", "home")]).await;
    assert_eq!(ids(&stream.changes(1).await), ["good"]);
    for node in &nodes {
        assert_eq!(page_ids(&bob.pull(&node.url, "tasks", "").await), ["good"]);
        assert_eq!(page_ids(&bob.push(&node.url, &[]).await), ["good"]);
    }
}

// P-72: whether membership can be verified or not
#[tokio::test]
async fn an_author_who_can_t_be_verified_still_syncs() {
    let (world, nodes) = two_nodes().await;
    world.issuer.join("alice", "home");
    world.issuer.answer_memberships(Answer::Status(500));
    let alice = world.client("alice", "laptop");
    let answer = alice.push(&nodes[0].url, &[shared("t1", "home")]).await;
    assert_eq!(answer["unpublished"][0]["id"], "t1");
    let phone = world.client("alice", "phone");
    assert_eq!(ids(&everything(&phone, &nodes[1].url).await), ["t1"]);
    let mut stream = phone.stream(&nodes[1].url, "", "").await;
    assert_eq!(ids(&stream.changes(1).await), ["t1"]);
}

// P-76: oldest first and before anything newer of its author there
#[tokio::test]
async fn what_was_kept_back_is_published_in_order() {
    let (world, nodes) = two_nodes().await;
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let mut stream = bob.stream(&nodes[1].url, "", "").await;
    stream.named("spaces").await;
    let held: Vec<String> = (0..30).map(|n| format!("held{n:02}")).collect();
    for some in held.chunks(7) {
        let changes: Vec<Value> = some.iter().map(|id| shared(id, "home")).collect();
        let answer = alice.push(&nodes[0].url, &changes).await;
        assert_eq!(answer["unpublished"].as_array().unwrap().len(), some.len());
    }
    alice.push(&nodes[0].url, &[insert("private", &json!({})), shared("far", "elsewhere")]).await;
    world.issuer.join("alice", "home");
    invalidate(&nodes[1], "alice", SERVICE_KEY).await;
    let answer = alice.push(&nodes[0].url, &[shared("newer", "home")]).await;
    assert!(answer.get("unpublished").is_none(), "{answer}");
    let expected: Vec<String> = held.into_iter().chain(["newer".to_owned()]).collect();
    assert_eq!(ids(&stream.changes(expected.len()).await), expected);
    let (pulled, _) = bob.pull_all(&nodes[0].url, "tasks", "").await;
    assert_eq!(ids(&pulled), expected);
    // A new device of the author reads each where it was written, and in the history of the space.
    let phone = everything(&world.client("alice", "phone"), &nodes[1].url).await;
    assert_eq!(phone.len(), 30 + 2 + expected.len());
}

// P-76: What was kept back enters the feed when a later lookup verifies the membership
#[tokio::test]
async fn a_failed_lookup_keeps_back_and_the_next_one_publishes() {
    let (world, nodes) = two_nodes().await;
    world.issuer.join("alice", "home");
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let mut stream = bob.stream(&nodes[1].url, "", "").await;
    stream.named("spaces").await;
    world.issuer.answer_memberships(Answer::Rubbish);
    let answer = alice.push(&nodes[0].url, &[shared("early", "home")]).await;
    assert_eq!(answer["unpublished"][0]["id"], "early");
    world.issuer.answer_memberships(Answer::Normal);
    // Any request of the author makes the fleet ask again.
    world.client("alice", "phone").pull(&nodes[1].url, "other", "").await;
    assert_eq!(ids(&stream.changes(1).await), ["early"]);
}

// P-76: oldest first and before anything newer of its author there
#[tokio::test]
async fn more_than_a_page_is_published_while_the_author_goes_on_writing() {
    let (world, nodes) = two_nodes().await;
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    bob.push(&nodes[0].url, &[]).await;
    let held: Vec<Value> = (0..2_300).map(|n| shared(&format!("{n:05}"), "home")).collect();
    alice.push(&nodes[0].url, &held).await;
    world.issuer.join("alice", "home");
    let (status, ()) =
        tokio::join!(async { invalidate(&nodes[1], "alice", SERVICE_KEY).await.status() }, async {
            for n in 2_300..2_340 {
                alice.push(&nodes[n % 2].url, &[shared(&format!("{n:05}"), "home")]).await;
            }
        });
    assert_eq!(status, 204);
    let mut stream = bob.stream(&nodes[0].url, "tasks", "").await;
    let expected: Vec<String> = (0..2_340).map(|n| format!("{n:05}")).collect();
    assert_eq!(ids(&stream.changes(expected.len()).await), expected);
}

// P-76: the space's history is read again, with what was kept back in it
#[tokio::test]
async fn what_enters_a_space_late_comes_to_its_author_s_devices() {
    let (world, nodes) = two_nodes().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let (mut admin, mut since) = (world.admin().await, String::new());
    laptop.push(&nodes[0].url, &[shared("late", "home")]).await;
    keep_membership(&mut admin).await;
    for device in [&laptop, &phone] {
        let page = device.pull(&nodes[0].url, "tasks", "").await;
        page["syncedUntil"].as_str().unwrap().clone_into(&mut since);
    }
    // Both stand behind the joining, and have read a history without what is not published yet.
    let mut live = [
        laptop.stream(&nodes[0].url, "tasks", &since).await,
        phone.stream(&nodes[1].url, "tasks", &since).await,
    ];
    for stream in &mut live {
        assert_eq!(stream.named("spaces").await.data["spaces"], json!(["home"]));
    }
    psql(&mut admin, "call sync_publish('alice', 1000)").await;
    for stream in &mut live {
        stream.record("late").await;
    }
    for (device, node) in [(&laptop, &nodes[1]), (&phone, &nodes[0])] {
        assert_eq!(page_ids(&device.push_since(&node.url, &since, &[]).await), ["late"]);
        let (all, until) = device.pull_all(&node.url, "tasks", &since).await;
        assert_eq!(ids(&all), ["late"]);
        assert!(page_ids(&device.pull(&node.url, "tasks", &until).await).is_empty());
    }
}

// P-75: reported as `unpublished`
#[tokio::test]
async fn what_is_published_while_it_is_answered_is_not_reported() {
    let (world, [node, _]) = two_nodes().await;
    let alice = world.client("alice", "laptop");
    alice.pull(&node.url, "tasks", "").await;
    let mut admin = world.admin().await;
    keep_membership(&mut admin).await;
    // The node has not heard of a joining that another one has just moved.
    psql(&mut admin, "update sync_members set joined_at = joined_at + interval '1 hour'").await;
    let answer = alice.push(&node.url, &[shared("t1", "home")]).await;
    assert!(answer.get("unpublished").is_none(), "{answer}");
    let entered = "select count(*) from sync_changes where space_at is not null";
    assert_eq!(value::<i64>(&mut admin, entered).await, 1);
}

// P-75: reported as `unpublished`
#[tokio::test]
async fn what_could_not_be_published_because_the_membership_ended_is_reported() {
    let (world, [node, _]) = two_nodes().await;
    let alice = world.client("alice", "laptop");
    alice.pull(&node.url, "tasks", "").await;
    let mut admin = world.admin().await;
    keep_membership(&mut admin).await;
    psql(&mut admin, "begin; select from sync_members where user_id = 'alice' for update").await;
    let pushing = {
        let (alice, node) = (alice.clone(), node.url.clone());
        tokio::spawn(async move { alice.push(&node, &[shared("late", "home")]).await })
    };
    let mut watcher = world.admin().await;
    let waits = "select count(*) from pg_stat_activity where datname = current_database() \
                 and query like '%sync_publish%' and wait_event_type = 'Lock'";
    eventually("the publishing that waits", async || {
        (value::<i64>(&mut watcher, waits).await == 1).then_some(())
    })
    .await;
    psql(&mut admin, "delete from sync_members where user_id = 'alice'; commit").await;
    let answer = pushing.await.unwrap();
    assert_eq!(answer["unpublished"][0]["id"], "late", "{answer}");
}

/// Another node is about to publish: it has kept that alice is a member of home, and no more.
async fn keep_membership(admin: &mut PgConnection) {
    let keep = "do $$ declare asked bigint; kept boolean; moved boolean; begin
             select question into asked from sync_users where user_id = 'alice';
             call sync_answer('alice', asked, array['home'], kept, moved);
         end $$";
    psql(admin, keep).await;
}
