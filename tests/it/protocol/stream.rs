//! The event stream.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use mana_sync::dev::issuer::Answer;

use super::talk::{START, answer, http, ids, one_node, page, page_ids};
use crate::support::{Client, Event, Events, World, insert};

/// The ids of an event's changes.
fn event_ids(event: &Event) -> Vec<&str> {
    ids(event.data["changes"].as_array().unwrap())
}

// P-44: goes out at once, before any event
#[tokio::test]
async fn the_head_waits_for_nothing() {
    let (world, node) = one_node().await;
    // Nothing can be read before memberships are known, or given up after 3 seconds.
    world.issuer.answer_memberships(Answer::Slow(Duration::from_mins(1)));
    let client = world.client("alice", "laptop");
    let head = client.get(&node.url, "/sync/todo/stream?collections=tasks&since=");
    let head = timeout(Duration::from_millis(2_500), head).await.expect("the head comes at once");
    assert_eq!(head.status(), 200);
    let headers = head.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert!(headers["cache-control"].to_str().unwrap().contains("no-cache"), "{headers:?}");
}

// P-45: An event is the line `event: <name>`, then one line `data: <JSON>`, then an empty line
#[tokio::test]
async fn events_in_bytes() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.limits.heartbeat = Duration::from_millis(50);
    let node = world.start(settings).await;
    let pushed = r#"{"changes":[{"table":"tasks","id":"t1","op":"insert","data":{"a":"b\nc"},
        "eventId":"0198c5d2-7a4e-7c3b-9f51-0a6d3e2b1c48"}]}"#;
    answer(world.client("alice", "laptop").post(&node.url, pushed).await).await;
    let path = "/sync/todo/stream?collections=tasks&since=";
    let mut response = world.client("alice", "phone").get(&node.url, path).await;
    let mut text = String::new();
    while !text.contains("event: heartbeat") {
        text += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
    }
    let until = text.split("\"syncedUntil\":\"").nth(1).unwrap().split('"').next().unwrap();
    let expected = format!(
        "event: spaces\ndata: {{\"spaces\":[]}}\n\n\
         event: changes\ndata: {{\"table\":\"tasks\",\"changes\":[{{\
         \"eventId\":\"0198c5d2-7a4e-7c3b-9f51-0a6d3e2b1c48\",\"schemaVersion\":1,\
         \"table\":\"tasks\",\"id\":\"t1\",\"op\":\"insert\",\"data\":{{\"a\":\"b\\nc\"}}}}],\
         \"syncedUntil\":\"{until}\",\"hasMore\":false}}\nid: {until}\n\n\
         event: heartbeat\ndata: {{}}\n\n"
    );
    assert_eq!(text, expected);
}

// P-46: First comes the backlog since `since`, then what happens, in one sequence without a gap.
#[tokio::test]
async fn a_backlog_goes_over_into_what_happens() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    let laptop = world.client("alice", "laptop");
    let names: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let push = async |names: &[String]| {
        for name in names {
            laptop.push(&first.url, &[insert(name, &json!({}))]).await;
        }
    };
    push(&names[..20]).await;
    let (seen, ()) = tokio::join!(
        async {
            let mut stream = world.client("alice", "phone").stream(&second.url, "tasks", "").await;
            stream.changes(60).await
        },
        push(&names[20..])
    );
    assert_eq!(ids(&seen), names);
}

// P-47: comes every 30 seconds
#[tokio::test]
async fn a_stream_says_that_it_is_alive() {
    let world = World::new().await;
    let mut settings = world.settings();
    assert_eq!(settings.limits.heartbeat, Duration::from_secs(30));
    settings.limits.heartbeat = Duration::from_millis(30);
    let node = world.start(settings).await;
    let mut stream = world.client("alice", "laptop").stream(&node.url, "", "").await;
    for _ in 0..3 {
        assert_eq!(stream.named("heartbeat").await.text, "event: heartbeat\ndata: {}");
    }
}

// P-48: `collections` names the tables to follow; without it all are followed.
#[tokio::test]
async fn a_stream_follows_the_tables_it_names() {
    let (world, node) = one_node().await;
    let phone = world.client("alice", "phone");
    let laptop = world.client("alice", "laptop");
    let push = async |round: &str| {
        let change =
            |table: &str| json!({"table": table, "id": format!("{table}{round}"), "op": "insert"});
        laptop.push(&node.url, &["a", "x", "b", "c"].map(change)).await;
    };
    push("1").await;
    let mut some = phone.stream(&node.url, "b,a", "").await;
    let mut all = phone.stream(&node.url, "", "").await;
    let mut silent = answered(&phone, &node.url, "").await;
    push("2").await;
    assert_eq!(ids(&some.changes(4).await), ["a1", "b1", "a2", "b2"]);
    let everything = ["a1", "x1", "b1", "c1", "a2", "x2", "b2", "c2"];
    assert_eq!(ids(&all.changes(8).await), everything);
    assert_eq!(ids(&silent.changes(8).await), everything);
}

/// A stream whose request says nothing of collections, nor of since.
async fn answered(client: &Client, node: &str, query: &str) -> Events {
    let response = client.get(node, &format!("/sync/todo/stream{query}")).await;
    assert_eq!(response.status(), 200);
    Events::new(response)
}

// P-49: The backlog is sent to its end, whatever its size, and waits for no further write.
#[tokio::test]
async fn a_long_backlog_comes_to_its_end() {
    let (world, node) = one_node().await;
    let changes: Vec<Value> = (0..3_500).map(|n| insert(&n.to_string(), &json!({}))).collect();
    world.client("alice", "laptop").push(&node.url, &changes).await;
    let mut stream = world.client("alice", "phone").stream(&node.url, "tasks", START).await;
    let (mut seen, mut more) = (Vec::new(), true);
    while more {
        let event = stream.named("changes").await;
        seen.extend(event_ids(&event).into_iter().map(ToOwned::to_owned));
        more = event.data["hasMore"].as_bool().unwrap();
    }
    let expected: Vec<String> = (0..3_500).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
}

// P-50: The changes of the stream's own client are left out.
#[tokio::test]
async fn a_stream_leaves_out_its_own_client() {
    let (world, node) = one_node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    laptop.push(&node.url, &[insert("own1", &json!({}))]).await;
    phone.push(&node.url, &[insert("1", &json!({}))]).await;
    let mut stream = laptop.stream(&node.url, "", "").await;
    laptop.push(&node.url, &[insert("own2", &json!({}))]).await;
    phone.push(&node.url, &[insert("2", &json!({}))]).await;
    assert_eq!(ids(&stream.changes(2).await), ["1", "2"]);
}

// P-51: its `syncedUntil` is exact: whoever goes on from there gets neither less nor the same again
#[tokio::test]
async fn an_event_ends_exactly_where_it_says() {
    let (world, node) = one_node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let batch = |round: u32| -> Vec<Value> {
        let table = |n: u32| ["a", "a", "b", "a", "c", "c"][usize::try_from(n).unwrap() % 6];
        (0..12)
            .map(|n| json!({"table": table(n), "id": format!("{round}-{n:02}"), "op": "insert"}))
            .collect()
    };
    let mut stream = phone.stream(&node.url, "", "").await;
    stream.named("spaces").await;
    laptop.push(&node.url, &batch(1)).await;
    let live = events_of(&mut stream, 12).await;
    let backlog = events_of(&mut phone.stream(&node.url, "", "").await, 12).await;
    for events in [live, backlog] {
        let all: Vec<&str> = events.iter().flat_map(event_ids).collect();
        assert!(all.is_sorted(), "{all:?}");
        let mut seen = 0;
        for event in &events {
            let changes = event.data["changes"].as_array().unwrap();
            assert!(changes.iter().all(|change| change["table"] == event.data["table"]));
            seen += changes.len();
            let since = event.data["syncedUntil"].as_str().unwrap();
            let rest = page(&phone, &node.url, &format!("collections=a,b,c&since={since}")).await;
            assert_eq!(page_ids(&rest), all[seen..], "after {since}");
        }
    }
}

/// Events until they have brought so many changes.
async fn events_of(stream: &mut Events, count: usize) -> Vec<Event> {
    let (mut events, mut seen) = (Vec::new(), 0);
    while seen < count {
        let event = stream.named("changes").await;
        seen += event_ids(&event).len();
        events.push(event);
    }
    events
}

// P-53: `Last-Event-ID` resumes there, whatever `since` says
#[tokio::test]
async fn a_browser_resumes_where_it_was() {
    let (world, node) = one_node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = phone.stream(&node.url, "tasks", "").await;
    laptop.push(&node.url, &[insert("1", &json!({}))]).await;
    let event = stream.named("changes").await;
    assert_eq!(event.id.as_deref(), event.data["syncedUntil"].as_str());
    laptop.push(&node.url, &[insert("2", &json!({}))]).await;
    let resume = async |id: &str| {
        let url = format!("{}/sync/todo/stream?collections=tasks&since={START}", node.url);
        let request = http().get(url).bearer_auth(&phone.token).header("Last-Event-ID", id);
        Events::new(request.send().await.unwrap())
    };
    let id = event.id.unwrap();
    assert_eq!(event_ids(&resume(&id).await.named("changes").await), ["2"]);
    assert_eq!(event_ids(&resume("rubbish").await.named("changes").await), ["1", "2"]);
}

// P-54: comes at the start, and whenever the verified memberships change
#[tokio::test]
async fn a_stream_tells_the_spaces() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.membership_life = Duration::from_millis(150);
    let node = world.start(settings).await;
    world.issuer.join("alice", "a");
    let mut stream = world.client("alice", "laptop").stream(&node.url, "", "").await;
    let first = stream.next().await.unwrap();
    assert_eq!(first.text, "event: spaces\ndata: {\"spaces\":[\"a\"]}");
    world.issuer.join("alice", "b");
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": ["a", "b"]}));
    world.issuer.leave("alice", "a");
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": ["b"]}));
}

// P-55: is the last one of a stream whose token ran out
#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let (world, node) = one_node().await;
    let token = world.issuer.token("alice", Duration::from_secs(2));
    let mut stream = Client::new(token, "laptop").stream(&node.url, "", "").await;
    assert_eq!(stream.named("expired").await.text, "event: expired\ndata: {}");
    assert!(stream.next().await.is_none());
}

// P-56: is the last one of a stream whose node drains
#[tokio::test]
async fn a_draining_node_sends_its_streams_away() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.leaving.delay = Duration::ZERO;
    settings.leaving.spread = Duration::from_millis(50);
    let node = world.start(settings).await;
    let client = world.client("alice", "laptop");
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(client.stream(&node.url, "", "").await);
    }
    let leaving = tokio::spawn(node.node.leave());
    let mut retries = std::collections::BTreeSet::new();
    for mut stream in streams {
        let text = stream.named("reconnect").await.text;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[2]), ("event: reconnect", "data: {}"));
        retries.insert(lines[1].strip_prefix("retry: ").unwrap().parse::<u64>().unwrap());
        assert!(stream.next().await.is_none());
    }
    assert!(retries.len() > 1, "all come back at once: {retries:?}");
    leaving.await.unwrap();
}
