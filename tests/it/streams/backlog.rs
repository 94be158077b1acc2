//! A backlog of any size comes whole, once and in order, on every way.

use serde_json::json;

use super::{inserts, numbered, open_streams, records, reopen};
use crate::support::{Client, World, eventually};

/// Reads everything by push responses as clients in the field do: from `syncedUntil` to
/// `syncedUntil`, whatever `hasMore` says, until a page is empty.
async fn read_by_push(client: &Client, node: &str) -> Vec<String> {
    let (mut read, mut since) = (Vec::new(), String::new());
    loop {
        let page = client.push_since(node, &since, &[]).await;
        let changes = page["serverChanges"].as_array().unwrap();
        if changes.is_empty() {
            return read;
        }
        read.extend(records(changes));
        page["syncedUntil"].as_str().unwrap().clone_into(&mut since);
    }
}

async fn comes_whole(size: usize) {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    let laptop = world.client("alice", "laptop");
    for begin in (0..size).step_by(1500) {
        laptop.push(&first.url, &inserts("tasks", begin..size.min(begin + 1500))).await;
    }
    let client = |name| world.client("alice", name);
    let wanted = numbered(0..size);
    let (pulled, _) = client("puller").pull_all(&second.url, "tasks", "").await;
    assert!(records(&pulled) == wanted, "pull gave {} of {size}", pulled.len());
    let pushed = read_by_push(&client("pusher"), &second.url).await;
    assert!(pushed == wanted, "push responses gave {} of {size}", pushed.len());
    let mut stream = client("streamer").stream(&second.url, "tasks", "").await;
    let streamed = stream.changes(size).await;
    assert!(records(&streamed) == wanted, "the stream gave {} of {size}", streamed.len());
    laptop.push(&first.url, &inserts("tasks", size..size + 1)).await;
    assert_eq!(records(&stream.changes(1).await), numbered(size..size + 1), "then it is live");
}

#[tokio::test]
async fn a_backlog_of_2500_changes_comes_whole_on_every_way() {
    comes_whole(2_500).await;
}

#[tokio::test]
async fn a_backlog_of_12000_changes_comes_whole_on_every_way() {
    comes_whole(12_000).await;
}

#[tokio::test]
async fn who_connects_while_a_writer_never_pauses_misses_nothing() {
    const PUSHES: usize = 400;
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    let laptop = world.client("alice", "laptop");
    let node = first.url.clone();
    let (told, acknowledged) = tokio::sync::watch::channel(0);
    let writer = tokio::spawn(async move {
        for n in 0..PUSHES {
            laptop.push(&node, &inserts("tasks", n..n + 1)).await;
            told.send_replace(n + 1);
        }
    });
    let mut readers = Vec::new();
    for place in 0..20 {
        let mut acknowledged = acknowledged.clone();
        let reader = world.client("alice", &format!("reader-{place}"));
        let node = if place % 2 == 0 { first.url.clone() } else { second.url.clone() };
        readers.push(tokio::spawn(async move {
            acknowledged.wait_for(|done| *done >= place * PUSHES / 20).await.unwrap();
            let mut stream = reader.stream(&node, "tasks", "").await;
            let (mut read, mut cursor) = (Vec::new(), String::new());
            while read.len() < PUSHES {
                let event = stream.named("changes").await;
                assert!(stream.cursor > cursor, "{cursor} is followed by {}", stream.cursor);
                stream.cursor.clone_into(&mut cursor);
                read.extend(records(event.data["changes"].as_array().unwrap()));
            }
            read
        }));
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap(), numbered(0..PUSHES));
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_browser_that_was_cut_off_goes_on_from_the_last_event() {
    let world = World::new().await;
    let node = world.node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = phone.stream(&node.url, "", "").await;
    laptop.push(&node.url, &inserts("tasks", 0..1)).await;
    let seen = stream.named("changes").await;
    assert_eq!(seen.id.as_deref(), seen.data["syncedUntil"].as_str());
    drop(stream);
    laptop.push(&node.url, &inserts("tasks", 1..3)).await;
    let mut again = reopen(&phone, &node.url, "", &seen.id.unwrap()).await;
    assert_eq!(records(&again.changes(2).await), numbered(1..3));
    let mut rubbish = reopen(&phone, &node.url, "", "rubbish").await;
    assert_eq!(records(&rubbish.changes(3).await), numbered(0..3), "since counts instead");
}

#[tokio::test]
async fn a_stream_that_is_left_is_forgotten() {
    let world = World::new().await;
    let node = world.node().await;
    let phone = world.client("alice", "phone");
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(phone.stream(&node.url, "tasks", "").await);
    }
    assert_eq!(open_streams(&node.url, &phone).await, 10);
    drop(open);
    let gone = async || (open_streams(&node.url, &phone).await == 0).then_some(());
    eventually("the end of all streams", gone).await;
    let health = phone.get(&node.url, "/health").await.text().await.unwrap();
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!(health["users"], json!(0));
}
