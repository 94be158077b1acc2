//! Refused tokens by their reason, and look-ups by where the answer came from.

use std::time::Duration;

use mana_sync::dev::issuer::{Answer, Issuer};
use serde_json::{Value, json};

use super::counts::Counts;
use super::{Process, launch, serve};
use crate::support::world::SERVICE_KEY;
use crate::support::{Client, World, eventually};

const HOUR: Duration = Duration::from_hours(1);

/// All reasons for which a token is refused.
const REASONS: [&str; 11] = [
    "missing",
    "malformed",
    "algorithm",
    "unknown_key",
    "signature",
    "expired",
    "not_yet",
    "audience",
    "issuer",
    "subject",
    "keys_unavailable",
];

/// Shows a token that must be refused, and expects that this reason is counted, and no other.
async fn is_counted_as(node: &Process, token: &str, reason: &str) {
    let failures = async || {
        let counts = Counts::of(node).await;
        REASONS.map(|reason| counts.get(&format!("auth_failures_total{{reason=\"{reason}\"}}")))
    };
    let before = failures().await;
    let client = Client::new(token.to_owned(), "laptop");
    let path = "/sync/todo/pull?collection=tasks&since=";
    assert_eq!(client.get(&node.url, path).await.status(), 401, "{reason}");
    let after = failures().await;
    let grown = REASONS.iter().zip(before).zip(after);
    for ((name, before), after) in grown {
        assert_eq!(after - before, u64::from(*name == reason), "{name} of a token for {reason}");
    }
}

#[tokio::test]
async fn each_reason_to_refuse_a_token_is_counted_by_its_name() {
    let world = World::new().await;
    let node = serve(&world, &["--jwt-audience=sync", "--jwt-issuer=mana"]).await;
    world.issuer.set_audience(Some("sync"));
    world.issuer.set_name(Some("mana"));
    let claims = world.issuer.claims("alice", HOUR);
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        world.issuer.sign(&claims)
    };
    let now = jiff::Timestamp::now().as_second();
    let stranger = Issuer::new(SERVICE_KEY).unwrap();
    let honest = json!({"alg": "EdDSA", "kid": world.issuer.kid()});
    let unknown = json!({"alg": "EdDSA", "kid": "made-up"});
    let other = json!({"alg": "RS256", "kid": world.issuer.kid()});
    for (token, reason) in [
        (String::new(), "missing"),
        ("x.y.z".to_owned(), "malformed"),
        (world.issuer.sign_with_header(&other, &claims), "algorithm"),
        (world.issuer.sign_with_header(&unknown, &claims), "unknown_key"),
        (stranger.sign_with_header(&honest, &claims), "signature"),
        (with("exp", json!(now - 60)), "expired"),
        (with("nbf", json!(now + 60)), "not_yet"),
        (with("aud", json!("another")), "audience"),
        (with("iss", json!("another")), "issuer"),
        (with("sub", json!("")), "subject"),
    ] {
        is_counted_as(&node, &token, reason).await;
    }
    let good = world.client("alice", "laptop");
    good.pull(&node.url, "tasks", "").await;
}

#[tokio::test]
async fn a_token_that_cannot_be_verified_is_counted_as_that() {
    let world = World::new().await;
    world.issuer.answer_jwks(Answer::Status(500));
    let node = launch(&world, &[], &[]);
    let live = async || (node.status("/health/live").await == Some(200)).then_some(());
    eventually("a node that serves", live).await;
    is_counted_as(&node, &world.issuer.token("alice", HOUR), "keys_unavailable").await;
    let counts = Counts::of(&node).await;
    assert!(counts.get(r#"lookups_total{what="jwks",source="none"}"#) >= 1, "{counts:?}");
    assert_eq!(counts.get(r#"lookups_total{what="jwks",source="service"}"#), 0);
}

/// Look-ups of memberships so far: by the service, the database, memory, the last known answer,
/// and not at all; and those of billing by the service, memory, and not at all.
async fn lookups(node: &Process) -> ([u64; 5], [u64; 3]) {
    let counts = Counts::of(node).await;
    let of = |what: &str, source: &str| {
        counts.get(&format!("lookups_total{{what=\"{what}\",source=\"{source}\"}}"))
    };
    let memberships = ["service", "database", "cache", "last_known", "none"];
    let billing = ["service", "cache", "none"];
    (memberships.map(|source| of("membership", source)), billing.map(|s| of("billing", s)))
}

#[tokio::test]
async fn an_answer_is_counted_by_where_it_came_from() {
    let world = World::new().await;
    let (first, second) = (serve(&world, &[]).await, serve(&world, &[]).await);
    let alice = world.client("alice", "laptop");
    let pull = async |node: &Process| drop(alice.pull(&node.url, "tasks", "").await);
    pull(&first).await;
    assert_eq!(lookups(&first).await, ([1, 0, 0, 0, 0], [1, 0, 0]));
    pull(&first).await;
    pull(&first).await;
    assert_eq!(lookups(&first).await, ([1, 0, 2, 0, 0], [1, 2, 0]));
    pull(&second).await;
    assert_eq!(lookups(&second).await, ([0, 1, 0, 0, 0], [1, 0, 0]), "the fleet knows already");
    pull(&second).await;
    assert_eq!(lookups(&second).await, ([0, 1, 1, 0, 0], [1, 1, 0]));
    let keys = Counts::of(&second).await.get(r#"lookups_total{what="jwks",source="service"}"#);
    assert!(keys >= 1);

    world.issuer.answer_memberships(Answer::Status(404));
    world.issuer.answer_billing(Answer::Rubbish);
    world.client("bob", "b").pull(&first.url, "tasks", "").await;
    assert_eq!(lookups(&first).await, ([1, 0, 2, 0, 1], [1, 2, 1]), "nobody knows bob");
}

#[tokio::test]
async fn an_answer_that_is_old_and_still_used_is_counted_as_the_last_known() {
    let world = World::new().await;
    let node = serve(&world, &["--membership-life-seconds=1"]).await;
    let alice = world.client("alice", "laptop");
    alice.pull(&node.url, "tasks", "").await;
    world.issuer.answer_memberships(Answer::Status(404));
    eventually("the last known answer", async || {
        let page = alice.pull(&node.url, "tasks", "").await;
        assert_eq!(page["spaces"], json!([]), "she stays verified");
        let ([service, .., last_known, none], _) = lookups(&node).await;
        assert_eq!((service, none), (1, last_known), "each failure falls back on it");
        (last_known > 0).then_some(())
    })
    .await;
}
