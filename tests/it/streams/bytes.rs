//! What a stream sends, byte for byte.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::timeout;

use crate::support::{Client, Events, World, insert};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_head_goes_out_before_any_event() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.auth_url = None; // No spaces, so no event tells of them.
    let node = world.start(settings).await;
    let phone = world.client("alice", "phone");
    let head = timeout(SOON, phone.get(&node.url, "/sync/todo/stream")).await;
    let response = head.expect("the head does not wait for an event");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Events::new(response);
    world.client("alice", "laptop").push(&node.url, &[insert("t1", &json!({}))]).await;
    assert_eq!(events.next().await.unwrap().name, "changes");
}

#[tokio::test]
async fn an_event_of_changes_is_spelled_as_clients_split_it() {
    let world = World::new().await;
    let node = world.node().await;
    let mut stream = world.client("alice", "phone").stream(&node.url, "", "").await;
    assert_eq!(stream.next().await.unwrap().text, "event: spaces\ndata: {\"spaces\":[]}");
    let mut milk = insert("t1", &json!({"title": "Milk 🥛\n\n"}));
    milk["eventId"] = json!("01890000-0000-7000-8000-000000000001");
    world.client("alice", "laptop").push(&node.url, &[milk]).await;
    let event = stream.next().await.unwrap();
    let until = event.data["syncedUntil"].as_str().unwrap();
    assert_eq!(
        event.text,
        format!(
            "event: changes\ndata: {{\"table\":\"tasks\",\"changes\":[\
             {{\"eventId\":\"01890000-0000-7000-8000-000000000001\",\"schemaVersion\":1,\
             \"table\":\"tasks\",\"id\":\"t1\",\"op\":\"insert\",\
             \"data\":{{\"title\":\"Milk 🥛\\n\\n\"}}}}],\"syncedUntil\":\"{until}\",\
             \"hasMore\":false}}\nid: {until}"
        )
    );
    assert_eq!(until.len(), "2026-11-22T09:36:12.123456Z".len());
}

#[tokio::test]
async fn a_stream_without_news_says_that_it_is_alive() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.limits.heartbeat = Duration::from_millis(100);
    let node = world.start(settings).await;
    let mut stream = world.client("alice", "phone").stream(&node.url, "tasks", "").await;
    stream.named("spaces").await;
    for _ in 0..3 {
        assert_eq!(stream.next().await.unwrap().text, "event: heartbeat\ndata: {}");
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_token_runs_out() {
    let world = World::new().await;
    let node = world.node().await;
    let life = Duration::from_secs(3);
    let expires = SystemTime::now() + life;
    let phone = Client::new(world.issuer.token("alice", life), "phone");
    let mut stream = phone.stream(&node.url, "tasks", "").await;
    world.client("alice", "laptop").push(&node.url, &[insert("t1", &json!({}))]).await;
    stream.record("t1").await;
    assert_eq!(stream.named("expired").await.text, "event: expired\ndata: {}");
    assert!(stream.next().await.is_none(), "nothing follows");
    let early = expires.duration_since(SystemTime::now()).unwrap_or_default();
    assert!(early < Duration::from_secs(1), "it ended {early:?} before its token did");
}

#[tokio::test]
async fn a_stream_leaves_its_own_client_out() {
    let world = World::new().await;
    let node = world.node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    laptop.push(&node.url, &[insert("mine-before", &json!({}))]).await;
    phone.push(&node.url, &[insert("theirs-before", &json!({}))]).await;
    let mut stream = laptop.stream(&node.url, "", "").await;
    assert_eq!(super::records(&stream.changes(1).await), ["theirs-before"]);
    laptop.push(&node.url, &[insert("mine-live", &json!({}))]).await;
    phone.push(&node.url, &[insert("theirs-live", &json!({}))]).await;
    assert_eq!(super::records(&stream.changes(1).await), ["theirs-live"]);
}
