//! Bodies up to the limit, and beyond.

use std::time::Instant;

use bytes::Bytes;
use futures::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use reqwest::{Body, Response};
use serde_json::{Value, json};

use super::{Fleet, Kind};
use crate::protocol::talk::http;
use crate::support::{Client, insert, say};

/// What a node takes.
const LIMIT: usize = 10 << 20;
/// A page of this origin may call.
const ORIGIN: &str = "https://app.example";

pub async fn uploads_pass_up_to_the_nodes_limit(kind: Kind) {
    let fleet = Fleet::start(kind, &["--cors-origins=https://app.example"]).await;
    let alice = fleet.world.client("alice", "laptop");
    for (name, body) in [("9 MB", full(9_000_000)), ("10 MiB", full(LIMIT))] {
        let begun = Instant::now();
        let answer = alice.post(fleet.url(), body).await;
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text().await.unwrap());
        say(&format!("{kind:?}: {name} were stored in {:.1?}", begun.elapsed()));
    }
    let (rows, _) = fleet.world.client("alice", "phone").pull_all(fleet.url(), "tasks", "").await;
    let held: usize = rows.iter().map(|row| row["data"]["title"].as_str().unwrap().len()).sum();
    assert!(held > 18_000_000, "what was pushed is there: {held}");

    let over = full(LIMIT + 1);
    let own = Refusal::of(post(&alice, &fleet.nodes[0].url, over.clone().into()).await).await;
    assert_eq!((own.status, &own.body["error"]), (413, &json!("too_large")));
    // As long as is said in the head, or as long as it comes.
    let chunks = over.as_bytes().chunks(64 * 1024).map(Bytes::copy_from_slice);
    let chunks: Vec<_> = chunks.map(|chunk| Ok::<_, String>(Frame::data(chunk))).collect();
    let unannounced = Body::wrap(StreamBody::new(stream::iter(chunks)));
    for body in [over.into(), unannounced] {
        let theirs = Refusal::of(post(&alice, fleet.url(), body).await).await;
        assert_eq!((theirs.status, &theirs.body), (own.status, &own.body), "{kind:?}");
        let readers = theirs.readers.expect("a page may read why");
        assert!([ORIGIN, "*"].contains(&readers.as_str()), "{readers}");
    }
}

/// A push of rows of 1 MB that has exactly this length.
fn full(length: usize) -> String {
    let rows = length / 1_000_000;
    let title = "x".repeat(1_000_000 - 200);
    let rows: Vec<Value> =
        (0..rows).map(|row| insert(&format!("r{row}"), &json!({"title": title}))).collect();
    let mut body = json!({"changes": rows}).to_string();
    body.push_str(&" ".repeat(length - body.len()));
    body
}

async fn post(client: &Client, url: &str, body: Body) -> Response {
    let request = http().post(format!("{url}/sync/todo")).bearer_auth(&client.token);
    request.header("Origin", ORIGIN).body(body).send().await.unwrap()
}

/// What a client is told, and whether a page may read it.
struct Refusal {
    status: u16,
    body: Value,
    readers: Option<String>,
}

impl Refusal {
    async fn of(response: Response) -> Self {
        let status = response.status().as_u16();
        let readers = response.headers().get("access-control-allow-origin");
        let readers = readers.map(|origin| origin.to_str().unwrap().to_owned());
        Self { status, readers, body: response.json().await.unwrap() }
    }
}
