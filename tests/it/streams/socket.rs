//! What goes over a stream's socket, framing included, and who may hold it for how long.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{inserts, open_streams, slow};
use crate::support::world::TestNode;
use crate::support::{Client, PATIENCE, World, eventually, insert};

/// The other end of a stream's connection.
struct Peer {
    socket: TcpStream,
    got: Vec<u8>,
}

impl Peer {
    /// Sends a request for the stream of `tasks`, and `more` behind it.
    async fn ask(node: &TestNode, client: &Client, line: [&str; 2], more: &str) -> Self {
        let [method, version] = line;
        let mut socket = TcpStream::connect(node.node.address()).await.unwrap();
        let request = format!(
            "{method} /sync/todo/stream?collections=tasks {version}\r\nHost: node\r\n\
             Authorization: Bearer {}\r\nX-Client-Id: {}\r\n\r\n{more}",
            client.token, client.client
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket, got: Vec::new() }
    }

    async fn get(node: &TestNode, client: &Client) -> Self {
        Self::ask(node, client, ["GET", "HTTP/1.1"], "").await
    }

    /// What came up to `end` and with it; `None` where the connection ends before.
    async fn upto(&mut self, end: &[u8]) -> Option<String> {
        let find = |got: &[u8]| got.windows(end.len()).position(|window| window == end);
        let reading = async {
            while find(&self.got).is_none() {
                if self.socket.read_buf(&mut self.got).await.ok()? == 0 {
                    return None;
                }
            }
            let length = find(&self.got)? + end.len();
            Some(String::from_utf8(self.got.drain(..length).collect()).unwrap())
        };
        timeout(PATIENCE, reading).await.expect("something comes")
    }

    /// The head, by lines in order, without the date.
    async fn head(&mut self) -> Vec<String> {
        let head = self.upto(b"\r\n\r\n").await.expect("a head");
        let lines = head.trim_end().split("\r\n").filter(|line| !line.starts_with("date: "));
        let mut lines: Vec<String> = lines.map(ToOwned::to_owned).collect();
        lines[1..].sort();
        lines
    }

    /// The text of the next chunk, which is framed to the byte; empty for the last.
    async fn chunk(&mut self) -> String {
        let line = self.upto(b"\r\n").await.expect("a chunk");
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        assert_eq!(line, format!("{size:X}\r\n"), "a size as hyper writes it");
        while self.got.len() < size + 2 {
            let read = timeout(PATIENCE, self.socket.read_buf(&mut self.got)).await;
            assert!(read.expect("the rest").unwrap() > 0, "the connection ended in a chunk");
        }
        let text = String::from_utf8(self.got.drain(..size).collect()).unwrap();
        assert_eq!(self.got.drain(..2).as_slice(), b"\r\n", "behind {text:?}");
        text
    }

    /// The next chunk that holds an event of this name.
    async fn event(&mut self, name: &str) -> String {
        loop {
            let chunk = self.chunk().await;
            assert!(!chunk.is_empty(), "the stream ended before {name}");
            assert!(chunk.starts_with("event: ") && chunk.ends_with("\n\n"), "{chunk:?}");
            if chunk.contains(&format!("event: {name}\n")) {
                return chunk;
            }
        }
    }

    /// All that comes until the connection ends.
    async fn rest(&mut self) -> String {
        let reading = self.socket.read_to_end(&mut self.got);
        timeout(PATIENCE, reading).await.expect("an end").unwrap();
        String::from_utf8(std::mem::take(&mut self.got)).unwrap()
    }
}

async fn one_node() -> (World, TestNode) {
    let world = World::new().await;
    let node = world.node().await;
    (world, node)
}

/// A client whose token runs out soon.
fn mortal(world: &World, life: Duration) -> Client {
    Client::new(world.issuer.token("alice", life), "phone")
}

#[tokio::test]
async fn a_body_in_chunks_is_framed_to_the_byte() {
    let (world, node) = one_node().await;
    let mut peer = Peer::get(&node, &mortal(&world, Duration::from_secs(4))).await;
    let mut head = peer.head().await;
    // The last one names the request, each time by another name.
    assert!(head.pop().expect("a line").starts_with("x-request-id: "));
    assert_eq!(
        head,
        [
            "HTTP/1.1 200 OK",
            "access-control-expose-headers: retry-after",
            "cache-control: no-cache, no-transform",
            "connection: close",
            "content-type: text/event-stream",
            "transfer-encoding: chunked",
            "vary: origin, access-control-request-headers",
            "x-accel-buffering: no",
        ]
    );
    assert_eq!(peer.chunk().await, "event: spaces\ndata: {\"spaces\":[]}\n\n");
    world.client("alice", "laptop").push(&node.url, &inserts("tasks", 0..1)).await;
    let changes = peer.chunk().await;
    assert!(changes.starts_with("event: changes\ndata: {\"table\":\"tasks\""), "{changes:?}");
    assert_eq!(peer.event("expired").await, "event: expired\ndata: {}\n\n");
    assert_eq!(peer.rest().await, "0\r\n\r\n", "then the body ends, and the connection");
}

#[tokio::test]
async fn before_chunks_were_known_the_connection_ends_the_body() {
    let (world, node) = one_node().await;
    let phone = mortal(&world, Duration::from_secs(3));
    let mut peer = Peer::ask(&node, &phone, ["GET", "HTTP/1.0"], "").await;
    let head = peer.head().await;
    assert_eq!(head[0], "HTTP/1.0 200 OK");
    assert!(!head.iter().any(|line| line.starts_with("transfer-encoding")), "{head:?}");
    world.client("alice", "laptop").push(&node.url, &inserts("tasks", 0..1)).await;
    let body = peer.rest().await;
    let events: Vec<&str> = body.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 3, "{body:?}");
    assert_eq!(events[0], "event: spaces\ndata: {\"spaces\":[]}");
    assert!(events[1].starts_with("event: changes\ndata: {\"table\":\"tasks\""), "{body:?}");
    assert_eq!(events[2], "event: expired\ndata: {}");
}

#[tokio::test]
async fn a_head_alone_leaves_the_connection_as_it_is() {
    let (world, node) = one_node().await;
    let phone = world.client("alice", "phone");
    let again = format!(
        "GET /sync/todo/pull?collection=tasks&since= HTTP/1.1\r\nHost: node\r\n\
         Authorization: Bearer {}\r\n\r\n",
        phone.token
    );
    let mut peer = Peer::ask(&node, &phone, ["HEAD", "HTTP/1.1"], "").await;
    let head = peer.head().await;
    assert_eq!(head[0], "HTTP/1.1 200 OK");
    assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
    assert!(!head.contains(&"connection: close".to_owned()), "{head:?}");
    peer.socket.write_all(again.as_bytes()).await.unwrap();
    let second = peer.head().await;
    assert!(second.contains(&"content-type: application/json".to_owned()), "{second:?}");
    assert_eq!(open_streams(&node.url, &phone).await, 0, "nobody follows");
}

#[tokio::test]
async fn what_is_sent_behind_the_request_does_no_harm() {
    let (world, node) = one_node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let more = "GET /health HTTP/1.1\r\nHost: node\r\n\r\n\0\0";
    let mut peer = Peer::ask(&node, &phone, ["GET", "HTTP/1.1"], more).await;
    assert_eq!(peer.head().await[0], "HTTP/1.1 200 OK");
    peer.event("spaces").await;
    for n in 0..3 {
        peer.socket.write_all(more.as_bytes()).await.unwrap();
        laptop.push(&node.url, &inserts("tasks", n..n + 1)).await;
        assert!(peer.event("changes").await.contains(&format!("\"id\":\"t{n}\"")));
    }
}

#[tokio::test]
async fn who_sends_on_and_on_is_hung_up_on() {
    const BOUND: usize = 64 * 1024;
    let (world, node) = one_node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut peer = Peer::get(&node, &phone).await;
    peer.head().await;
    peer.event("spaces").await;
    peer.socket.write_all(&vec![b'x'; BOUND]).await.unwrap();
    laptop.push(&node.url, &inserts("tasks", 0..1)).await;
    peer.event("changes").await;
    assert_eq!(open_streams(&node.url, &phone).await, 1, "so much is borne");
    peer.socket.write_all(b"x").await.unwrap();
    let gone = async || (open_streams(&node.url, &phone).await == 0).then_some(());
    eventually("the end of who sends too much", gone).await;
}

#[tokio::test]
async fn who_hangs_up_is_forgotten_at_once() {
    let (world, node) = one_node().await;
    let phone = world.client("alice", "phone");
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::get(&node, &phone).await;
        peer.head().await;
        peers.push(peer);
    }
    assert_eq!(open_streams(&node.url, &phone).await, 3);
    let [mut half, reset, closed] = peers.try_into().ok().unwrap();
    half.socket.shutdown().await.unwrap();
    socket2::SockRef::from(&reset.socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop((reset, closed));
    let begun = Instant::now();
    let gone = async || (open_streams(&node.url, &phone).await == 0).then_some(());
    eventually("the end of all streams", gone).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "after {:?}", begun.elapsed());
    drop(half);
}

/// Changes of so many bytes.
async fn push_big(node: &TestNode, client: &Client, changes: usize, bytes: usize) {
    let text = "x".repeat(bytes);
    for n in 0..changes {
        let change = insert(&format!("big{n}"), &json!({ "text": text }));
        client.push(&node.url, &[change]).await;
    }
}

#[tokio::test]
async fn an_event_larger_than_any_buffer_is_one_chunk() {
    let (world, node) = one_node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    // A socket of Linux holds 4 MB.
    push_big(&node, &laptop, 2, 9_000_000).await;
    let mut peer = Peer { socket: slow::open(&node.url, &phone).await, got: Vec::new() };
    peer.head().await;
    for n in 0..2 {
        let event = peer.event("changes").await;
        let data = event.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        let changes = data["changes"].as_array().unwrap();
        assert_eq!(super::records(changes), [format!("big{n}")]);
        assert_eq!(changes[0]["data"]["text"].as_str().unwrap().len(), 9_000_000);
    }
}

/// Streams that ended because their client did not read, over all nodes of this process.
async fn stalled(node: &TestNode, client: &Client) -> u64 {
    let metrics = client.get(&node.url, "/metrics").await.text().await.unwrap();
    let name = "mana_sync_streams_ended_total{reason=\"stalled\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |n| n.parse().unwrap())
}

#[tokio::test]
async fn who_does_not_read_does_not_outlive_its_token() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    push_big(&node, &laptop, 3, 9_000_000).await;
    let before = stalled(&node, &laptop).await;
    let life = Duration::from_secs(2);
    let stuck = slow::open(&node.url, &mortal(&world, life)).await;
    let opened = async || (open_streams(&node.url, &laptop).await == 1).then_some(());
    eventually("the stream", opened).await;
    let begun = Instant::now();
    let gone = async || (open_streams(&node.url, &laptop).await == 0).then_some(());
    eventually("the end of a stream that is not read", gone).await;
    assert!(begun.elapsed() > life, "it may finish: {:?}", begun.elapsed());
    assert!(stalled(&node, &laptop).await > before, "and is counted");
    drop(stuck);
}

#[tokio::test]
async fn a_drain_ends_bodies_and_waits_for_nobody_who_does_not_read() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.leaving.delay = Duration::ZERO;
    settings.leaving.spread = Duration::from_millis(200);
    settings.leaving.deadline = Duration::from_mins(1);
    let node = world.start(settings).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    push_big(&node, &laptop, 3, 9_000_000).await;
    let stuck = slow::open(&node.url, &phone).await;
    let bob = world.client("bob", "phone");
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::get(&node, &bob).await;
        peer.head().await;
        peer.event("spaces").await;
        peers.push(peer);
    }
    let begun = Instant::now();
    let ((), ()) = tokio::join!(node.node.leave(), async {
        for mut peer in peers {
            let event = peer.event("reconnect").await;
            assert!(event.starts_with("event: reconnect\nretry: "), "{event:?}");
            assert_eq!(peer.rest().await, "0\r\n\r\n");
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "after {:?}", begun.elapsed());
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "after {:?}", begun.elapsed());
    drop(stuck);
}
