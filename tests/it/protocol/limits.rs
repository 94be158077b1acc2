//! How much a push may carry, and how long it may take.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::talk::{answer, everything, head, ids, one_node, page, page_ids, raw, refusal};
use crate::support::{Client, PATIENCE, World, insert};

const MEGABYTE: usize = 1024 * 1024;

/// An insert with a text of so many bytes.
fn large(id: &str, bytes: usize) -> Value {
    insert(id, &json!({ "text": "x".repeat(bytes) }))
}

/// A push of nothing, padded to so many bytes.
fn padded(bytes: usize) -> String {
    let body = r#"{"changes":[]}"#;
    format!("{body}{}", " ".repeat(bytes - body.len()))
}

/// Sends a body in chunks, without saying how long it is.
async fn chunked(client: &Client, node: &str, body: &str) -> String {
    let head = head(client) + "Transfer-Encoding: chunked\r\n\r\n";
    let request = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let mut socket = TcpStream::connect(node.strip_prefix("http://").unwrap()).await.unwrap();
    let (mut read, mut write) = socket.split();
    // The node may answer before it has read all, and close.
    let send = async { write.write_all(request.as_bytes()).await.is_ok() };
    let mut said = Vec::new();
    let read = read.read_to_end(&mut said);
    let _ = tokio::join!(send, read);
    String::from_utf8(said).unwrap()
}

// P-25: A body has at most 10 MB (10,485,760 bytes); a larger one is refused with 413.
#[tokio::test]
async fn ten_megabytes_are_the_most() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    answer(laptop.post(&node.url, padded(10 * MEGABYTE)).await).await;
    let (status, code, _) = refusal(laptop.post(&node.url, padded(10 * MEGABYTE + 1)).await).await;
    assert_eq!((status, code.as_str()), (413, "too_large"));
    let said = chunked(&laptop, &node.url, &padded(10 * MEGABYTE)).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    let said = chunked(&laptop, &node.url, &padded(10 * MEGABYTE + 1)).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said:?}");
    // What is announced is not waited for.
    let request = head(&laptop) + "Content-Length: 99999999999\r\n\r\n";
    let said = raw(&node.url, request.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said:?}");
}

// P-27: Within that, a row of 2 MB is nothing special
#[tokio::test]
async fn nine_megabytes_of_large_rows_arrive() {
    let (world, node) = one_node().await;
    let rows: Vec<Value> = (0..4).map(|n| large(&n.to_string(), 9 * MEGABYTE / 4 - 200)).collect();
    world.client("alice", "laptop").push(&node.url, &rows).await;
    let phone = world.client("alice", "phone");
    let read = everything(&phone, &node.url).await;
    assert_eq!(ids(&read), ["0", "1", "2", "3"]);
    assert!(read.iter().zip(&rows).all(|(read, row)| read["data"] == row["data"]));
    let mut stream = phone.stream(&node.url, "tasks", "").await;
    assert_eq!(ids(&stream.changes(4).await), ["0", "1", "2", "3"]);
}

// P-27: neither are 400 tables in one push
#[tokio::test]
async fn four_hundred_tables_in_one_push() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    let phone = world.client("alice", "phone");
    let mut stream = phone.stream(&second.url, "", "").await;
    let changes: Vec<Value> = (0..400)
        .map(|n| json!({"table": format!("{:0>200}", n), "id": n.to_string(), "op": "insert"}))
        .collect();
    world.client("alice", "laptop").push(&first.url, &changes).await;
    let expected: Vec<String> = (0..400).map(|n| n.to_string()).collect();
    assert_eq!(ids(&stream.changes(400).await), expected);
    assert_eq!(ids(&everything(&phone, &second.url).await), expected);
}

// P-26: A changeset has at most 10,000 changes; a larger one is refused with 413.
#[tokio::test]
async fn ten_thousand_changes_are_the_most() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    let mut changes: Vec<Value> = (0..10_001).map(|n| insert(&n.to_string(), &json!({}))).collect();
    let body = json!({ "changes": changes }).to_string();
    let (status, code, message) = refusal(laptop.post(&node.url, body).await).await;
    assert_eq!((status, code.as_str()), (413, "too_large"));
    assert!(message.contains("10001"), "{message}");
    let phone = world.client("alice", "phone");
    assert_eq!(everything(&phone, &node.url).await.len(), 0);
    changes.pop();
    laptop.push(&node.url, &changes).await;
    assert_eq!(everything(&phone, &node.url).await.len(), 10_000);
}

// P-41: A page holds about 4 MB at most; a single larger change goes alone.
#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    let rows =
        [large("a", MEGABYTE), large("b", MEGABYTE), large("c", 6 * MEGABYTE), large("d", 10)];
    laptop.push(&node.url, &rows).await;
    let phone = world.client("alice", "phone");
    let mut since = String::new();
    for (expected, more) in [(vec!["a", "b"], true), (vec!["c"], true), (vec!["d"], false)] {
        let page = page(&phone, &node.url, &format!("collection=tasks&since={since}")).await;
        assert_eq!(page_ids(&page), expected);
        assert_eq!(page["hasMore"] == json!(true), more);
        page["syncedUntil"].as_str().unwrap().clone_into(&mut since);
    }
}

// P-96: A body that does not arrive in time gets 408.
#[tokio::test]
async fn a_body_has_its_time() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.limits.body_time = Duration::from_millis(100);
    let node = world.start(settings).await;
    let request = head(&world.client("alice", "laptop")) + "Content-Length: 50\r\n\r\n{\"since\":";
    let said = raw(&node.url, request.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.ends_with('}') && said.contains("\"error\":\"body_timeout\""), "{said}");
}

#[tokio::test]
async fn a_head_has_its_time() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--limit-header-seconds=1"])).await;
    let whole = "GET /health/live HTTP/1.1\r\nHost: node\r\n\r\n";
    let (half, _) = whole.split_at(whole.len() - 6);
    // The last one goes on with a second head, on the connection of the first.
    for sent in [String::new(), half.to_owned(), format!("{whole}{half}")] {
        let begun = Instant::now();
        let said = timeout(PATIENCE, raw(&node.url, sent.as_bytes())).await.expect("it is closed");
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(900), "{sent:?}: closed after {took:?}");
        let answered = said.starts_with("HTTP/1.1 200 OK\r\n");
        assert_eq!(answered, sent.starts_with(whole), "{sent:?} was answered {said:?}");
    }
}

// P-97: 429 and 503 carry `Retry-After`.
#[tokio::test]
async fn a_node_without_room_says_when_to_come_back() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.limits.streams = 1;
    settings.limits.inflight_bytes = MEGABYTE;
    let node = world.start(settings).await;
    let client = world.client("alice", "laptop");
    let open = client.stream(&node.url, "", "").await;
    let another = client.get(&node.url, "/sync/todo/stream").await;
    let body = client.post(&node.url, padded(2 * MEGABYTE)).await;
    for busy in [another, body] {
        assert_eq!(busy.status(), 503);
        let after: u32 = busy.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!(after > 0);
        assert_eq!(refusal(busy).await.1, "busy");
    }
    drop(open);
}
