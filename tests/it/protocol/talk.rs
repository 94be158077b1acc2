//! What these tests say to a node beside what a client says.

use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::world::TestNode;
use crate::support::{Client, World};

/// Reads from the start.
pub const START: &str = "1970-01-01T00:00:00Z";

/// A world with one node.
pub async fn one_node() -> (World, TestNode) {
    let world = World::new().await;
    let node = world.node().await;
    (world, node)
}

/// An HTTP client without a token.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A refusal: its status, its code and its message. Checks that it is nothing else.
pub async fn refusal(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
    let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["error", "message"], "{text}");
    let part = |key: &str| body[key].as_str().unwrap().to_owned();
    (status, part("error"), part("message"))
}

/// The JSON of an answer that must be 200.
pub async fn answer(response: Response) -> Value {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A page from the path behind `/sync/todo/pull?`.
pub async fn page(client: &Client, node: &str, query: &str) -> Value {
    answer(client.get(node, &format!("/sync/{}/pull?{query}", client.app)).await).await
}

/// All changes of the app that this client is offered, of all tables.
pub async fn everything(client: &Client, node: &str) -> Vec<Value> {
    let (mut changes, mut since) = (Vec::new(), String::new());
    loop {
        let page = client.push_since(node, &since, &[]).await;
        changes.extend(page["serverChanges"].as_array().unwrap().iter().cloned());
        page["syncedUntil"].as_str().unwrap().clone_into(&mut since);
        if page["hasMore"] != json!(true) {
            return changes;
        }
    }
}

/// The ids of records, in their order.
pub fn ids<C: AsRef<[Value]> + ?Sized>(changes: &C) -> Vec<&str> {
    changes.as_ref().iter().map(|change| change["id"].as_str().unwrap()).collect()
}

/// The ids of a page's records, in their order.
pub fn page_ids(page: &Value) -> Vec<&str> {
    ids(page["serverChanges"].as_array().unwrap())
}

/// A page's cursor.
pub fn cursor(page: &Value) -> String {
    page["syncedUntil"].as_str().unwrap().to_owned()
}

/// A change as text, pushed by one device and read by another, as text.
pub async fn there_and_back(change: &str) -> String {
    let (world, node) = one_node().await;
    let pushed = world.client("alice", "laptop").post(&node.url, changes(&[change])).await;
    answer(pushed).await;
    let path = format!("/sync/todo/pull?collection=tasks&since={START}");
    world.client("alice", "phone").get(&node.url, &path).await.text().await.unwrap()
}

/// The change of [`there_and_back`], read.
pub async fn returned(change: &Value) -> Value {
    let page: Value = serde_json::from_str(&there_and_back(&change.to_string()).await).unwrap();
    page["serverChanges"][0].clone()
}

/// A push of these changes, each a text.
pub fn changes(changes: &[&str]) -> String {
    format!("{{\"changes\":[{}]}}", changes.join(","))
}

/// Sends bytes to a node as they are, and reads what it says until it closes.
pub async fn raw(node: &str, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(node.strip_prefix("http://").unwrap()).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.unwrap();
    String::from_utf8(said).unwrap()
}

/// The head of a push by hand, without a length.
pub fn head(client: &Client) -> String {
    format!(
        "POST /sync/todo HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nX-Client-Id: {}\r\n",
        client.token, client.client
    )
}
