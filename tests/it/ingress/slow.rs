//! What takes longer than a proxy's time-outs for requests.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::streams::next;
use super::{Fleet, Kind};
use crate::processes::websocket;
use crate::support::{Client, PATIENCE, insert, say};

/// Longer than either proxy waits for an answer to a request, or `HAProxy` for the request itself.
const SLOW: Duration = Duration::from_secs(32);

#[tokio::test]
async fn idle_streams_silent_sockets_and_slow_uploads_survive() {
    tokio::join!(through(Kind::Nginx), through(Kind::HaProxy));
}

async fn through(kind: Kind) {
    let fleet = Fleet::start(kind, &[]).await;
    let phone = fleet.world.client("alice", "phone");
    let mut stream = phone.stream(fleet.url(), "tasks", "").await;
    stream.named("spaces").await;
    let mut socket = websocket(fleet.url(), &phone).await;

    let begun = Instant::now();
    let idle = async {
        let event = stream.next_within(SLOW + PATIENCE).await.expect("the stream goes on");
        assert_eq!(event.name, "heartbeat");
        begun.elapsed()
    };
    let tablet = fleet.world.client("alice", "tablet");
    let (heartbeat, answer) = tokio::join!(idle, upload(fleet.url(), &tablet));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(heartbeat > Duration::from_secs(25), "a heartbeat after {heartbeat:?}");
    say(&format!(
        "{kind:?}: a heartbeat after {heartbeat:.1?} of silence; a body that came in {SLOW:?} was \
         taken; a stream and a WebSocket live after {:.1?}",
        begun.elapsed()
    ));
    // Its push is what is told after all that silence.
    stream.record("slow").await;
    assert_eq!(next(&mut socket).await["type"], "sync-available");
}

/// Pushes, a few bytes a second; gives the answer.
async fn upload(url: &str, client: &Client) -> String {
    let body = json!({"changes": [insert("slow", &json!({"title": "x".repeat(1000)}))]});
    let body = body.to_string();
    let host = url.trim_start_matches("http://");
    let mut socket = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /sync/todo HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         X-Client-Id: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        client.token,
        client.client,
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let pieces: Vec<&[u8]> = body.as_bytes().chunks(body.len() / 32).collect();
    for piece in &pieces {
        sleep(SLOW / u32::try_from(pieces.len()).unwrap()).await;
        socket.write_all(piece).await.unwrap();
    }
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}
