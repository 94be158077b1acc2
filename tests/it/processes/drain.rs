//! SIGTERM: a node takes its leave in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::serve;
use crate::support::{Client, PATIENCE, World, eventually, insert};

const DEADLINE: Duration = Duration::from_secs(12);
const FLAGS: [&str; 3] =
    ["--drain-delay-seconds=2", "--drain-spread-seconds=1", "--drain-deadline-seconds=12"];

/// A push of which the last bytes have not been sent.
struct HalfPush {
    socket: TcpStream,
    rest: Vec<u8>,
}

impl HalfPush {
    async fn begin(node: &str, client: &Client, record: &str) -> Self {
        let address: SocketAddr = node.trim_start_matches("http://").parse().unwrap();
        let mut socket = TcpStream::connect(address).await.unwrap();
        let body = json!({"changes": [insert(record, &json!({}))]}).to_string();
        let head = format!(
            "POST /sync/todo HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {}\r\n\
             X-Client-Id: {}\r\nContent-Length: {}\r\n\r\n",
            client.token,
            client.client,
            body.len()
        );
        let (sent, rest) = body.as_bytes().split_at(body.len() / 2);
        socket.write_all(&[head.as_bytes(), sent].concat()).await.unwrap();
        Self { socket, rest: rest.to_vec() }
    }

    async fn finish(mut self) -> String {
        self.socket.write_all(&self.rest).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, self.socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

pub type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A socket that has said who it is.
pub async fn websocket(node: &str, client: &Client) -> WebSocket {
    let url = format!("{}/ws", node.replace("http://", "ws://"));
    let (mut socket, _) = connect_async(url).await.unwrap();
    let auth = json!({"type": "auth", "token": client.token}).to_string();
    socket.send(Message::text(auth)).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert_eq!(answer.into_text().unwrap(), r#"{"type":"auth-ok"}"#);
    socket
}

/// The code that a WebSocket is closed with; `None` where it just breaks.
async fn close_code(mut socket: WebSocket) -> Option<u16> {
    while let Some(Ok(message)) = timeout(PATIENCE, socket.next()).await.unwrap() {
        if let Message::Close(frame) = message {
            return frame.map(|frame| frame.code.into());
        }
    }
    None
}

#[tokio::test]
async fn sigterm_lets_everybody_leave_in_order() {
    let world = World::new().await;
    let mut node = serve(&world, &FLAGS).await;
    let phone = world.client("alice", "phone");
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = phone.stream(&node.url, "tasks", "").await;
        stream.named("spaces").await;
        streams.push(stream);
    }
    let sockets = [websocket(&node.url, &phone).await, websocket(&node.url, &phone).await];
    let push = HalfPush::begin(&node.url, &world.client("alice", "laptop"), "t1").await;

    let begun = Instant::now();
    node.signal("TERM");
    let unready = async || (node.status("/health/ready").await == Some(503)).then_some(());
    eventually("an unready node", unready).await;
    assert_eq!(node.status("/health/live").await, Some(200), "it still serves");
    let turned_away = phone.get(&node.url, "/sync/todo/stream").await;
    assert_eq!(turned_away.status(), 503, "it takes no new stream");
    assert!(begun.elapsed() < Duration::from_secs(2), "unready before it stops accepting");

    for mut stream in streams {
        let text = stream.named("reconnect").await.text;
        let lines: Vec<_> = text.lines().collect();
        let retry = lines[1].strip_prefix("retry: ").unwrap_or_else(|| panic!("{text:?}"));
        assert!(retry.parse::<u64>().unwrap() > 0);
        assert_eq!([lines[0], lines[2]], ["event: reconnect", "data: {}"]);
        assert!(stream.next().await.is_none(), "nothing follows");
    }
    for socket in sockets {
        assert_eq!(close_code(socket).await, Some(1012), "service restart");
    }
    let answer = push.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "the push under way: {answer:?}");
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.err());
    assert!(begun.elapsed() < DEADLINE, "it left by itself, after {:?}", begun.elapsed());

    let other = world.node().await;
    let page = phone.pull(&other.url, "tasks", "").await;
    assert_eq!(page["serverChanges"][0]["id"], "t1", "the push under way is stored");
}

#[tokio::test]
async fn sockets_alone_are_waited_for_too() {
    let world = World::new().await;
    let mut node = serve(&world, &["--drain-delay-seconds=0", "--drain-spread-seconds=2"]).await;
    let phone = world.client("alice", "phone");
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(websocket(&node.url, &phone).await);
    }
    node.signal("TERM");
    for socket in sockets {
        assert_eq!(close_code(socket).await, Some(1012), "service restart");
    }
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.err());
}

#[tokio::test]
async fn who_never_ends_is_not_waited_for_beyond_the_deadline() {
    let world = World::new().await;
    let flags =
        ["--drain-delay-seconds=0", "--drain-spread-seconds=0", "--drain-deadline-seconds=2"];
    let mut node = serve(&world, &flags).await;
    let laptop = world.client("alice", "laptop");
    let push = HalfPush::begin(&node.url, &laptop, "t1").await;
    // The node has begun with it: it answers on another connection what came later.
    laptop.push(&node.url, &[insert("t2", &json!({}))]).await;
    let begun = Instant::now();
    node.signal("TERM");
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.err());
    let took = begun.elapsed();
    assert!((1..8).contains(&took.as_secs()), "it ended after {took:?}");
    drop(push);
}

#[tokio::test]
async fn an_idle_node_leaves_at_once_where_it_need_not_wait() {
    let world = World::new().await;
    let mut node = serve(&world, &["--drain-delay-seconds=0", "--drain-spread-seconds=0"]).await;
    let begun = Instant::now();
    node.signal("INT");
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.err());
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}
