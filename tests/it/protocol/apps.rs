//! One stream of several apps.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::talk::{answer, one_node, refusal};
use crate::support::{Client, Events, World, insert};

// P-106: `GET /stream` follows all tables of the `apps` it lists
#[tokio::test]
async fn it_follows_the_apps_it_lists_and_no_others() {
    let (world, node) = one_node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let push = async |client: &Client, app: &str, record: &str| {
        client.app(app).push(&node.url, &[insert(record, &json!({}))]).await;
    };
    push(&laptop, "todo", "before").await;
    let mut stream = phone.stream_of_apps(&node.url, "todo,calendar,todo", "").await;
    let mut came = vec![];
    let mut read = async |stream: &mut Events| {
        let data = stream.named("changes").await.data;
        came.push(format!("{}: {}", data["appId"].as_str().unwrap(), data["changes"][0]["id"]));
    };
    read(&mut stream).await;
    push(&laptop, "notes", "of another app").await;
    push(&phone, "todo", "of its own").await;
    push(&laptop, "calendar", "here").await;
    read(&mut stream).await;
    push(&laptop, "todo", "after").await;
    read(&mut stream).await;
    assert_eq!(came, ["todo: \"before\"", "calendar: \"here\"", "todo: \"after\""]);
}

// P-106: 1 to 32 of them, comma-separated; `collections` is refused there
#[tokio::test]
async fn a_list_of_apps_that_can_not_be_followed_is_refused() {
    let (world, node) = one_node().await;
    let client = world.client("alice", "laptop");
    let many: Vec<String> = (0..33).map(|n| format!("app{n}")).collect();
    let cases = [
        ("/stream".to_owned(), "the parameter apps is missing"),
        ("/stream?apps=".to_owned(), "the parameter apps is missing"),
        ("/stream?apps=todo,,notes".to_owned(), "the app id is empty"),
        (format!("/stream?apps={}", many.join(",")), "more than 32 apps"),
        ("/stream?apps=todo&collections=tasks".to_owned(), "collections"),
    ];
    for (path, why) in cases {
        let (status, code, message) = refusal(client.get(&node.url, &path).await).await;
        assert_eq!((status, code.as_str()), (400, "invalid_request"), "{path}");
        assert!(message.contains(why), "{path}: {message}");
    }
    let most = client.get(&node.url, &format!("/stream?apps={}", many[..32].join(","))).await;
    assert_eq!(most.status(), 200);
    let stranger = Client::new("no token".to_owned(), "");
    assert_eq!(stranger.get(&node.url, "/stream?apps=todo").await.status(), 401);
}

// P-106: Where one of them is not paid for, the answer is 402.
#[tokio::test]
async fn each_of_the_apps_is_to_be_paid_for() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--billing-exempt-apps=todo,notes"])).await;
    world.issuer.set_active("alice", false);
    let client = world.client("alice", "laptop");
    for (apps, status) in [("notes,todo", 200), ("notes,calendar,todo", 402)] {
        let answer = client.get(&node.url, &format!("/stream?apps={apps}")).await;
        assert_eq!(answer.status(), status, "{apps}");
    }
}

// P-107: a `changes` event, of one table of one app, names that first, as `appId`
#[tokio::test]
async fn its_events_in_bytes() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.limits.heartbeat = Duration::from_millis(50);
    let node = world.start(settings).await;
    let pushed = r#"{"changes":[{"table":"tasks","id":"t1","op":"insert","data":{"a":1},
        "eventId":"0198c5d2-7a4e-7c3b-9f51-0a6d3e2b1c48"}]}"#;
    let path = "/stream?apps=todo";
    let mut live = world.client("alice", "tablet").get(&node.url, path).await;
    let mut text = String::new();
    until(&mut live, &mut text, "event: heartbeat").await;
    let spaces = "event: spaces\ndata: {\"spaces\":[]}\n\n";
    assert!(text.starts_with(spaces), "{text}");
    let heartbeats = text.len();
    answer(world.client("alice", "laptop").post(&node.url, pushed).await).await;
    until(&mut live, &mut text, "event: changes").await;
    let mut backlog = world.client("alice", "phone").get(&node.url, path).await;
    let mut whole = String::new();
    until(&mut backlog, &mut whole, "event: heartbeat").await;
    let changes = |text: &str| {
        let until = text.split("\"syncedUntil\":\"").nth(1).unwrap().split('"').next().unwrap();
        format!(
            "event: changes\ndata: {{\"appId\":\"todo\",\"table\":\"tasks\",\"changes\":[{{\
             \"eventId\":\"0198c5d2-7a4e-7c3b-9f51-0a6d3e2b1c48\",\"schemaVersion\":1,\
             \"table\":\"tasks\",\"id\":\"t1\",\"op\":\"insert\",\"data\":{{\"a\":1}}}}],\
             \"syncedUntil\":\"{until}\",\"hasMore\":false}}\nid: {until}\n\n"
        )
    };
    // From the tail, and from the database.
    assert!(text[heartbeats..].contains(&changes(&text)), "{text}");
    assert!(whole.starts_with(&format!("{spaces}{}", changes(&whole))), "{whole}");
}

/// Reads on until the text has these words, and the event they stand in.
async fn until(response: &mut reqwest::Response, text: &mut String, words: &str) {
    let reading = async {
        while !text.split(words).nth(1).is_some_and(|rest| rest.contains("\n\n")) {
            *text += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
        }
    };
    timeout(crate::support::PATIENCE, reading).await.expect("it comes");
}

// P-109: A suffix is ignored: the history of a joined space is read again.
#[tokio::test]
async fn a_suffix_of_one_app_says_nothing_of_the_others() {
    let (world, node) = one_node().await;
    world.issuer.join("bob", "home");
    let bob = world.client("bob", "laptop");
    // Of todo more than a page, so that its cursor stands inside the history.
    for (app, changes) in [("todo", 1_100), ("notes", 2)] {
        let shared = |n| {
            let mut change = insert(&format!("{app} {n}"), &json!({}));
            change["spaceId"] = json!("home");
            change
        };
        bob.app(app).push(&node.url, &(0..changes).map(shared).collect::<Vec<_>>()).await;
    }
    let alice = world.client("alice", "phone");
    let before = alice.push_since(&node.url, "", &[]).await;
    world.issuer.join("alice", "home");
    let invalidate = format!("{}/internal/memberships/alice/invalidate", node.url);
    let key = crate::support::world::SERVICE_KEY;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.post(invalidate).header("x-service-key", key).send().await.unwrap();
    let since = before["syncedUntil"].as_str().unwrap();
    let page = alice.push_since(&node.url, since, &[]).await;
    let suffixed = page["syncedUntil"].as_str().unwrap();
    assert!(suffixed.contains('~'), "{suffixed}");
    let mut stream = alice.stream_of_apps(&node.url, "todo,notes", suffixed).await;
    let mut came = BTreeSet::new();
    while came.len() < 1_102 {
        let changes = stream.changes(1).await;
        came.extend(changes.iter().map(|change| change["id"].as_str().unwrap().to_owned()));
    }
}
