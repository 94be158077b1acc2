//! What a push is answered, and whose changes are in it.

use serde_json::{Value, json};

use super::talk::{answer, cursor, everything, ids, one_node, page, page_ids, refusal};
use crate::support::{World, insert};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn in_space(id: &str, space: &str) -> Value {
    let mut change = insert(id, &json!({}));
    change["spaceId"] = json!(space);
    change
}

// P-29: The answer is 200 with `serverChanges`, `conflicts` (always empty
#[tokio::test]
async fn an_answer_in_bytes() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.auth_url = None;
    let node = world.start(settings).await;
    let laptop = world.client("alice", "laptop");
    let text = laptop.post(&node.url, "{}").await.text().await.unwrap();
    let until = cursor(&serde_json::from_str(&text).unwrap());
    let expected = format!(r#"{{"serverChanges":[],"conflicts":[],"syncedUntil":"{until}"}}"#);
    assert_eq!(text, expected);
    let pushed = r#"{"changes":[{"table":"tasks","id":"t1","op":"insert","data":{"title": "Milk"},
        "spaceId":"org-9","actor":{"kind":"user"},"origin":"user",
        "eventId":"0198c5d2-7a4e-7c3b-9f51-0a6d3e2b1c48"}]}"#;
    let pushed = world.client("alice", "phone").post(&node.url, pushed).await;
    let unpublished = pushed.text().await.unwrap();
    let named = r#","unpublished":[{"table":"tasks","id":"t1","spaceId":"org-9"}]}"#;
    assert!(unpublished.ends_with(named), "{unpublished}");
    let text = laptop.post(&node.url, "{}").await.text().await.unwrap();
    let change = concat!(
        r#"{"serverChanges":[{"eventId":"0198c5d2-7a4e-7c3b-9f51-0a6d3e2b1c48","schemaVersion":1,"#,
        r#""table":"tasks","id":"t1","op":"insert","data":{"title": "Milk"},"spaceId":"org-9","#,
        r#""actor":{"kind":"user"},"origin":"user"}],"conflicts":[],"syncedUntil":""#
    );
    assert!(text.starts_with(change), "{text}");
}

// P-30: A change on its way to a client has `eventId`, `schemaVersion`, `table`, `id` and `op`
#[tokio::test]
async fn a_change_has_its_parts_and_no_more() {
    let (world, node) = one_node().await;
    let changes = ["insert", "update", "delete"].map(|op| {
        json!({"table": "tasks", "id": op, "op": op, "data": {"a": 1},
            "fields": {"f": {"value": 1}}, "deletedAt": "2026-01-01T10:06:00Z"})
    });
    world.client("alice", "laptop").push(&node.url, &changes).await;
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    for (change, payload) in read.iter().zip(["data", "fields", "deletedAt"]) {
        let mut expected = vec!["eventId", "id", "op", "schemaVersion", "table", payload];
        expected.sort_unstable();
        assert_eq!(keys(change), expected);
    }
}

// P-31: what others changed in the app since `since`, of all tables
#[tokio::test]
async fn a_push_is_answered_with_what_is_new() {
    let (world, node) = one_node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    laptop.push(&node.url, &[insert("before", &json!({}))]).await;
    let since = cursor(&phone.push(&node.url, &[]).await);
    let notes = json!({"table": "notes", "id": "n1", "op": "insert"});
    laptop.push(&node.url, &[insert("t1", &json!({})), notes]).await;
    laptop.app("other").push(&node.url, &[insert("elsewhere", &json!({}))]).await;
    let answer = phone.push_since(&node.url, &since, &[insert("own", &json!({}))]).await;
    assert_eq!(page_ids(&answer), ["t1", "n1"]);
    let next = phone.push_since(&node.url, &cursor(&answer), &[]).await;
    assert_eq!(page_ids(&next), Vec::<&str>::new());
}

// P-32: own means the same user and the same client id
#[tokio::test]
async fn own_is_the_same_user_and_the_same_client() {
    let (world, node) = one_node().await;
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let (alice, bob) = (world.client("alice", "tab"), world.client("bob", "tab"));
    // Joined before anything is written, so that nothing is a history.
    for client in [&alice, &bob] {
        client.push(&node.url, &[]).await;
    }
    let since = cursor(&alice.push(&node.url, &[]).await);
    alice.push(&node.url, &[in_space("alice", "home")]).await;
    bob.push(&node.url, &[in_space("bob", "home")]).await;
    world.client("alice", "phone").push(&node.url, &[in_space("phone", "home")]).await;
    let query = format!("collection=tasks&since={since}");
    assert_eq!(page_ids(&page(&alice, &node.url, &query).await), ["bob", "phone"]);
    assert_eq!(page_ids(&page(&bob, &node.url, &query).await), ["alice", "phone"]);
}

// P-33: `X-Client-Id` wins over the body's `clientId`.
#[tokio::test]
async fn the_header_names_the_client() {
    let (world, node) = one_node().await;
    let push = async |header: &str, body: &str, id: &str| {
        let client = world.client("alice", header);
        let body = json!({ "clientId": body, "changes": [insert(id, &json!({}))] });
        answer(client.post(&node.url, body.to_string()).await).await;
    };
    push("header", "body", "both").await;
    push("", "body", "body-only").await;
    push("header", "", "header-only").await;
    let read = async |client: &str| {
        let changes = everything(&world.client("alice", client), &node.url).await;
        ids(&changes).join(" ")
    };
    assert_eq!(read("header").await, "body-only");
    assert_eq!(read("body").await, "both header-only");
    let long = world.client("alice", &"x".repeat(256));
    let (status, code, message) = refusal(long.post(&node.url, "{}").await).await;
    assert_eq!((status, code.as_str()), (400, "invalid_request"));
    assert_eq!(message, "X-Client-Id has more than 255 bytes");
}

// P-34: A request that names no client has no own changes: nothing is left out.
#[tokio::test]
async fn the_nameless_are_told_everything() {
    let (world, node) = one_node().await;
    let nameless = world.client("alice", "");
    let mut stream = nameless.stream(&node.url, "", "").await;
    let answer = nameless.push(&node.url, &[insert("t1", &json!({}))]).await;
    assert_eq!(stream.record("t1").await["id"], "t1");
    assert_eq!(page_ids(&answer), ["t1"]);
    let page = page(&nameless, &node.url, "collection=tasks&since=").await;
    assert_eq!(page_ids(&page), ["t1"]);
    assert_eq!(ids(&nameless.stream(&node.url, "", "").await.changes(1).await), ["t1"]);
}

// P-35: whoever goes on from `syncedUntil` misses nothing
#[tokio::test]
async fn more_is_said_only_where_there_is_more() {
    let (world, node) = one_node().await;
    let changes: Vec<Value> = (0..2_500).map(|n| insert(&n.to_string(), &json!({}))).collect();
    world.client("alice", "laptop").push(&node.url, &changes).await;
    let phone = world.client("alice", "phone");
    let (mut since, mut seen, mut sizes) = (String::new(), Vec::new(), Vec::new());
    loop {
        let page = phone.push_since(&node.url, &since, &[]).await;
        since = cursor(&page);
        sizes.push(page_ids(&page).len());
        seen.extend(page_ids(&page).into_iter().map(ToOwned::to_owned));
        let Some(more) = page.get("hasMore") else { break };
        assert_eq!(more, &json!(true));
    }
    assert_eq!(sizes, [1000, 1000, 500]);
    let expected: Vec<String> = (0..2_500).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
}

// P-36: it is absent while membership is unverified
#[tokio::test]
async fn an_answer_lists_the_verified_spaces() {
    use mana_sync::dev::issuer::Answer;
    let (world, node) = one_node().await;
    let spaces = async |user: &str| {
        let page = world.client(user, "c").push(&node.url, &[]).await;
        page.get("spaces").cloned()
    };
    for space in ["b", "a"] {
        world.issuer.join("alice", space);
    }
    assert_eq!(spaces("alice").await, Some(json!(["a", "b"])));
    assert_eq!(spaces("bob").await, Some(json!([])));
    world.issuer.answer_memberships(Answer::Status(500));
    assert_eq!(spaces("carol").await, None);
    assert_eq!(spaces("alice").await, Some(json!(["a", "b"])));
}

// P-37: the changes that were stored for their author alone
#[tokio::test]
async fn an_answer_names_what_is_unpublished() {
    let (world, node) = one_node().await;
    world.issuer.join("alice", "home");
    let laptop = world.client("alice", "laptop");
    let changes = [
        in_space("in", "home"),
        in_space("out", "away"),
        insert("own", &json!({})),
        in_space("x", "far"),
    ];
    let answer = laptop.push(&node.url, &changes).await;
    let expected = json!([
        {"table": "tasks", "id": "out", "spaceId": "away"},
        {"table": "tasks", "id": "x", "spaceId": "far"}]);
    assert_eq!(answer["unpublished"], expected);
    let answer = laptop.push(&node.url, &[in_space("in2", "home")]).await;
    assert!(answer.get("unpublished").is_none(), "{answer}");
}
