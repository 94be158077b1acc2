mod bad;

use proptest::prelude::*;

use super::*;

fn parse(body: &str) -> Result<Changeset, BadChangeset> {
    Changeset::parse(body.into())
}

/// The only change of a body that has just this one.
fn one(change: &str) -> NewChange {
    let changes = parse(&format!("{{\"changes\":[{change}]}}")).unwrap().changes;
    let [change] = <[NewChange; 1]>::try_from(changes).unwrap();
    change
}

/// A change with these members besides the required ones.
fn with(op: &str, members: &str) -> NewChange {
    one(&format!(r#"{{"table":"tasks","id":"t1","op":"{op}"{members}}}"#))
}

#[test]
fn the_body_of_the_protocol() {
    let read = parse(
        r#"{ "clientId": "tab-1", "since": "2026-11-22T09:36:12.123456Z", "schemaVersion": 1,
          "changes": [
            { "table": "tasks", "id": "t1", "op": "insert", "data": {"title": "Milk"}, "spaceId": "org-9",
              "actor": {"kind": "user"}, "origin": "user", "schemaVersion": 1,
              "eventId": "01997f00-0000-7000-8000-00000000000a" },
            { "table": "tasks", "id": "t1", "op": "update", "fields": {"title": {"value": "Eggs", "updatedAt": "2026-01-01T10:05:00Z"}} },
            { "table": "tasks", "id": "t2", "op": "delete", "deletedAt": "2026-01-01T10:06:00Z" } ] }"#,
    )
    .unwrap();
    let plain = NewChange {
        event: None,
        table: TableName::new("tasks").unwrap(),
        record: "t1".into(),
        op: Op::Insert,
        space: None,
        data: None,
        field_timestamps: None,
        schema_version: 1,
        actor: None,
        origin: None,
    };
    let insert = NewChange {
        event: Some(Uuid::from_u128(0x0199_7f00_0000_7000_8000_0000_0000_000a)),
        space: Some(SpaceId::new("org-9").unwrap()),
        data: Some(r#"{"title": "Milk"}"#.into()),
        actor: Some(r#"{"kind": "user"}"#.into()),
        origin: Some("user".into()),
        ..plain.clone()
    };
    let update = NewChange {
        op: Op::Update,
        data: Some(r#"{"title":"Eggs"}"#.into()),
        field_timestamps: Some(r#"{"title":"2026-01-01T10:05:00Z"}"#.into()),
        ..plain.clone()
    };
    let delete = NewChange {
        op: Op::Delete,
        record: "t2".into(),
        data: Some(r#"{"deletedAt":"2026-01-01T10:06:00Z"}"#.into()),
        ..plain
    };
    assert_eq!(read.client, Some(ClientId::new("tab-1").unwrap()));
    assert_eq!(read.since.to_string(), "2026-11-22T09:36:12.123456Z");
    assert_eq!(read.changes, [insert, update, delete]);
}

#[test]
fn little_is_required_of_a_body() {
    let empty = Changeset { client: None, since: Cursor::START, changes: vec![] };
    for body in [
        "{}",
        " {\n} ",
        r#"{"changes":null,"clientId":null,"since":null,"schemaVersion":null}"#,
        r#"{"changes":[],"clientId":"","since":"","schemaVersion":0}"#,
        r#"{"since":"no time","unknown":[{"changes":1}],"appId":7}"#,
    ] {
        assert_eq!(parse(body).unwrap(), empty, "{body}");
    }
}

#[test]
fn of_a_key_given_twice_the_last_counts() {
    let read = parse(
        r#"{"clientId":"a","clientId":"b","changes":[{"table":"x","id":"1","op":"delete"}],
            "\u0063hanges":[{"table":"a","table":"b","id":"1","op":"insert","\u006fp":"delete"}]}"#,
    )
    .unwrap();
    assert_eq!(read.client.unwrap().as_str(), "b");
    assert_eq!(read.changes.len(), 1);
    assert_eq!((read.changes[0].table.as_str(), read.changes[0].op), ("b", Op::Delete));
}

#[test]
fn payloads_survive_to_the_last_digit() {
    let data = r#"{"n": 9007199254740993, "d":0.10, "e":1E400,"-":-0, "s":"\u00e4\/\ud83d\ude00😀",
        "n":[ 1 , {"deep":[[]]} ], "":null}"#;
    assert_eq!(with("insert", &format!(",\"data\":{data}")).data.as_deref(), Some(data));
    let actor = with("insert", &format!(",\"actor\":{data}")).actor;
    assert_eq!(actor.as_deref(), Some(data));
    assert_eq!(with("insert", r#","origin":"\"ä\n""#).origin.as_deref(), Some("\"ä\n"));
    assert_eq!(with("insert", r#","origin":"""#).origin.as_deref(), Some(""));
}

#[test]
fn optional_parts_may_be_null_or_absent() {
    let nulls = r#","data":null,"fields":null,"deletedAt":null,"spaceId":null,"actor":null,
        "origin":null,"schemaVersion":null,"eventId":null"#;
    for op in ["insert", "update", "delete"] {
        let absent = with(op, "");
        assert_eq!(with(op, nulls), absent);
        assert_eq!((&absent.data, &absent.field_timestamps, &absent.space), (&None, &None, &None));
        assert_eq!((&absent.actor, &absent.origin, &absent.event), (&None, &None, &None));
    }
}

#[test]
fn an_operation_keeps_what_is_its_own() {
    let all = r#","data":{"a":1},"fields":{"b":{"value":2,"at":"t"}},"deletedAt":"d""#;
    assert_eq!(with("insert", all).data.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(with("insert", all).field_timestamps, None);
    assert_eq!(with("update", all).data.as_deref(), Some(r#"{"b":2}"#));
    assert_eq!(with("update", all).field_timestamps.as_deref(), Some(r#"{"b":"t"}"#));
    assert_eq!(with("delete", all).data.as_deref(), Some(r#"{"deletedAt":"d"}"#));
    assert_eq!(with("delete", all).field_timestamps, None);
}

#[test]
fn fields_become_values_and_times() {
    let update = |fields: &str| {
        let change = with("update", &format!(",\"fields\":{fields}"));
        (change.data.unwrap(), change.field_timestamps.unwrap())
    };
    let pair = |data: &str, times: &str| (data.to_owned(), times.to_owned());
    assert_eq!(update("{}"), pair("{}", "{}"));
    assert_eq!(
        update(r#"{"b":{"value":[1, 2],"updatedAt":"t1"},"a":{"at":"t2","value":1.0,"x":7}}"#),
        pair(r#"{"b":[1, 2],"a":1.0}"#, r#"{"b":"t1","a":"t2"}"#)
    );
    // Without a value, without a time.
    assert_eq!(
        update(r#"{"a":{},"b":{"value":null,"at":null},"c":{"updatedAt":"t"}}"#),
        pair(r#"{"a":null,"b":null,"c":null}"#, r#"{"c":"t"}"#)
    );
    // Both spellings of a time; times are kept as they came.
    assert_eq!(
        update(r#"{"a":{"at":"new","updatedAt":"o\u006cd"},"b":{"updatedAt":null,"at":""}}"#),
        pair(r#"{"a":null,"b":null}"#, r#"{"a":"o\u006cd","b":""}"#)
    );
    // Names as they came; of a name given twice, in whatever spelling, the last counts.
    assert_eq!(
        update(r#"{"a\"":{"value":1,"at":"t"},"":{"value":2},"\u0061\"":{"value":3}}"#),
        pair(r#"{"\u0061\"":3,"":2}"#, "{}")
    );
}

#[test]
fn the_first_place_that_names_a_space_wins() {
    let space = |members: &str| {
        ["insert", "update", "delete"].map(|op| {
            with(op, members).space.map(|space| space.as_str().to_owned()).unwrap_or_default()
        })
    };
    let long = "x".repeat(256);
    for (members, expected) in [
        (r#","spaceId":"a","data":{"spaceId":"b"},"fields":{"spaceId":{"value":"c"}}"#, "a"),
        (r#","data":{"spaceId":"b"},"fields":{"spaceId":{"value":"c"}}"#, "b"),
        (r#","fields":{"x":{"value":"d"},"spaceId":{"value":"c","at":"t"}}"#, "c"),
        (r#","fields":{"space\u0049d":{"value":"\u0063"}}"#, "c"),
        (r#","data":{"spac\u0065Id":"\u0062"}"#, "b"),
        (r#","data":{"x":{"spaceId":"b"},"y":"spaceId"}"#, ""),
        // Passed over, and never an error.
        (
            r#","spaceId":7,"data":{"spaceId":{"spaceId":"b"}},"fields":{"spaceId":{"value":"c"}}"#,
            "c",
        ),
        (r#","spaceId":"","data":{"spaceId":null},"fields":{"spaceId":{"value":"c"}}"#, "c"),
        (r#","spaceId":["a"],"data":{"spaceId":""},"fields":{"spaceId":{}}"#, ""),
        (&format!(r#","spaceId":"{long}","data":{{"spaceId":"b"}}"#), "b"),
        (&format!(r#","spaceId":"{}""#, &long[1..]), &long[1..]),
        // A user's own space is none, and ends the search.
        (r#","spaceId":"_personal:u1","data":{"spaceId":"b"}"#, ""),
        (r#","spaceId":"_personal:""#, ""),
        (r#","data":{"spaceId":"_personal:u1"},"fields":{"spaceId":{"value":"c"}}"#, ""),
        (r#","spaceId":"_personal""#, "_personal"),
    ] {
        assert_eq!(space(members), [expected; 3], "{members}");
    }
    // The text stays in the data.
    let data = r#"{"spaceId":"_personal:u1"}"#;
    assert_eq!(with("insert", &format!(",\"data\":{data}")).data.as_deref(), Some(data));
}

#[test]
fn schema_versions() {
    let version = |body: &str, change: &str| {
        let change = format!(r#"{{"table":"t","id":"1","op":"delete"{change}}}"#);
        parse(&format!("{{\"changes\":[{change}]{body}}}"))
            .map(|read| read.changes[0].schema_version)
    };
    let given = ["", "1", "0", "-7", "1.0", "10e-1", "-3207193.0", "-1e999"];
    let given = given.map(|text| match text {
        "" => String::new(),
        text => format!(",\"schemaVersion\":{text}"),
    });
    for given in given.iter().map(String::as_str) {
        assert_eq!(version(given, ""), Ok(1));
        assert_eq!(version("", given), Ok(1));
        assert_eq!(version(given, given), Ok(1));
    }
    let huge = ",\"schemaVersion\":99999999999999999999999999";
    assert_eq!(version("", &huge.replace(":9", ":-9")), Ok(1));
    for above in [",\"schemaVersion\":2", ",\"schemaVersion\":2.0", huge] {
        let error = version("", above).unwrap_err();
        assert_eq!(error.code(), "unsupported_schema_version");
        assert_eq!(error.to_string(), "changes[0].schemaVersion: above 1, the highest supported");
        let error = version(above, "").unwrap_err();
        assert_eq!(error.to_string(), "schemaVersion: above 1, the highest supported");
    }
    let wrong = version("", ",\"schemaVersion\":1.5").unwrap_err();
    assert_eq!(wrong.to_string(), "changes[0].schemaVersion: expected an integer");
    let wrong = version(",\"schemaVersion\":\"1\"", "").unwrap_err();
    assert_eq!(wrong.to_string(), "schemaVersion: expected an integer");
}

#[test]
fn event_ids() {
    let id = Some(Uuid::from_u128(0x0199_7f00_0000_7000_8000_0000_0000_000a));
    for text in [
        "01997f00-0000-7000-8000-00000000000a",
        "01997F00-0000-7000-8000-00000000000A",
        "01997f0000007000800000000000000a",
        "{01997f00-0000-7000-8000-00000000000a}",
        "urn:uuid:01997f00-0000-7000-8000-00000000000a",
    ] {
        assert_eq!(with("insert", &format!(",\"eventId\":\"{text}\"")).event, id);
    }
    assert_eq!(with("insert", ",\"eventId\":null").event, None);
    let change = |event: &str, record: &str| {
        format!(r#"{{"table":"t","id":"{record}","op":"insert","eventId":{event}}}"#)
    };
    let [a, b] = ["01997f00-0000-7000-8000-00000000000a", "01997f00-0000-7000-8000-00000000000b"];
    let body = [
        change(&format!("\"{a}\""), "1"),
        change("null", "2"),
        change(&format!("\"{}\"", a.to_uppercase()), "3"),
        change(&format!("\"{b}\""), "4"),
        change("null", "5"),
    ];
    let read = parse(&format!("{{\"changes\":[{}]}}", body.join(","))).unwrap();
    let records: Vec<_> = read.changes.iter().map(|change| change.record.as_str()).collect();
    assert_eq!(records, ["1", "2", "4", "5"]);
}

#[test]
fn ids_may_have_their_full_length() {
    let (table, record) = ("ä".repeat(127), "x".repeat(1024));
    let change = one(&format!(r#"{{"table":"{table}","id":"{record}","op":"insert"}}"#));
    assert_eq!((change.table.as_str(), change.record), (table.as_str(), record));
}

#[test]
fn unpaired_surrogates_are_mended() {
    let change = one(r#"{"table":"t\ud83d","id":"\ude00","op":"insert","origin":"\ud83d\ude00",
            "data":{"a\ud83d":"\ud83d\ud83d\ude00\\ud83d"}}"#);
    assert_eq!(change.table.as_str(), "t\u{fffd}");
    assert_eq!(change.record, "\u{fffd}");
    assert_eq!(change.origin.as_deref(), Some("😀"));
    assert_eq!(change.data.as_deref(), Some(r#"{"a\ufffd":"\ufffd\ud83d\ude00\\ud83d"}"#));
}

proptest! {
    /// A body with a piece of it cut, doubled or replaced is refused or can be stored.
    #[test]
    fn what_is_accepted_can_be_stored(
        from in 0_usize..400, length in 0_usize..40, put in prop_oneof![
            Just(String::new()),
            Just("\\u0000".to_owned()),
            Just("\\ud83d".to_owned()),
            "[\\[\\]{}\",:\\\\0-9a-z]{0,6}",
            any::<String>(),
        ],
    ) {
        let body = r#"{"clientId":"tab-1","since":"2026-11-22T09:36:12Z","changes":[{"table":"tasks","id":"t1","op":"insert","data":{"title":"Mi\nlk\\","n":[1.50,{"a":"\ud83d\ude00"}]},"spaceId":"org-9","actor":{"kind":"user"},"origin":"us\u0065r"},{"table":"tasks","id":"t1","op":"update","fields":{"title":{"value":"Eggs","updatedAt":"2026"},"n":{"value":7,"at":"x"}}},{"table":"tasks","id":"t2","op":"delete","deletedAt":"2026"}]}"#;
        let mut bytes = body.as_bytes().to_vec();
        let from = from.min(bytes.len() - length);
        bytes.splice(from..from + length, put.bytes());
        if let Ok(read) = Changeset::parse(bytes) {
            for change in read.changes {
                prop_assert!(!change.record.is_empty() && !change.record.contains('\0'));
                for text in [change.data, change.field_timestamps, change.actor].into_iter().flatten() {
                    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                    prop_assert!(value.is_object() && !holds_nul(&value));
                }
                prop_assert!(change.origin.is_none_or(|origin| !origin.contains('\0')));
            }
        }
    }

    #[test]
    fn any_data_comes_through(
        names in prop::collection::vec(any::<String>(), 0..4), text in any::<String>(), n in any::<i64>(),
    ) {
        let clean = |text: &str| text.replace('\0', "");
        let data: serde_json::Map<_, _> =
            names.iter().map(|name| (clean(name), serde_json::json!([clean(&text), n]))).collect();
        let fields: serde_json::Map<_, _> =
            data.iter().map(|(name, value)| (name.clone(), serde_json::json!({"value": value, "at": name}))).collect();
        let times: serde_json::Map<_, _> =
            data.keys().map(|name| (name.clone(), serde_json::json!(name))).collect();
        let body = serde_json::json!({"changes": [
            {"table": "t", "id": "1", "op": "insert", "data": data, "origin": clean(&text)},
            {"table": "t", "id": "1", "op": "update", "fields": fields},
        ]});
        let changes = parse(&body.to_string()).unwrap().changes;
        let read = |text: &Option<String>| {
            serde_json::from_str::<serde_json::Map<_, _>>(text.as_deref().unwrap()).unwrap()
        };
        prop_assert_eq!(changes[0].origin.as_ref(), Some(&clean(&text)));
        prop_assert_eq!(read(&changes[0].data), data.clone());
        prop_assert_eq!(read(&changes[1].data), data);
        prop_assert_eq!(read(&changes[1].field_timestamps), times);
    }
}

fn holds_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(holds_nul),
        serde_json::Value::Object(map) => {
            map.iter().any(|(name, value)| name.contains('\0') || holds_nul(value))
        }
        _ => false,
    }
}
