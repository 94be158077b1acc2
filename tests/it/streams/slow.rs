//! A client that does not read costs the node little, and misses nothing.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::processes::serve;
use crate::support::{Client, PATIENCE, World};

/// 50 pushes of ten changes of 100 kB: 50 MB.
const PUSHES: usize = 50;
const TAIL_BYTES: usize = 2_000_000;

fn push_of(push: usize) -> Vec<Value> {
    let text = "x".repeat(100_000);
    let change = |n| {
        json!({"table": "tasks", "id": format!("p{push}n{n}"), "op": "insert",
               "data": {"text": text}})
    };
    (0..10).map(change).collect()
}

/// Sends the request of a stream, over a socket that holds little.
pub async fn open(node: &str, client: &Client) -> TcpStream {
    let address: SocketAddr = node.trim_start_matches("http://").parse().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut socket = TcpStream::from_std(socket.into()).unwrap();
    let request = format!(
        "GET /sync/todo/stream?collections=tasks HTTP/1.1\r\nHost: node\r\n\
         Authorization: Bearer {}\r\nX-Client-Id: {}\r\n\r\n",
        client.token, client.client
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// Reads until `what` came.
async fn read_until(socket: &mut TcpStream, text: &mut Vec<u8>, what: &str) {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let from = text.len().saturating_sub(what.len());
        let count = timeout(PATIENCE, socket.read(&mut buffer)).await.expect(what).unwrap();
        assert!(count > 0, "the stream ended before {what}");
        text.extend_from_slice(&buffer[..count]);
        if text[from..].windows(what.len()).any(|window| window == what.as_bytes()) {
            return;
        }
    }
}

/// Bytes of memory that a process holds.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

async fn tail_bytes(node: &str, client: &Client) -> usize {
    let metrics = client.get(node, "/metrics").await.text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("mana_sync_tail_bytes "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_does_not_read_for_a_while_gets_everything_and_costs_little() {
    let world = World::new().await;
    let node = serve(&world, &[&format!("--limit-tail-bytes={TAIL_BYTES}")]).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut socket = open(&node.url, &phone).await;
    let mut text = Vec::new();
    read_until(&mut socket, &mut text, "event: spaces").await;
    for push in 0..5 {
        laptop.push(&node.url, &push_of(push)).await;
    }
    let before = resident(node.pid());
    let mut most_in_tails = 0;
    for push in 5..PUSHES {
        laptop.push(&node.url, &push_of(push)).await;
        most_in_tails = most_in_tails.max(tail_bytes(&node.url, &phone).await);
    }
    let grown = resident(node.pid()).saturating_sub(before);
    println!("50 MB passed a client that does not read: the node grew by {} kB", grown / 1024);
    assert!(most_in_tails <= TAIL_BYTES, "tails grew to {most_in_tails} bytes");
    assert!(grown < 30_000_000, "the node grew by {grown} bytes");
    read_until(&mut socket, &mut text, &format!("\"id\":\"p{}n9\"", PUSHES - 1)).await;
    let text = String::from_utf8(text).unwrap();
    let ids: Vec<&str> =
        text.split("\"id\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let wanted: Vec<String> =
        (0..PUSHES).flat_map(|push| (0..10).map(move |n| format!("p{push}n{n}"))).collect();
    assert!(ids == wanted, "{} of {} changes", ids.len(), wanted.len());
}
