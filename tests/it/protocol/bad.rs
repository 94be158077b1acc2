//! Bad input, and what it gets.

use serde_json::{Value, json};

use super::talk::{changes, everything, one_node, refusal};
use crate::support::{Client, eventually, insert};

/// Changes of which the second is bad, by what is wrong with it.
fn bad_changes() -> Vec<(Value, &'static str)> {
    let with = |key: &str, value: Value| {
        let mut change = insert("bad", &json!({}));
        change[key] = value;
        change
    };
    let mut no_op = insert("bad", &json!({}));
    no_op.as_object_mut().unwrap().remove("op");
    vec![
        (json!(5), "changes[1]: expected an object"),
        (json!(null), "changes[1]: expected an object"),
        (json!([]), "changes[1]: expected an object"),
        (no_op, "changes[1]: op is missing"),
        (with("op", json!(1)), "changes[1].op: expected a string"),
        (
            with("op", json!("upsert")),
            "changes[1]: op must be insert, update or delete, not \"upsert\"",
        ),
        (with("table", json!(null)), "changes[1]: table is missing"),
        (with("table", json!({})), "changes[1].table: expected a string"),
        (with("table", json!("")), "changes[1]: table is empty"),
        (with("table", json!("é".repeat(128))), "changes[1]: table has more than 255 bytes"),
        (with("id", json!("")), "changes[1]: id is empty"),
        (with("id", json!([])), "changes[1].id: expected a string"),
        (with("id", json!("x".repeat(1025))), "changes[1]: id has more than 1024 bytes"),
        (with("data", json!([])), "changes[1].data: expected an object"),
        (with("data", json!("{}")), "changes[1].data: expected an object"),
        (with("fields", json!([])), "changes[1].fields: expected an object"),
        (with("fields", json!({"f": 1})), "changes[1].fields[\"f\"]: expected an object"),
        (with("fields", json!({"f": {"at": 1}})), "changes[1].fields[\"f\"].at: expected a string"),
        (
            with("fields", json!({"f": {"updatedAt": {}}})),
            "changes[1].fields[\"f\"].updatedAt: expected a string",
        ),
        (with("deletedAt", json!(1)), "changes[1].deletedAt: expected a string"),
        (with("actor", json!("me")), "changes[1].actor: expected an object"),
        (with("origin", json!({})), "changes[1].origin: expected a string"),
        (with("schemaVersion", json!("1")), "changes[1].schemaVersion: expected an integer"),
        (with("schemaVersion", json!(1.5)), "changes[1].schemaVersion: expected an integer"),
        (with("eventId", json!("one")), "changes[1]: eventId must be a UUID, not \"one\""),
        (with("eventId", json!(1)), "changes[1].eventId: expected a string"),
    ]
}

// P-94: gets 400 or 413 and a message that names the change by its index
#[tokio::test]
async fn a_bad_change_is_named_and_nothing_is_stored() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    let good = insert("good", &json!({}));
    for (bad, message) in bad_changes() {
        let body = json!({"changes": [good, bad, good]}).to_string();
        let said = refusal(laptop.post(&node.url, body).await).await;
        assert_eq!(said, (400, "invalid_changeset".to_owned(), message.to_owned()));
    }
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    assert_eq!(read, Vec::<Value>::new(), "nothing of a bad changeset is stored");
}

// P-19: A changeset is stored in one transaction, or nothing of it is.
#[tokio::test]
async fn a_changeset_comes_whole() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    let phone = world.client("alice", "phone");
    let mut many: Vec<Value> = (0..50).map(|n| insert(&n.to_string(), &json!({}))).collect();
    many.push(insert("", &json!({})));
    let body = json!({ "changes": many }).to_string();
    assert_eq!(refusal(laptop.post(&node.url, body).await).await.0, 400);
    assert_eq!(everything(&phone, &node.url).await.len(), 0);
    many.pop();
    // Whoever reads while it comes sees all of it or nothing.
    let mut seen = Vec::new();
    let reading = eventually("the changeset", async || {
        seen.push(everything(&phone, &node.url).await.len());
        (seen.last() == Some(&50)).then_some(())
    });
    tokio::join!(laptop.push(&node.url, &many), reading);
    assert!(seen.iter().all(|count| [0, 50].contains(count)), "{seen:?}");
}

/// Bodies that are no changeset: what the refusal's code is, and how its message begins.
const BODIES: &[(&str, &str, &str)] = &[
    ("", "invalid_json", "the body is not JSON: "),
    ("{", "invalid_json", "the body is not JSON: "),
    ("{\"changes\":[}", "invalid_json", "the body is not JSON: "),
    ("{}{}", "invalid_json", "the body is not JSON: "),
    ("{'changes':[]}", "invalid_json", "the body is not JSON: "),
    ("{\"since\":NaN}", "invalid_json", "the body is not JSON: "),
    ("<html>", "invalid_json", "the body is not JSON: "),
    ("null", "invalid_changeset", "the body: expected an object"),
    ("[]", "invalid_changeset", "the body: expected an object"),
    ("\"{}\"", "invalid_changeset", "the body: expected an object"),
    ("7", "invalid_changeset", "the body: expected an object"),
    ("{\"changes\":{}}", "invalid_changeset", "changes: expected an array"),
    ("{\"changes\":\"\"}", "invalid_changeset", "changes: expected an array"),
    ("{\"since\":5}", "invalid_changeset", "since: expected a string"),
    ("{\"clientId\":{}}", "invalid_changeset", "clientId: expected a string"),
    ("{\"schemaVersion\":\"1\"}", "invalid_changeset", "schemaVersion: expected an integer"),
];

// P-93: Every error is an object of `error`, a stable code, and `message`, a sentence.
#[tokio::test]
async fn a_bad_body_is_told_what_is_wrong() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    for (body, expected, begins) in BODIES {
        let (status, code, message) = refusal(laptop.post(&node.url, *body).await).await;
        assert_eq!((status, code.as_str()), (400, *expected), "{body}");
        assert!(message.starts_with(begins), "{body}: {message}");
    }
    let long = json!({"clientId": "x".repeat(256)}).to_string();
    let (status, _, message) = refusal(laptop.post(&node.url, long).await).await;
    assert_eq!((status, message.as_str()), (400, "clientId has more than 255 bytes"));
}

// P-98: A message never carries database text, a token, or another user's data.
#[tokio::test]
async fn messages_tell_nothing_of_the_inside() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    let spoilt = Client::new(laptop.token.replace('.', "!."), "laptop");
    let mut said = vec![refusal(spoilt.post(&node.url, "{}").await).await.2];
    for (bad, _) in bad_changes() {
        let body = json!({ "changes": [insert("x", &json!({})), bad] }).to_string();
        said.push(refusal(laptop.post(&node.url, body).await).await.2);
    }
    // A change that would go through every check but the database's, if there were one.
    let odd = insert("x", &json!({ "n": 1 })).to_string().replace(":1}", ":1e999999}");
    let odd = laptop.post(&node.url, changes(&[&odd])).await;
    if odd.status() != 200 {
        said.push(refusal(odd).await.2);
    }
    for message in said {
        let lower = message.to_lowercase();
        for word in ["sqlstate", "postgres", "sync_", "select", "constraint", "eyj", "panic"] {
            assert!(!lower.contains(word), "{message}");
        }
    }
}
