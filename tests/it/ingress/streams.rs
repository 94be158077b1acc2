//! Streams and WebSockets.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::{Fleet, Kind};
use crate::processes::{WebSocket, websocket};
use crate::support::{PATIENCE, insert, say};

const EVENTS: usize = 50;
const SOON: Duration = Duration::from_millis(100);

pub async fn events_arrive_at_once_and_whole(kind: Kind) {
    let fleet = Fleet::start(kind, &[]).await;
    let laptop = fleet.world.client("alice", "laptop");
    let opened = Instant::now();
    let mut stream = fleet.world.client("alice", "phone").stream(fleet.url(), "tasks", "").await;
    let head = opened.elapsed();
    stream.named("spaces").await;
    let mut took = Vec::new();
    for n in 0..EVENTS {
        let record = format!("t{n}");
        let change = [insert(&record, &json!({"title": "Milk"}))];
        let begun = Instant::now();
        let arrived = async {
            stream.record(&record).await;
            begun.elapsed()
        };
        let (_, arrived) = tokio::join!(laptop.push(fleet.url(), &change), arrived);
        took.push(arrived);
    }
    took.sort();
    let (median, most) = (took[EVENTS / 2], took[EVENTS - 1]);
    say(&format!(
        "{kind:?}: a stream's head after {head:.1?}; from a push's first byte to its event's last, \
         of {EVENTS}: median {median:.1?}, at most {most:.1?}"
    ));
    assert!(median < SOON, "the median is {median:?}");

    let tablet = fleet.world.client("alice", "tablet");
    let mut of_apps = tablet.stream_of_apps(fleet.url(), "notes,todo", "").await;
    of_apps.record("t0").await;
    laptop.app("notes").push(fleet.url(), &[insert("of another app", &json!({}))]).await;
    of_apps.record("of another app").await;

    let large = "x".repeat(300_000);
    laptop.push(fleet.url(), &[insert("large", &json!({"title": large}))]).await;
    let arrived = stream.record("large").await;
    assert_eq!(arrived["data"]["title"].as_str().map(str::len), Some(large.len()));
}

pub async fn websockets_pass(kind: Kind) {
    let fleet = Fleet::start(kind, &[]).await;
    let mut socket = websocket(fleet.url(), &fleet.world.client("alice", "phone")).await;
    let mut took = Vec::new();
    for _ in 0..EVENTS {
        let begun = Instant::now();
        socket.send(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
        assert_eq!(next(&mut socket).await, json!({"type": "pong"}));
        took.push(begun.elapsed());
    }
    took.sort();
    let (median, most) = (took[EVENTS / 2], took[EVENTS - 1]);
    say(&format!(
        "{kind:?}: from ping to pong, of {EVENTS}: median {median:.1?}, at most {most:.1?}"
    ));
    assert!(median < SOON, "the median is {median:?}");
    let laptop = fleet.world.client("alice", "laptop");
    laptop.push(fleet.url(), &[insert("t1", &json!({}))]).await;
    let told = json!({"type": "sync-available", "appId": "todo", "tables": ["tasks"]});
    assert_eq!(next(&mut socket).await, told);
}

/// What comes next on a socket.
pub async fn next(socket: &mut WebSocket) -> Value {
    let message = timeout(PATIENCE, socket.next()).await.expect("a message").unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}
