//! Requests by chance: well-formed ones with odd parts, and such with bytes changed on the way.
//! None may be answered as a fault of the node's own, and none may spoil what is read later.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fastrand::Rng;
use reqwest::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::talk::one_node;
use crate::processes::seed;
use crate::support::{Client, PATIENCE, insert};

const REQUESTS: usize = 3000;

/// What stands where an id, a name, a number or a cursor belongs.
const ODD: [&str; 24] = [
    "",
    "tasks",
    "todo",
    "home",
    "a,b",
    "..",
    "%2e%2e",
    "%ff",
    "%00",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "é",
    "{}",
    "null",
    "-1",
    "0",
    "1e99999",
    "9223372036854775808",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z~1.2.3.4",
    "2026-02-30T00:00:00Z",
    "'; --",
    "{\"a\":[1,{\"b\":null}]}",
];

const KEYS: [&str; 18] = [
    "changes",
    "clientId",
    "since",
    "table",
    "id",
    "op",
    "data",
    "fields",
    "deletedAt",
    "spaceId",
    "eventId",
    "schemaVersion",
    "actor",
    "origin",
    "value",
    "updatedAt",
    "",
    "x",
];

fn odd(rng: &mut Rng) -> String {
    let text = ODD[rng.usize(..ODD.len())];
    if rng.u8(..20) == 0 { text.repeat(rng.usize(..600)) } else { text.to_owned() }
}

/// JSON of any shape, with the keys of the protocol.
fn json_of(rng: &mut Rng, depth: usize) -> String {
    match rng.u8(..if depth == 0 { 4 } else { 7 }) {
        0 => ["null", "true", "0", "-0.0e-9", "1e400", "7"][rng.usize(..6)].to_owned(),
        1 | 2 => format!("\"{}\"", odd(rng).replace('"', "")),
        3 => "{}".to_owned(),
        4 => {
            let items: Vec<_> = (0..rng.usize(..4)).map(|_| json_of(rng, depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let members: Vec<_> = (0..rng.usize(..6))
                .map(|_| {
                    let key = KEYS[rng.usize(..KEYS.len())];
                    format!("\"{key}\":{}", json_of(rng, depth - 1))
                })
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// A change that can be stored, of which some members are replaced.
fn change(rng: &mut Rng) -> String {
    let mut members = BTreeMap::from([
        ("table", "\"tasks\"".to_owned()),
        ("id", format!("\"r{}\"", rng.u8(..))),
        ("op", format!("\"{}\"", ["insert", "update", "delete"][rng.usize(..3)])),
        ("data", "{\"title\":\"Milk\"}".to_owned()),
        ("fields", r#"{"title":{"value":1,"updatedAt":"2026-11-22T09:36:12Z"}}"#.to_owned()),
    ]);
    for _ in 0..rng.usize(..2) {
        members.insert(KEYS[rng.usize(..KEYS.len())], json_of(rng, 3));
    }
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn body(rng: &mut Rng) -> Vec<u8> {
    let text = if rng.u8(..4) == 0 {
        json_of(rng, 5)
    } else {
        let changes: Vec<_> = (0..rng.usize(..4)).map(|_| change(rng)).collect();
        let since = odd(rng).replace('"', "");
        format!(r#"{{"since":"{since}","changes":[{}]}}"#, changes.join(","))
    };
    let mut bytes = text.into_bytes();
    if rng.u8(..4) == 0 {
        spoil(rng, &mut bytes);
    }
    bytes
}

/// Changes, cuts out or doubles some bytes.
fn spoil(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..=bytes.len());
        let end = bytes.len().min(at + rng.usize(..8));
        match rng.u8(..3) {
            0 => bytes.insert(at, rng.u8(..)),
            1 => drop(bytes.drain(at..end)),
            _ => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
        }
    }
}

/// A text as a part of a path or a query.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '%' | '-' | '.' | ',' | ':' | '~' => out.push(c),
            _ => c.to_string().bytes().for_each(|byte| write!(out, "%{byte:02x}").unwrap()),
        }
        out
    })
}

/// A request, and whether its head is as HTTP wants it.
fn request(rng: &mut Rng, token: &str) -> (Vec<u8>, bool) {
    let app = if rng.bool() { "todo".to_owned() } else { escaped(&odd(rng)) };
    let (method, mut path) = match rng.u8(..12) {
        0..=5 => ("POST", format!("/sync/{app}")),
        6 | 7 => ("GET", format!("/sync/{app}/pull")),
        8 => ("GET", format!("/sync/{app}/stream")),
        9 => ("POST", format!("/internal/memberships/{app}/invalidate")),
        10 => ("GET", format!("/ws/{app}")),
        _ => ("GET", format!("/{app}")),
    };
    for n in 0..rng.usize(..5) {
        let name = ["collection", "collections", "since", "limit", "%ff", "x"][rng.usize(..6)];
        let value = escaped(&odd(rng));
        write!(path, "{}{name}={value}", if n == 0 { '?' } else { '&' }).unwrap();
    }
    let method = if rng.u8(..20) == 0 { "PATCH" } else { method };
    let token = if rng.u8(..20) == 0 { "odd" } else { token };
    let body = if method == "GET" { Vec::new() } else { body(rng) };
    let (device, length) = (escaped(&odd(rng)), body.len());
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         X-Client-Id: {device}\r\nLast-Event-ID: {device}\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    let is_whole = rng.u8(..10) > 0;
    if !is_whole {
        spoil(rng, &mut head);
    }
    head.extend(body);
    (head, is_whole)
}

/// The status, and the body where it has an end; none where the connection was closed in silence.
async fn send(address: &str, request: &[u8], is_whole: bool) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // Whoever refuses a request may hang up before it was sent.
    let _ = socket.write_all(request).await;
    if !is_whole {
        // The node may wait for more, and there is none.
        let _ = socket.shutdown().await;
    }
    let mut said = Vec::new();
    let mut part = [0; 4096];
    while let Ok(read @ 1..) = timeout(PATIENCE, socket.read(&mut part)).await.expect("an end") {
        said.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&said);
        // A stream goes on for ever: its head says it all.
        if text.contains("text/event-stream") && text.contains("\r\n\r\n") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&said);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The last change of the table `tasks`, as it was sent: what was stored may hold numbers that this
/// language has no type for.
async fn last_task(client: &Client, node: &str) -> String {
    type Members = BTreeMap<String, Box<RawValue>>;
    let (mut since, mut last) = (String::new(), None);
    loop {
        let path = format!("/sync/{}/pull?collection=tasks&since={since}", client.app);
        let page = client.get(node, &path).await.text().await.unwrap();
        let page: Members = serde_json::from_str(&page).expect(&page);
        let changes: Vec<Box<RawValue>> =
            serde_json::from_str(page["serverChanges"].get()).expect("a list");
        last = changes.last().map(|change| change.get().to_owned()).or(last);
        serde_json::from_str(page["syncedUntil"].get()).map(|until| since = until).unwrap();
        if page.get("hasMore").is_none_or(|more| more.get() == "false") {
            return last.expect("a change");
        }
    }
}

#[tokio::test]
async fn whatever_is_sent_no_answer_is_a_fault_of_the_node_s() {
    let (world, node) = one_node().await;
    let mut rng = Rng::with_seed(seed());
    let laptop = world.client("alice", "laptop");
    let address = node.url.strip_prefix("http://").unwrap();
    let mut answers = BTreeMap::<String, usize>::new();
    for n in 0..REQUESTS {
        let (request, is_whole) = request(&mut rng, &laptop.token);
        let sent = String::from_utf8_lossy(&request);
        let Some((status, body)) = send(address, &request, is_whole).await else {
            assert!(!is_whole, "request {n} was not answered: {sent}");
            continue;
        };
        assert!(status < 500, "request {n} was answered {status} {body}: {sent}");
        let kind = match serde_json::from_str::<Value>(&body) {
            Ok(body) if status >= 400 => body["error"].as_str().expect("a code").to_owned(),
            _ => {
                assert!(status < 400 || !is_whole, "request {n}: {status} {body}: {sent}");
                String::new()
            }
        };
        *answers.entry(format!("{status} {kind}")).or_default() += 1;
    }
    println!("{answers:?}");
    assert!(answers["200 "] > REQUESTS / 8, "{answers:?}");
    assert!(answers.len() > 7, "{answers:?}");
    let last = json!({ "changes": [insert("last", &json!({}))] }).to_string();
    assert_eq!(laptop.post(&node.url, last).await.status(), StatusCode::OK);
    let read = last_task(&world.client("alice", "phone"), &node.url).await;
    assert!(read.contains(r#""id":"last""#), "{read}");
}
