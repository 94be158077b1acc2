use proptest::prelude::*;

use super::*;

const EVENT: Uuid = Uuid::from_u128(0x0199_7f00_0000_7000_8000_0000_0000_000a);

fn change(op: Op) -> StoredChange<'static> {
    StoredChange {
        event: EVENT,
        schema_version: 1,
        table: "tasks",
        record: "t1",
        op,
        data: None,
        field_timestamps: None,
        space: None,
        actor: None,
        origin: None,
    }
}

fn text(change: StoredChange<'_>) -> String {
    let mut out = Vec::new();
    change.write(&mut out);
    String::from_utf8(out).unwrap()
}

/// What stands behind the `op`.
fn rest(change: StoredChange<'_>) -> String {
    let text = text(change);
    let head = format!(
        "{{\"eventId\":\"01997f00-0000-7000-8000-00000000000a\",\"schemaVersion\":1,\
         \"table\":\"tasks\",\"id\":\"t1\",\"op\":\"{}\"",
        change.op.as_str()
    );
    text.strip_prefix(&head).unwrap().to_owned()
}

#[test]
fn an_insert_with_everything() {
    let insert = StoredChange {
        schema_version: 12,
        table: "ta\"b",
        record: "t\n1😀",
        data: Some(r#"{"n": 9007199254740993.10, "s":"\u00e4\n", "z": {}}"#),
        field_timestamps: Some(r#"{"n":"ignored"}"#),
        space: Some("org-9"),
        actor: Some(r#"{"kind":"user"}"#),
        origin: Some("us\"er"),
        ..change(Op::Insert)
    };
    assert_eq!(
        text(insert),
        r#"{"eventId":"01997f00-0000-7000-8000-00000000000a","schemaVersion":12,"table":"ta\"b","id":"t\n1😀","op":"insert","data":{"n": 9007199254740993.10, "s":"\u00e4\n", "z": {}},"spaceId":"org-9","actor":{"kind":"user"},"origin":"us\"er"}"#
    );
}

#[test]
fn an_insert_without_data() {
    assert_eq!(rest(change(Op::Insert)), "}");
    for data in ["[1]", "null", "7", " \"{\""] {
        assert_eq!(rest(StoredChange { data: Some(data), ..change(Op::Insert) }), "}", "{data}");
    }
}

#[test]
fn an_update_has_both_spellings_of_a_time() {
    let update = StoredChange {
        data: Some(r#"{"title":"Eggs","n":1.0,"gone":null}"#),
        field_timestamps: Some(r#"{"title":"2026-01-01T10:05:00Z","gone":"2026"}"#),
        ..change(Op::Update)
    };
    assert_eq!(
        rest(update),
        r#","fields":{"title":{"value":"Eggs","updatedAt":"2026-01-01T10:05:00Z","at":"2026-01-01T10:05:00Z"},"n":{"value":1.0},"gone":{"value":null,"updatedAt":"2026","at":"2026"}}}"#
    );
}

#[test]
fn an_update_whose_row_was_written_by_sql() {
    let fields = |data, field_timestamps| {
        rest(StoredChange { data, field_timestamps, ..change(Op::Update) })
    };
    for data in [None, Some("null"), Some("[{}]"), Some("\"x\""), Some("1"), Some(" {} ")] {
        assert_eq!(fields(data, Some(r#"{"a":"t"}"#)), r#","fields":{}}"#, "{data:?}");
    }
    let data = Some("{ \"a\" : [1,\n2],\r\n\"b\\u0062\":\"x\" }");
    for times in [None, Some("null"), Some("[]"), Some(r#"{"a":1,"bb":null}"#)] {
        assert_eq!(
            fields(data, times),
            r#","fields":{"a":{"value":[1, 2]},"b\u0062":{"value":"x"}}}"#,
            "{times:?}"
        );
    }
    // Keys are the same whatever their spelling; what has a time and no value is left out.
    assert_eq!(
        fields(data, Some(r#"{"bb":"t2", "\u0061":"t1", "c":"t3"}"#)),
        r#","fields":{"a":{"value":[1, 2],"updatedAt":"t1","at":"t1"},"b\u0062":{"value":"x","updatedAt":"t2","at":"t2"}}}"#
    );
}

#[test]
fn a_delete_has_its_time_where_one_was_given() {
    let delete = |data| rest(StoredChange { data, ..change(Op::Delete) });
    assert_eq!(
        delete(Some(r#"{"deletedAt":"2026-01-01T10:06:00Z"}"#)),
        r#","deletedAt":"2026-01-01T10:06:00Z"}"#
    );
    for data in [
        None,
        Some("{}"),
        Some("null"),
        Some("[\"deletedAt\"]"),
        Some("\"deletedAt\""),
        Some(r#"{"deletedAt":null}"#),
        Some(r#"{"deletedAt":17}"#),
        Some(r#"{"a":{"deletedAt":"x"}}"#),
    ] {
        assert_eq!(delete(data), "}", "{data:?}");
    }
}

#[test]
fn pretty_printed_payloads_fit_on_a_line() {
    let insert = StoredChange {
        data: Some("\n{\r\n  \"a\": \"x\\ny\"\n}\n"),
        actor: Some("{\n}"),
        ..change(Op::Insert)
    };
    assert_eq!(rest(insert), ",\"data\": {    \"a\": \"x\\ny\" } ,\"actor\":{ }}");
}

proptest! {
    #[test]
    fn whatever_the_log_holds_goes_out_as_one_line_of_json(
        op in prop::sample::select(vec![Op::Insert, Op::Update, Op::Delete]),
        table in any::<String>(),
        payloads in prop::collection::vec(prop::option::of(payload()), 3),
        space in prop::option::of(any::<String>()),
        origin in prop::option::of(any::<String>()),
    ) {
        let [data, field_timestamps, actor] = &payloads[..] else { panic!() };
        let line = text(StoredChange {
            table: &table,
            data: data.as_deref(),
            field_timestamps: field_timestamps.as_deref(),
            actor: actor.as_deref(),
            space: space.as_deref(),
            origin: origin.as_deref(),
            ..change(op)
        });
        prop_assert!(!line.contains(['\n', '\r']), "{}", line);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(read["table"].as_str(), Some(table.as_str()));
        prop_assert_eq!(read.get("origin").and_then(|o| o.as_str()), origin.as_deref());
        prop_assert_eq!(read.get("spaceId").and_then(|o| o.as_str()), space.as_deref());
        let data: serde_json::Value = serde_json::from_str(data.as_deref().unwrap_or("null")).unwrap();
        if let (Op::Update, Some(data)) = (op, data.as_object()) {
            let fields = read["fields"].as_object().unwrap();
            prop_assert_eq!(fields.len(), data.len());
            for (name, value) in data {
                prop_assert_eq!(&fields[name]["value"], value);
            }
        }
    }
}

/// Any JSON, mostly an object, sometimes pretty-printed.
fn payload() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(serde_json::json!(null)),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(serde_json::Value::String),
    ];
    let tree = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            prop::collection::btree_map("[ab\"\n]{0,2}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    (tree, any::<bool>()).prop_map(|(tree, pretty)| {
        if pretty { serde_json::to_string_pretty(&tree).unwrap() } else { tree.to_string() }
    })
}
