//! What a push may look like, and what of it goes back.

use serde_json::{Value, json};

use super::talk::{
    answer, changes, everything, head, http, ids, one_node, page, raw, refusal, returned,
};
use crate::support::{change, delete, insert, update};

// P-6: each may be absent or null, and without changes it only reads
#[tokio::test]
async fn all_parts_of_a_push_are_optional() {
    let (world, node) = one_node().await;
    world.client("alice", "phone").push(&node.url, &[insert("t1", &json!({}))]).await;
    let laptop = world.client("alice", "laptop");
    for body in [
        "{}",
        r#"{"changes":null}"#,
        r#"{"changes":[]}"#,
        r#"{"clientId":null,"since":null,"schemaVersion":null,"changes":null}"#,
        " {\n\t\"since\" : \"\" , \"changes\" : [ ] }\r\n",
    ] {
        let read = answer(laptop.post(&node.url, body).await).await;
        assert_eq!(read["serverChanges"][0]["id"], "t1", "{body}");
    }
    assert_eq!(everything(&laptop, &node.url).await.len(), 1);
}

// P-7: Unknown keys are ignored, in the body and in a change.
#[tokio::test]
async fn unknown_keys_are_ignored() {
    let (world, node) = one_node().await;
    let body = r#"{"appId":"x","lastSync":[1],"changes":[
        {"table":"tasks","id":"t1","op":"insert","data":{},"rev":{"a":[]},"Table":"other"}]}"#;
    answer(world.client("alice", "laptop").post(&node.url, body).await).await;
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    let keys: Vec<_> = read[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["data", "eventId", "id", "op", "schemaVersion", "table"]);
    assert_eq!(read[0]["table"], "tasks");
}

// P-8: The content type of a push is not looked at.
#[tokio::test]
async fn any_content_type_will_do() {
    let (world, node) = one_node().await;
    let client = world.client("alice", "laptop");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "rubbish", ""] {
        let request = http().post(format!("{}/sync/todo", node.url)).bearer_auth(&client.token);
        let request = request.header("Content-Type", content_type).body("{}");
        assert_eq!(request.send().await.unwrap().status(), 200, "{content_type}");
    }
}

// P-9: A body may come in chunks, without a `Content-Length`.
#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let (world, node) = one_node().await;
    let body = changes(&[&insert("t1", &json!({"title": "Milk"})).to_string()]);
    let head = head(&world.client("alice", "laptop")) + "Transfer-Encoding: chunked\r\n\r\n";
    let chunks: Vec<String> = body.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let request = head + &chunks.concat() + "0\r\n\r\n";
    let said = raw(&node.url, request.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    assert_eq!(read[0]["data"], json!({"title": "Milk"}));
}

// P-10: `op` is `insert`, `update` or `delete`, and nothing else.
#[tokio::test]
async fn there_are_three_operations() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    for op in ["insert", "update", "delete"] {
        laptop.push(&node.url, &[change(op, op)]).await;
    }
    for op in ["upsert", "INSERT", "", " delete"] {
        let body = json!({"changes": [change("t1", op)]}).to_string();
        let (status, code, message) = refusal(laptop.post(&node.url, body).await).await;
        assert_eq!((status, code.as_str()), (400, "invalid_changeset"));
        assert!(message.starts_with("changes[0]: op must be"), "{message}");
    }
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    assert_eq!(ids(&read), ["insert", "update", "delete"]);
}

// P-11: `table` and `id` are strings and not empty; a table has at most 255 bytes
#[tokio::test]
async fn tables_and_ids_are_bounded() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    let (table, record) = ("ü".repeat(127), "😀".repeat(256));
    let longest = json!({"table": table, "id": record, "op": "insert", "data": {}});
    laptop.push(&node.url, &[longest]).await;
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    assert_eq!((&read[0]["table"], &read[0]["id"]), (&json!(table), &json!(record)));
    for (bad, message) in [
        (json!({"table": "x".repeat(256)}), "changes[0]: table has more than 255 bytes"),
        (json!({"id": "x".repeat(1025)}), "changes[0]: id has more than 1024 bytes"),
        (json!({"table": ""}), "changes[0]: table is empty"),
        (json!({"id": ""}), "changes[0]: id is empty"),
        (json!({"id": null}), "changes[0]: id is missing"),
        (json!({"id": 7}), "changes[0].id: expected a string"),
    ] {
        let mut change = insert("t1", &json!({}));
        change.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        let body = json!({"changes": [change]}).to_string();
        let said = refusal(laptop.post(&node.url, body).await).await;
        assert_eq!(said, (400, "invalid_changeset".to_owned(), message.to_owned()));
    }
}

// P-12: A `schemaVersion` that is missing, or not above 0, means 1; one above 1 is refused
#[tokio::test]
async fn one_schema_version_is_known() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    for version in [json!(null), json!(1), json!(0), json!(-7)] {
        let mut change = insert(&version.to_string(), &json!({}));
        change["schemaVersion"] = version.clone();
        let body = json!({"schemaVersion": version, "changes": [change]}).to_string();
        answer(laptop.post(&node.url, body).await).await;
    }
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    assert_eq!(read.len(), 4);
    assert!(read.iter().all(|change| change["schemaVersion"] == 1), "{read:?}");
    let mut newer = insert("t1", &json!({}));
    newer["schemaVersion"] = json!(2);
    for (body, place) in [
        (json!({"schemaVersion": 2, "changes": []}), "schemaVersion: "),
        (json!({"schemaVersion": 99_999_999_999_u64}), "schemaVersion: "),
        (json!({"changes": [insert("t0", &json!({})), newer]}), "changes[1].schemaVersion: "),
    ] {
        let (status, code, message) = refusal(laptop.post(&node.url, body.to_string()).await).await;
        assert_eq!((status, code.as_str()), (400, "unsupported_schema_version"));
        assert!(message.starts_with(place), "{message}");
    }
}

// P-13: whichever it was, it goes back under both keys
#[tokio::test]
async fn field_times_have_two_spellings() {
    let time = "2026-01-01T10:05:00.1Z";
    let both = json!({"value": "Eggs", "updatedAt": time, "at": time});
    for spelling in ["updatedAt", "at"] {
        let mut pushed = change("t1", "update");
        pushed["fields"] = json!({"title": {"value": "Eggs", (spelling): time}});
        assert_eq!(returned(&pushed).await["fields"], json!({ "title": both }));
    }
    let mut pushed = change("t1", "update");
    pushed["fields"] = json!({"a": {"value": null, "at": time}, "b": {"value": [1]}, "c": {}});
    let expected = json!({
        "a": {"value": null, "updatedAt": time, "at": time}, "b": {"value": [1]},
        "c": {"value": null} });
    assert_eq!(returned(&pushed).await["fields"], expected);
}

// P-14: what is absent stays absent
#[tokio::test]
async fn each_operation_keeps_its_own_part() {
    let (world, node) = one_node().await;
    let at = "2026-01-01T10:06:00Z";
    let insertion = insert("i", &json!({"title": "Milk"}));
    let removal = delete("d", at);
    let pushed = [insertion, update("u", "title", &json!("Eggs"), at), removal];
    let bare = ["insert", "update", "delete"].map(|op| change(op, op));
    let laptop = world.client("alice", "laptop");
    laptop.push(&node.url, &pushed).await;
    laptop.push(&node.url, &bare).await;
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    let payload = |change: &Value| {
        let keys = ["data", "fields", "deletedAt"];
        let given = keys.into_iter().filter_map(|key| Some((key, change.get(key)?)));
        json!(given.collect::<std::collections::BTreeMap<_, _>>())
    };
    let fields = json!({"title": {"value": "Eggs", "updatedAt": at, "at": at}});
    assert_eq!(payload(&read[0]), json!({"data": {"title": "Milk"}}));
    assert_eq!(payload(&read[1]), json!({ "fields": fields }));
    assert_eq!(payload(&read[2]), json!({ "deletedAt": at }));
    assert_eq!(payload(&read[3]), json!({}));
    assert_eq!(payload(&read[5]), json!({}));
}

// P-15: both go back as they came, and one that is absent stays absent
#[tokio::test]
async fn who_acted_and_whence_go_back() {
    let mut pushed = insert("t1", &json!({}));
    let plain = returned(&pushed).await;
    assert!(plain.get("actor").is_none() && plain.get("origin").is_none(), "{plain}");
    pushed["actor"] = json!({"kind": "agent", "of": {"id": 9_007_199_254_740_993_u64}, "x": null});
    pushed["origin"] = json!("mcp \"ü\" 😀\n");
    let read = returned(&pushed).await;
    assert_eq!((&read["actor"], &read["origin"]), (&pushed["actor"], &pushed["origin"]));
    pushed["actor"] = json!({});
    pushed["origin"] = json!("");
    let read = returned(&pushed).await;
    assert_eq!((&read["actor"], &read["origin"]), (&json!({}), &json!("")));
}

// P-20: A change may bring an `eventId`, a UUID; every change goes back with one.
#[tokio::test]
async fn every_change_has_an_event_id() {
    let own = "0198c5d2-7a4e-7c3b-9f51-0a6d3e2b1c48";
    let mut pushed = insert("t1", &json!({}));
    let given = returned(&pushed).await["eventId"].as_str().unwrap().to_owned();
    assert_eq!(given.len(), own.len(), "{given}");
    pushed["eventId"] = json!(own);
    assert_eq!(returned(&pushed).await["eventId"], own);
    pushed["eventId"] = json!(own.to_uppercase());
    assert_eq!(returned(&pushed).await["eventId"], own);
}

// P-21: counts once: a push that is repeated changes nothing
#[tokio::test]
async fn a_repeated_event_counts_once() {
    let (world, node) = one_node().await;
    let event = |id: &str, n: u32| {
        let mut change = insert(id, &json!({ "n": n }));
        change["eventId"] = json!(format!("0198c5d2-7a4e-7c3b-9f51-{n:012}"));
        change
    };
    let pushed = [event("t1", 1), event("t2", 2), event("again", 1)];
    let laptop = world.client("alice", "laptop");
    laptop.push(&node.url, &pushed).await;
    let phone = world.client("alice", "phone");
    let first = everything(&phone, &node.url).await;
    assert_eq!(ids(&first), ["t1", "t2"]);
    let second = world.node().await;
    let late = page(&phone, &node.url, "collection=tasks&since=").await;
    for url in [&node.url, &second.url] {
        laptop.push(url, &pushed).await;
        world.client("alice", "tablet").push(url, &pushed[..1]).await;
    }
    assert_eq!(everything(&phone, &second.url).await, first);
    let since = late["syncedUntil"].as_str().unwrap();
    let nothing = page(&phone, &second.url, &format!("collection=tasks&since={since}")).await;
    assert_eq!(nothing["serverChanges"], json!([]));
    // Another user's events, and another app's, are others.
    world.client("bob", "b").push(&node.url, &pushed).await;
    laptop.app("notes").push(&node.url, &pushed).await;
    assert_eq!(everything(&world.client("bob", "c"), &node.url).await.len(), 2);
    assert_eq!(everything(&phone.app("notes"), &node.url).await.len(), 2);
}
