//! Bad input, and what it gets: a promise of the protocol, so the messages stand here as they are.

use super::*;

fn message(body: &str) -> String {
    parse(body).unwrap_err().to_string()
}

/// What is said of a change with these members, which stands behind a good one.
fn refused(members: &str) -> String {
    let good = r#"{"table":"tasks","id":"t1","op":"insert"}"#;
    message(&format!("{{\"changes\":[{good},{members}]}}"))
}

#[test]
fn what_is_not_json() {
    for body in [
        "",
        "x",
        "{",
        "{\"changes\":[}",
        "{} {}",
        "{\"changes\":[]},",
        "{'changes':[]}",
        "{\"changes\":[{\"table\":\"t\",}]}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\0\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\ud83\"}",
        "{\"a\":01}",
        "{\"a\":NaN}",
        "{1:2}",
        "\u{feff}{}",
        "{\"changes\":[{\"table\":\"t\",\"id\":\"1\",\"op\":\"insert\",\"data\":{\"a\":tru}}]}",
    ] {
        let error = parse(body).unwrap_err();
        assert_eq!(error.code(), "invalid_json", "{body}: {error}");
        assert!(error.to_string().starts_with("the body is not JSON: "), "{error}");
    }
    let error = Changeset::parse(b"{\"a\":\"\xff\"}".to_vec()).unwrap_err();
    assert_eq!(error.code(), "invalid_json");
    let half = parse("{\"changes\":[{\"table\":\"t\"").unwrap_err();
    assert!(half.to_string().contains("line 1 column 24"), "{half}");
}

#[test]
fn wrong_types_name_the_place() {
    for (body, message_) in [
        ("[]", "the body: expected an object"),
        ("null", "the body: expected an object"),
        ("\"changes\"", "the body: expected an object"),
        (r#"{"changes":{}}"#, "changes: expected an array"),
        (r#"{"changes":"x"}"#, "changes: expected an array"),
        (r#"{"changes":[null]}"#, "changes[0]: expected an object"),
        (r#"{"changes":[["tasks","t1","insert"]]}"#, "changes[0]: expected an object"),
        (r#"{"clientId":7}"#, "clientId: expected a string"),
        (r#"{"since":{}}"#, "since: expected a string"),
        (r#"{"schemaVersion":true}"#, "schemaVersion: expected an integer"),
    ] {
        assert_eq!(message(body), message_);
        assert_eq!(parse(body).unwrap_err().code(), "invalid_changeset");
    }
    let long = "x".repeat(256);
    assert_eq!(
        message(&format!("{{\"clientId\":\"{long}\"}}")),
        "clientId has more than 255 bytes"
    );
    assert_eq!(refused("7"), "changes[1]: expected an object");
}

#[test]
fn bad_changes_are_named_by_their_index() {
    let long = "x".repeat(1025);
    for (members, expected) in [
        (r#""id":"1","op":"insert""#, "changes[1]: table is missing"),
        (r#""table":null,"id":"1","op":"insert""#, "changes[1]: table is missing"),
        (r#""table":"","id":"1","op":"insert""#, "changes[1]: table is empty"),
        (r#""table":7,"id":"1","op":"insert""#, "changes[1].table: expected a string"),
        (
            &format!(r#""table":"{}","id":"1","op":"insert""#, &long[..256]),
            "changes[1]: table has more than 255 bytes",
        ),
        (r#""table":"t","op":"insert""#, "changes[1]: id is missing"),
        (r#""table":"t","id":"","op":"insert""#, "changes[1]: id is empty"),
        (r#""table":"t","id":1,"op":"insert""#, "changes[1].id: expected a string"),
        (
            &format!(r#""table":"t","id":"{long}","op":"insert""#),
            "changes[1]: id has more than 1024 bytes",
        ),
        (r#""table":"t","id":"1""#, "changes[1]: op is missing"),
        (
            r#""table":"t","id":"1","op":"upsert""#,
            "changes[1]: op must be insert, update or delete, not \"upsert\"",
        ),
        (
            r#""table":"t","id":"1","op":"IN\"\nSERT""#,
            "changes[1]: op must be insert, update or delete, not \"IN\\\"\\nSERT\"",
        ),
        (r#""table":"t","id":"1","op":["insert"]"#, "changes[1].op: expected a string"),
    ] {
        assert_eq!(refused(&format!("{{{members}}}")), expected);
    }
    let shortest = refused(&format!(r#"{{"table":"t","id":"1","op":"{long}"}}"#));
    assert!(shortest.len() < 200, "{shortest}");
    for (members, expected) in [
        (r#""data":[]"#, "changes[1].data: expected an object"),
        (r#""data":"{}""#, "changes[1].data: expected an object"),
        (r#""fields":[]"#, "changes[1].fields: expected an object"),
        (r#""fields":{"a":1}"#, "changes[1].fields[\"a\"]: expected an object"),
        (r#""fields":{"a":null}"#, "changes[1].fields[\"a\"]: expected an object"),
        (
            r#""fields":{"a":{"updatedAt":1,"at":"t"}}"#,
            "changes[1].fields[\"a\"].updatedAt: expected a string",
        ),
        (r#""fields":{"\n":{"at":[]}}"#, "changes[1].fields[\"\\n\"].at: expected a string"),
        (r#""deletedAt":17"#, "changes[1].deletedAt: expected a string"),
        (r#""actor":"me""#, "changes[1].actor: expected an object"),
        (r#""origin":{}"#, "changes[1].origin: expected a string"),
        (r#""eventId":17"#, "changes[1].eventId: expected a string"),
        (r#""eventId":"17""#, "changes[1]: eventId must be a UUID, not \"17\""),
        (r#""eventId":"""#, "changes[1]: eventId must be a UUID, not \"\""),
        (r#""schemaVersion":2"#, "changes[1].schemaVersion: above 1, the highest supported"),
        (r#""schemaVersion":[]"#, "changes[1].schemaVersion: expected an integer"),
    ] {
        for op in ["insert", "update", "delete"] {
            let change = format!(r#"{{"table":"t","id":"1","op":"{op}",{members}}}"#);
            assert_eq!(refused(&change), expected);
        }
    }
}

#[test]
fn u0000_is_refused_wherever_it_stands() {
    for members in [
        r#""data":{"a":"x\u0000"}"#,
        r#""data":{"\u0000":1}"#,
        r#""data":{"a":[{"b":"\\\u0000"}]}"#,
        r#""fields":{"a":{"value":"\u0000"}}"#,
        r#""actor":{"a":"\u0000"}"#,
        r#""origin":"\u0000""#,
        r#""spaceId":"\u0000""#,
        r#""unknown":"\u0000""#,
        r#""\u0000":0"#,
    ] {
        let change = format!(r#"{{"table":"t","id":"1","op":"insert",{members}}}"#);
        assert_eq!(refused(&change), "changes[1]: a string or key has a U+0000", "{members}");
    }
    for (table, id) in [("a\\u0000", "1"), ("a", "\\u0000")] {
        let change = format!(r#"{{"table":"{table}","id":"{id}","op":"insert"}}"#);
        assert_eq!(refused(&change), "changes[1]: a string or key has a U+0000");
    }
    for body in [r#"{"clientId":"\u0000"}"#, r#"{"x":["\u0000"]}"#, r#"{"\u0000":1}"#] {
        assert_eq!(message(body), "the body: a string or key has a U+0000");
    }
    // An escaped backslash and then plain text.
    let data = r#"{"a":"\\u0000"}"#;
    assert_eq!(with("insert", &format!(",\"data\":{data}")).data.as_deref(), Some(data));
}

#[test]
fn nesting_ends_at_128() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    let change = |key: &str, n: usize| {
        let value =
            if key == "unknown" { nested(n) } else { format!("{{\"a\":{}}}", nested(n - 1)) };
        format!(r#"{{"table":"t","id":"1","op":"insert","{key}":{value}}}"#)
    };
    for key in ["data", "actor", "unknown"] {
        one(&change(key, 125));
        assert_eq!(
            refused(&change(key, 126)),
            "changes[1]: objects and arrays stand more than 128 deep"
        );
    }
    one(&change("data", 125).replace("insert", "update"));
    let field = |n: usize| {
        format!(
            r#"{{"table":"t","id":"1","op":"update","fields":{{"a":{{"value":{}}}}}}}"#,
            nested(n)
        )
    };
    assert_eq!(one(&field(123)).data.map(|data| data.len()), Some(6 + 246));
    assert!(refused(&field(124)).starts_with("changes[1]: objects"));
    parse(&format!("{{\"x\":{}}}", nested(127))).unwrap();
    assert_eq!(
        message(&format!("{{\"x\":{}}}", nested(128))),
        "the body: objects and arrays stand more than 128 deep"
    );
    // So deep that a parser with recursion would fall over, whether it is closed or not.
    assert!(refused(&change("data", 1_000_000)).starts_with("changes[1]: objects"));
    assert_eq!(parse(&"[".repeat(1_000_000)).unwrap_err().code(), "invalid_changeset");
    assert_eq!(
        parse(&format!("{{\"x\":{}", "[".repeat(1_000_000))).unwrap_err().code(),
        "invalid_json"
    );
}

#[test]
fn a_push_is_bounded() {
    let changes = |count: usize, last: &str| {
        let change = r#"{"table":"t","id":"1","op":"insert"}"#;
        let mut all = vec![change; count - 1];
        all.push(last);
        format!("{{\"changes\":[{}]}}", all.join(","))
    };
    let good = r#"{"table":"u","id":"1","op":"insert"}"#;
    assert_eq!(parse(&changes(10_000, good)).unwrap().changes.len(), 10_000);
    let error = parse(&changes(10_001, good)).unwrap_err();
    assert_eq!(error.code(), "too_large");
    assert_eq!(error.to_string(), "changes: at most 10000 in one push, not 10001");
    assert_eq!(parse(&changes(20_000, "7")).unwrap_err().code(), "too_large");
    assert_eq!(message(&changes(10_000, "{}")), "changes[9999]: op is missing");

    let text = |bytes: usize| {
        let frame = r#"{"changes":[{"table":"t","id":"1","op":"insert","data":{"a":""}}]}"#;
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
    };
    assert!(parse(&text(MAX_BODY_BYTES)).is_ok());
    let error = parse(&text(MAX_BODY_BYTES + 1)).unwrap_err();
    assert_eq!(error.code(), "too_large");
    assert_eq!(error.to_string(), "the body has more than 10485760 bytes");
}
