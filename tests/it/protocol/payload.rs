//! Payloads, byte for byte.

use serde_json::json;

use super::talk::{
    answer, changes, everything, head, one_node, raw, refusal, returned, there_and_back,
};
use crate::support::insert;

// P-16: Payloads survive as JSON: no number loses digits, no key is lost.
#[tokio::test]
async fn payloads_survive_to_the_digit() {
    let payload = concat!(
        r#"{"big":9007199254740993,"huge":123456789012345678901234567890.10,"tiny":1e-400,"#,
        r#""exp":1E+2,"minus":-0,"zero":0.0,"long":0.1000000000000000055511151231257827,"#,
        r#""":{"a b":[[],{},null,true]},"é😀\u00e9\n\"\\\/":"\u2028 </script> 😀","z":1,"a":2}"#
    );
    let pushed = format!(r#"{{"table":"tasks","id":"t1","op":"insert","data":{payload}}}"#);
    let read = there_and_back(&pushed).await;
    assert!(read.contains(&format!("\"data\":{payload}")), "{read}");
    let fields = r#"{"n":{"value":18446744073709551616.000,"at":"2026-01-01T10:05:00Z"}}"#;
    let pushed = format!(r#"{{"table":"tasks","id":"t1","op":"update","fields":{fields}}}"#);
    let read = there_and_back(&pushed).await;
    assert!(read.contains(r#""fields":{"n":{"value":18446744073709551616.000,"#), "{read}");
    let actor = r#"{"id":12345678901234567890123}"#;
    let pushed = format!(r#"{{"table":"tasks","id":"t1","op":"delete","actor":{actor}}}"#);
    assert!(there_and_back(&pushed).await.contains(&format!("\"actor\":{actor}")));
}

// P-16: Payloads survive as JSON
#[tokio::test]
async fn a_payload_over_several_lines_stays_one_line_of_an_event() {
    let (world, node) = one_node().await;
    let mut stream = world.client("alice", "phone").stream(&node.url, "", "").await;
    let change = "{\"table\":\"tasks\",\"id\":\"t1\",\"op\":\"insert\",\r\n\"data\":{\n\"a\":\r1}}";
    answer(world.client("alice", "laptop").post(&node.url, changes(&[change])).await).await;
    assert_eq!(stream.record("t1").await["data"], json!({"a": 1}));
}

// P-17: An unpaired surrogate escape becomes U+FFFD.
#[tokio::test]
async fn unpaired_surrogates_are_mended() {
    let pushed = concat!(
        r#"{"table":"tasks","id":"\ud83d","op":"insert","origin":"\udc00!","#,
        r#""data":{"\ud800k":"a\ude00b","pair":"\ud83d\ude00","plain":"\\ud83d"}}"#
    );
    let read: serde_json::Value = serde_json::from_str(&there_and_back(pushed).await).unwrap();
    let change = &read["serverChanges"][0];
    assert_eq!((&change["id"], &change["origin"]), (&json!("\u{fffd}"), &json!("\u{fffd}!")));
    let data = json!({"\u{fffd}k": "a\u{fffd}b", "pair": "😀", "plain": "\\ud83d"});
    assert_eq!(change["data"], data);
}

// P-18: A string or key with U+0000 is refused.
#[tokio::test]
async fn a_nul_is_refused_wherever_it_hides() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    let nul = r"a\u0000b";
    let good = insert("good", &json!({})).to_string();
    let change = |more: &str| format!(r#"{{"table":"tasks","id":"t","op":"update",{more}}}"#);
    for part in [
        format!(r#""table":"{nul}""#),
        format!(r#""id":"{nul}""#),
        format!(r#""data":{{"a":[{{"b":"{nul}"}}]}}"#),
        format!(r#""data":{{"{nul}":1}}"#),
        format!(r#""fields":{{"{nul}":{{"value":1}}}}"#),
        format!(r#""fields":{{"a":{{"value":"{nul}"}}}}"#),
        format!(r#""fields":{{"a":{{"at":"{nul}"}}}}"#),
        format!(r#""deletedAt":"{nul}""#),
        format!(r#""actor":{{"a":"{nul}"}}"#),
        format!(r#""origin":"{nul}""#),
        format!(r#""spaceId":"{nul}""#),
        format!(r#""eventId":"{nul}""#),
        format!(r#""unknown":"{nul}""#),
        format!(r#""{nul}":0"#),
    ] {
        let body = changes(&[&good, &change(&part)]);
        let said = refusal(laptop.post(&node.url, body).await).await;
        let message = "changes[1]: a string or key has a U+0000";
        assert_eq!(said, (400, "invalid_changeset".to_owned(), message.to_owned()), "{part}");
    }
    for part in ["clientId", "since", "unknown"] {
        let body = format!(r#"{{"{part}":"{nul}","changes":[{good}]}}"#);
        let (status, code, message) = refusal(laptop.post(&node.url, body).await).await;
        assert_eq!((status, code.as_str()), (400, "invalid_changeset"), "{part}");
        assert!(message.starts_with("the body: "), "{message}");
    }
    let raw = changes(&[&good.replace("good", "go\0od")]);
    let (status, code, _) = refusal(laptop.post(&node.url, raw).await).await;
    assert_eq!((status, code.as_str()), (400, "invalid_json"));
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    assert_eq!(read, Vec::<serde_json::Value>::new());
}

// P-28: Objects and arrays of a body stand at most 128 deep in each other.
#[tokio::test]
async fn nesting_is_bounded() {
    let (world, node) = one_node().await;
    let laptop = world.client("alice", "laptop");
    // The body, its changes, the change, its data: four already.
    let nested = |more: usize| format!("{{\"a\":{}{}}}", "[".repeat(more), "]".repeat(more));
    let good = insert("good", &json!({})).to_string();
    let deep = |data: &str| format!(r#"{{"table":"tasks","id":"t1","op":"insert","data":{data}}}"#);
    let body = changes(&[&good, &deep(&nested(125))]);
    let (status, code, message) = refusal(laptop.post(&node.url, body).await).await;
    assert_eq!((status, code.as_str()), (400, "invalid_changeset"));
    assert!(message.starts_with("changes[1]: "), "{message}");
    // Far more than a stack would bear.
    let body = changes(&[&deep(&nested(1_000_000))]);
    assert_eq!(refusal(laptop.post(&node.url, body).await).await.0, 400);
    let body = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(refusal(laptop.post(&node.url, body).await).await.0, 400);
    let phone = world.client("alice", "phone");
    assert_eq!(everything(&phone, &node.url).await.len(), 0);
    let page = there_and_back(&deep(&nested(124))).await;
    assert!(page.contains(&nested(124)), "{page}");
}

// P-16: no key is lost
#[tokio::test]
async fn a_large_object_keeps_all_its_keys() {
    let data: serde_json::Map<_, _> =
        (0..5_000).map(|n| (format!("k{n}"), json!({"n": n, "s": "ü".repeat(n % 7)}))).collect();
    let pushed = insert("t1", &json!(data));
    assert_eq!(returned(&pushed).await["data"], pushed["data"]);
}

// P-94: What is wrong with a changeset, wrong JSON types included, gets 400
#[tokio::test]
async fn a_body_that_is_no_utf_8_is_refused() {
    let (world, node) = one_node().await;
    let mut request = head(&world.client("alice", "laptop")).into_bytes();
    request.extend(b"Content-Length: 14\r\n\r\n{\"since\":\"\xff\xfe\"}");
    let said = raw(&node.url, &request).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("\"invalid_json\""), "{said}");
}
