//! Refusals reach clients that send all they have before they read, as browsers do.

use mana_sync::dev::issuer::Issuer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::world::TestNode;
use crate::support::{Client, PATIENCE, World, insert};

const MEGABYTE: usize = 1024 * 1024;

/// How often each refusal is tried: one that gets lost is lost now and then only.
const TIMES: usize = 5;

/// How a body is sent.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    Chunked,
}

fn request(path: &str, token: &str, framing: Framing, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {token}\r\n");
    match framing {
        Framing::Length => {
            let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        }
        Framing::Chunked => {
            let mut request = (head + "Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            for chunk in body.chunks(MEGABYTE) {
                request.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                request.extend_from_slice(chunk);
                request.extend(b"\r\n");
            }
            request.extend(b"0\r\n\r\n");
            request
        }
    }
}

/// Writes the whole request, and only then reads; gives the status and the code of the answer.
async fn write_then_read(node: &TestNode, request: &[u8]) -> Result<(u16, String), String> {
    let talk = async {
        let mut socket = TcpStream::connect(node.node.address()).await?;
        socket.write_all(request).await?;
        let mut said = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&said).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str::<Value>(body)
            {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return Ok((status, body["error"].as_str().unwrap_or_default().to_owned()));
            }
            if socket.read_buf(&mut said).await? == 0 {
                return Err(std::io::Error::other(format!("closed after {text:?}")));
            }
        }
    };
    let said = timeout(PATIENCE, talk).await.map_err(|_| "no answer in time".to_owned())?;
    said.map_err(|error| error.to_string())
}

/// Sends a request several times, and expects the same refusal each time.
async fn is_refused(what: &str, node: &TestNode, request: &[u8], status: u16, code: &str) {
    for time in 1..=TIMES {
        let said = write_then_read(node, request).await;
        assert_eq!(said, Ok((status, code.to_owned())), "{what}, time {time}");
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_answered_after_any_body() {
    let world = World::new().await;
    let node = world.node().await;
    for megabytes in [1, 4, 9] {
        let body = vec![b' '; megabytes * MEGABYTE];
        for framing in [Framing::Length, Framing::Chunked] {
            let what = format!("{megabytes} MB, {framing:?}");
            let request = request("/sync/todo", "expired", framing, &body);
            is_refused(&what, &node, &request, 401, "unauthenticated").await;
        }
    }
}

#[tokio::test]
async fn who_has_not_paid_is_told_so_after_nine_megabytes() {
    let world = World::new().await;
    let node = world.node().await;
    world.issuer.set_active("alice", false);
    let token = world.client("alice", "laptop").token;
    let body = vec![b' '; 9 * MEGABYTE];
    let request = request("/sync/todo", &token, Framing::Length, &body);
    is_refused("9 MB", &node, &request, 402, "sync_inactive").await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_told_so_however_it_comes() {
    let world = World::new().await;
    let node = world.node().await;
    let token = world.client("alice", "laptop").token;
    let body = vec![b' '; 11 * MEGABYTE];
    for framing in [Framing::Length, Framing::Chunked] {
        let request = request("/sync/todo", &token, framing, &body);
        is_refused(&format!("{framing:?}"), &node, &request, 413, "too_large").await;
    }
}

#[tokio::test]
async fn a_node_without_room_for_bodies_says_so_to_the_end() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.limits.inflight_bytes = MEGABYTE;
    let node = world.start(settings).await;
    let token = world.client("alice", "laptop").token;
    let body = vec![b' '; 9 * MEGABYTE];
    let request = request("/sync/todo", &token, Framing::Length, &body);
    is_refused("9 MB", &node, &request, 503, "busy").await;
}

#[tokio::test]
async fn an_unknown_path_is_named_after_nine_megabytes() {
    let world = World::new().await;
    let node = world.node().await;
    let body = vec![b' '; 9 * MEGABYTE];
    for (path, status, code) in
        [("/nowhere", 404, "not_found"), ("/health", 405, "method_not_allowed")]
    {
        let request = request(path, "none", Framing::Length, &body);
        is_refused(path, &node, &request, status, code).await;
    }
}

/// A token of at least so many bytes.
fn long_token(issuer: &Issuer, user: &str, bytes: usize) -> String {
    let mut claims = issuer.claims(user, std::time::Duration::from_hours(1));
    claims["roles"] = json!("r".repeat(bytes * 3 / 4));
    issuer.sign(&claims)
}

#[tokio::test]
async fn a_head_has_room_for_400_tables_and_a_long_token() {
    let world = World::new().await;
    let node = world.node().await;
    let token = long_token(&world.issuer, "alice", 4096);
    assert!(token.len() > 4096, "{}", token.len());
    let tables: Vec<String> = (0..400).map(|n| format!("table_{n:014}")).collect();
    assert!(tables.iter().all(|table| table.len() == 20));
    let phone = Client::new(token, "phone");
    let mut stream = phone.stream(&node.url, &tables.join(","), "").await;
    let mut last = insert("t1", &json!({}));
    last["table"] = json!(tables[399]);
    let laptop = world.client("alice", "laptop");
    laptop.push(&node.url, &[insert("elsewhere", &json!({})), last]).await;
    assert_eq!(crate::streams::records(&stream.changes(1).await), ["t1"]);
}
