//! The auth service: what it is asked, and what of its answers is believed.

use std::time::Duration;

use mana_sync::dev::issuer::Answer;
use mana_sync::directory::members::Members;
use mana_sync::directory::services::{AuthService, ServiceKey};
use mana_sync::id::UserId;
use serde_json::{Value, json};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::oracle::Oracle;
use super::shared;
use crate::protocol::talk::ids;
use crate::store::sql::store;
use crate::support::world::{SERVICE_KEY, TestNode};
use crate::support::{World, eventually};

/// The `spaces` of an answer; none while membership is unverified.
async fn spaces(world: &World, node: &TestNode, user: &str) -> Option<Value> {
    let page = world.client(user, "c").pull(&node.url, "tasks", "").await;
    page.get("spaces").cloned()
}

/// A world whose nodes ask an oracle, below a path of its own.
async fn with_oracle(life: Duration) -> (World, Oracle, TestNode) {
    let world = World::new().await;
    let oracle = Oracle::start().await;
    let mut settings = world.settings();
    settings.auth_url = Some(oracle.url.join("/auth/").unwrap());
    settings.membership_life = life;
    let node = world.start(settings).await;
    (world, oracle, node)
}

// P-80: with the header `x-service-key`, the user id percent-encoded as one segment of the path
#[tokio::test]
async fn a_lookup_in_bytes() {
    let (world, oracle, node) = with_oracle(Duration::from_mins(5)).await;
    let user = "a/../b ü?#%2e;{}\\";
    spaces(&world, &node, user).await;
    let segment = "a%2F..%2Fb%20%C3%BC%3F%23%252e%3B%7B%7D%5C";
    assert_eq!(oracle.asked(), [format!("/auth/api/v1/internal/users/{segment}/memberships")]);
    assert_eq!(oracle.keys(), [SERVICE_KEY]);
}

// P-83: A failed lookup is not kept
#[tokio::test]
async fn a_failed_lookup_is_not_kept() {
    let world = World::new().await;
    let node = world.node().await;
    world.issuer.join("alice", "home");
    let faults = [Answer::Status(500), Answer::Status(401), Answer::Status(302), Answer::Rubbish];
    for (n, fault) in faults.into_iter().enumerate() {
        world.issuer.answer_memberships(fault);
        assert_eq!(spaces(&world, &node, "alice").await, None, "{fault:?}");
        assert_eq!(world.issuer.lookups("alice"), n + 1, "each request asks anew");
    }
    world.issuer.answer_memberships(Answer::Normal);
    assert_eq!(spaces(&world, &node, "alice").await, Some(json!(["home"])));
}

// P-83: with none the user counts as a member of nothing and as unverified
#[tokio::test]
async fn a_slow_service_holds_nobody_up_for_long() {
    let world = World::new().await;
    let node = world.node().await;
    world.issuer.join("alice", "home");
    world.issuer.answer_memberships(Answer::Slow(Duration::from_mins(1)));
    let alice = world.client("alice", "a");
    let changes = [shared("t1", "home")];
    let pushed = alice.push(&node.url, &changes);
    let pushed = tokio::time::timeout(Duration::from_secs(15), pushed);
    let answer = pushed.await.expect("a push outlasts a service that is slow");
    assert_eq!(answer["unpublished"][0]["id"], "t1");
    assert_eq!(answer.get("spaces"), None);
}

// P-83: A failed lookup is not kept
#[tokio::test]
async fn clients_that_hang_up_during_a_lookup_end_nothing_but_their_own_requests() {
    const CLIENTS: usize = 300;
    let world = World::new().await;
    let auth = Url::parse(&format!("http://{}", world.issuer_address)).unwrap();
    let key = ServiceKey::new(SERVICE_KEY).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let service = AuthService::new(auth, key, http);
    let (members, requests) = Members::new(store(&world), Some(service), Duration::from_mins(5));
    let stop = CancellationToken::new();
    let running = tokio::spawn(members.clone().run(requests, stop.clone()));
    let alice = UserId::new("alice").unwrap();
    let refresh = || {
        let (members, alice) = (members.clone(), alice.clone());
        tokio::spawn(async move { members.refresh(&alice).await })
    };

    world.issuer.answer_memberships(Answer::Slow(Duration::from_secs(3)));
    let clients: Vec<_> = (0..CLIENTS).map(|_| refresh()).collect();
    let asked = async || (world.issuer.lookups("alice") == 1).then_some(());
    eventually("the question to the service", asked).await;
    // Her stream asks too, and does not hang up.
    members.request(&alice);
    for client in clients {
        // All others have heard by then of the one before.
        for _ in 0..2 * CLIENTS {
            yield_now().await;
        }
        client.abort();
        drop(client.await);
    }
    eventually("the answer for the stream", async || members.fresh_until(&alice).await).await;
    assert_eq!(world.issuer.lookups("alice"), 1, "nobody had to ask again");
    stop.cancel();
    running.await.expect("nothing of it panicked");
}

// P-83: A failed lookup is not kept
#[tokio::test]
async fn an_answer_about_somebody_else_is_not_believed() {
    let (world, oracle, node) = with_oracle(Duration::from_mins(5)).await;
    let home = r#"[{"organizationId":"home","role":"member"}]"#;
    for lie in [
        format!(r#"{{"userId":"mallory","memberships":{home}}}"#),
        format!(r#"{{"userId":"Alice","memberships":{home}}}"#),
        r#"{"userId":"alice"}"#.to_owned(),
        r#"{"userId":"alice","memberships":null}"#.to_owned(),
        r#"{"userId":"alice","memberships":[{"id":"home"}]}"#.to_owned(),
        r#"{"userId":"alice","memberships":["home"]}"#.to_owned(),
        r#"{"userId":7,"memberships":[]}"#.to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        String::new(),
        " ".repeat(2_000_000),
    ] {
        oracle.say(&lie);
        let short: String = lie.chars().take(100).collect();
        assert_eq!(spaces(&world, &node, "alice").await, None, "{short}");
    }
    oracle.say(&format!(r#"{{"userId":"alice","memberships":{home}}}"#));
    assert_eq!(spaces(&world, &node, "alice").await, Some(json!(["home"])));
}

// P-83: the last known answer holds
#[tokio::test]
async fn the_last_known_answer_holds() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.membership_life = Duration::from_millis(100);
    let node = world.start(settings.clone()).await;
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let bob = world.client("bob", "b");
    let mut stream = world.client("alice", "a").stream(&node.url, "", "").await;
    stream.named("spaces").await;
    bob.push(&node.url, &[]).await;
    let faults = [Answer::Status(503), Answer::Rubbish, Answer::Status(404)];
    for (n, fault) in faults.into_iter().enumerate() {
        world.issuer.answer_memberships(fault);
        // A node that is new remembers nothing, and asks as soon as the answer is old.
        let node = world.start(settings.clone()).await;
        let before = world.issuer.lookups("alice");
        let asked = eventually("alice is asked about again", async || {
            let spaces = spaces(&world, &node, "alice").await;
            (world.issuer.lookups("alice") > before).then_some(spaces)
        });
        assert_eq!(asked.await, Some(json!(["home"])), "{fault:?}");
        let id = format!("t{n}");
        let answer = bob.push(&node.url, &[shared(&id, "home")]).await;
        assert!(answer.get("unpublished").is_none(), "{answer}");
        assert_eq!(ids(&stream.changes(1).await), [id]);
    }
}

// P-86: On nodes without an auth service (`MANA_AUTH_URL`) spaces are off.
#[tokio::test]
async fn without_an_auth_service_there_are_no_spaces() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.auth_url = None;
    let node = world.start(settings).await;
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let mut bob = world.client("bob", "b").stream(&node.url, "", "").await;
    let answer = world.client("alice", "a").push(&node.url, &[shared("t1", "home")]).await;
    assert_eq!(answer["unpublished"][0]["id"], "t1");
    assert_eq!(spaces(&world, &node, "alice").await, None);
    world.client("bob", "c").push(&node.url, &[shared("own", "home")]).await;
    // The first event is the own change: there was none of spaces.
    let first = bob.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), first.data["changes"][0]["id"].as_str()),
        ("changes", Some("own"))
    );
    assert_eq!(world.issuer.lookups("alice") + world.issuer.lookups("bob"), 0);
}
