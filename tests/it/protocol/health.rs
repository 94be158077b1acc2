//! Health and metrics.

use std::time::Duration;

use mana_sync::dev::issuer::Answer;
use serde_json::{Value, json};

use super::talk::{answer, http, one_node, refusal};
use crate::support::{Client, World, eventually, insert};

// P-101: how many `connections` and `users` the node has at this moment
#[tokio::test]
async fn health_counts_who_is_there() {
    let (world, node) = one_node().await;
    let health =
        async || answer(http().get(format!("{}/health", node.url)).send().await.unwrap()).await;
    let first: Value = health().await;
    let keys: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["connections", "service", "status", "timestamp", "users"]);
    assert_eq!((&first["status"], &first["service"]), (&json!("ok"), &json!("mana-sync")));
    assert_eq!((&first["connections"], &first["users"]), (&json!(0), &json!(0)));
    let time: jiff::Timestamp = first["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((jiff::Timestamp::now() - time).get_seconds().abs() < 60);
    let streams = [
        world.client("alice", "a").stream(&node.url, "", "").await,
        world.client("alice", "b").stream(&node.url, "", "").await,
        world.client("bob", "c").stream(&node.url, "", "").await,
    ];
    let counts = async || {
        let health = health().await;
        (health["connections"].as_u64().unwrap(), health["users"].as_u64().unwrap())
    };
    assert_eq!(counts().await, (3, 2));
    drop(streams);
    eventually("all have left", async || (counts().await == (0, 0)).then_some(())).await;
}

// P-102: `GET /health/live` answers 200 as long as the process does.
#[tokio::test]
async fn a_live_node_says_so() {
    let (_world, node) = one_node().await;
    let response = http().get(format!("{}/health/live", node.url)).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

// P-103: 200 while clients may be sent to the node, and 503 while they may not
#[tokio::test]
async fn a_node_that_leaves_is_not_ready() {
    let world = World::new().await;
    let mut settings = world.settings();
    // It serves on until the test has seen it, and ends at the deadline at the latest.
    settings.leaving.delay = Duration::from_secs(3);
    settings.leaving.spread = Duration::ZERO;
    let node = world.start(settings).await;
    let url = node.url.clone();
    let ready = async || {
        let response = http().get(format!("{url}/health/ready")).send().await.unwrap();
        let retry = response.headers().contains_key("retry-after");
        (response.status().as_u16(), retry)
    };
    // The key set may still be on its way.
    eventually("it is ready", async || (ready().await.0 == 200).then_some(())).await;
    let leaving = tokio::spawn(node.node.leave());
    let refused = eventually("it is not ready", async || {
        let (status, retry) = ready().await;
        (status == 503).then_some(retry)
    });
    assert!(refused.await, "a 503 says when to come back");
    let live = http().get(format!("{url}/health/live")).send().await.unwrap();
    assert_eq!(live.status(), 200);
    leaving.await.unwrap();
}

// P-103: and 503 while they may not
#[tokio::test]
async fn a_node_that_never_had_the_keys_is_not_ready() {
    let world = World::new().await;
    world.issuer.answer_jwks(Answer::Status(500));
    let node = world.node().await;
    let ready = async || http().get(format!("{}/health/ready", node.url)).send().await.unwrap();
    let tried = async || (world.issuer.jwks_requests() >= 3).then_some(());
    eventually("some attempts at the keys", tried).await;
    let response = ready().await;
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, message) = refusal(response).await;
    assert_eq!((status, code.as_str()), (503, "not_ready"));
    assert!(message.contains("key"), "{message}");
    let live = http().get(format!("{}/health/live", node.url)).send().await.unwrap();
    assert_eq!(live.status(), 200);
    world.issuer.answer_jwks(Answer::Normal);
    let is_ready = async || (ready().await.status() == 200).then_some(());
    eventually("a node with keys", is_ready).await;
    // Keys that were loaded once are kept, whatever becomes of the issuer.
    world.issuer.answer_jwks(Answer::Rubbish);
    let unknown = json!({"alg": "EdDSA", "kid": "made-up"});
    let token = world.issuer.sign_with_header(&unknown, &json!({}));
    let asked = world.issuer.jwks_requests();
    let client = Client::new(token, "laptop");
    assert_eq!(client.get(&node.url, "/sync/todo/stream").await.status(), 401);
    assert_eq!(world.issuer.jwks_requests(), asked + 1, "the keys were asked for in vain");
    assert_eq!(ready().await.status(), 200);
}

/// What the node must count at least.
const AT_LEAST: [&str; 26] = [
    "http_requests_total",
    "http_request_seconds",
    "streams_active",
    "pushes_total",
    "changes_stored_total",
    "batch_pushes",
    "batch_changes",
    "commit_seconds",
    "rings_total",
    "doorbells_heard_total",
    "listener_connected",
    "listener_reconnects_total",
    "relay_reads_total",
    "relay_rows_total",
    "tail_hits_total",
    "tail_misses_total",
    "catch_ups_total",
    "lookups_total",
    "auth_failures_total",
    "pool_connections",
    "pool_idle_connections",
    "pool_acquire_timeouts_total",
    "connections_total",
    "users_connected",
    "websockets_active",
    "build_info",
];

// P-104: is Prometheus text, every name beginning with `mana_sync_`
#[tokio::test]
async fn metrics_count_the_work() {
    let (world, node) = one_node().await;
    let metrics = async || {
        let response = http().get(format!("{}/metrics", node.url)).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        response.text().await.unwrap()
    };
    let mut stream = world.client("alice", "phone").stream(&node.url, "", "").await;
    stream.named("spaces").await;
    world.client("alice", "laptop").push(&node.url, &[insert("t1", &json!({}))]).await;
    stream.record("t1").await;
    http().get(format!("{}/sync/todo/stream", node.url)).send().await.unwrap();
    let text = metrics().await;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let name = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        assert!(name.unwrap_or(line).starts_with("mana_sync_"), "{line}");
    }
    for name in AT_LEAST {
        let name = format!("mana_sync_{name}");
        let known = mana_sync::metrics::ALL.iter().find(|metric| metric.name == name);
        let known = known.unwrap_or_else(|| panic!("{name} is not in the table of metrics"));
        let told = text.lines().find(|line| {
            line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{', '_']))
        });
        assert!(told.is_some(), "{name} ({known:?}) is not told:\n{text}");
    }
    // Other tests run in this process and count too, so only what this one has open is certain.
    for gauge in ["connections_total", "users_connected", "streams_active"] {
        let line = format!("mana_sync_{gauge} ");
        let value = text.lines().find_map(|l| l.strip_prefix(&line)).unwrap();
        assert!(value.parse::<f64>().unwrap() >= 1.0, "{gauge} {value}");
    }
    let labels = r#"route="/sync/{app_id}",method="POST",status="200""#;
    assert!(text.contains(labels), "{text}");
}
