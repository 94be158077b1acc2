//! What must hold for any bytes that a client, a program that writes SQL, or a stranger on the
//! channel may send. Each takes bytes, and panics where it does not.

use std::collections::HashMap;
use std::time::Instant;

use mana_sync::doorbell::Doorbell;
use mana_sync::id::{SpaceId, Stamp};
use mana_sync::protocol::wire::{Framed, Origin, changes_event};
use mana_sync::protocol::{Changeset, Cursor, NewChange, Op, StoredChange};
use mana_sync::watermark::Watermark;
use serde_json::value::RawValue;
use uuid::Uuid;

/// Any text is a cursor, and what is printed of it is read as the same.
pub fn cursor(bytes: &[u8]) {
    let cursor = Cursor::parse(&String::from_utf8_lossy(bytes));
    let printed = cursor.to_string();
    assert_eq!(Cursor::parse(&printed), cursor, "printed as {printed}");
    assert!(!printed.contains(['"', '\\', '\n', '\r']), "{printed:?} goes into events as it is");
}

/// Any body is refused, or holds changes that go out as one line of JSON each.
pub fn changeset(bytes: &[u8]) {
    let Ok(Changeset { changes, .. }) = Changeset::parse(bytes.to_vec()) else { return };
    for change in &changes {
        let NewChange { data, field_timestamps, actor, .. } = change;
        let raw = [data, field_timestamps, actor].into_iter().flatten();
        for json in raw.clone() {
            assert!(is_json(json), "{json}");
        }
        let texts = raw.chain([&change.record]).chain(&change.origin);
        for text in texts {
            assert!(!text.contains('\0'), "Postgres takes no U+0000: {text:?}");
        }
        let written = one_line(&StoredChange {
            event: change.event.unwrap_or_default(),
            schema_version: change.schema_version,
            table: change.table.as_str(),
            record: &change.record,
            op: change.op,
            data: data.as_deref(),
            field_timestamps: field_timestamps.as_deref(),
            space: change.space.as_ref().map(SpaceId::as_str),
            actor: actor.as_deref(),
            origin: change.origin.as_deref(),
        });
        assert_eq!(text(&written, "id"), change.record);
    }
}

/// Whatever the log holds, an event carries it whole, on its own four lines. The bytes are split
/// at 0xFF into an operation, four texts and three JSON texts.
pub fn event(bytes: &[u8]) {
    let mut pieces = bytes.split(|byte| *byte == 0xff).map(String::from_utf8_lossy);
    let mut piece = || pieces.next().unwrap_or_default().into_owned();
    let op = match piece().as_str() {
        "" => Op::Delete,
        "u" => Op::Update,
        _ => Op::Insert,
    };
    let (table, record, space, origin) = (piece(), piece(), piece(), piece());
    let mut json = || Some(piece()).filter(|piece| is_json(piece));
    let (data, field_timestamps, actor) = (json(), json(), json());
    let change = StoredChange {
        event: Uuid::nil(),
        schema_version: 1,
        table: &table,
        record: &record,
        op,
        data: data.as_deref(),
        field_timestamps: field_timestamps.as_deref(),
        space: Some(&space),
        actor: actor.as_deref(),
        origin: Some(&origin),
    };
    let written = one_line(&change);
    for (name, said) in [("table", table), ("id", record), ("spaceId", space), ("origin", origin)] {
        assert_eq!(text(&written, name), said);
    }
    if let Some(actor) = actor {
        assert_eq!(written["actor"].get(), actor.trim().replace(['\n', '\r'], " "));
    }
}

/// Any payload is refused or heeded, and none moves the watermark back. One payload a line.
pub fn doorbell(bytes: &[u8]) {
    let mut watermark = Watermark::new(Stamp::from_micros(100));
    let now = Instant::now();
    for payload in String::from_utf8_lossy(bytes).lines() {
        let before = watermark.at();
        let step = match Doorbell::parse(payload) {
            Ok(Doorbell::Ring(ring)) => watermark.ring(ring, now),
            Ok(Doorbell::Clock(clock)) => {
                watermark.clock(clock, now);
                watermark.horizon(clock, now)
            }
            Err(_) => continue,
        };
        match step {
            Some(step) => assert!(step.to == watermark.at() && step.to > before),
            None => assert_eq!(watermark.at(), before),
        }
        assert!(watermark.at() <= watermark.ahead());
    }
}

/// An object's members, their values as they are written: a number may be larger than any that is
/// computed with.
type Members = HashMap<String, Box<RawValue>>;

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn text(members: &Members, name: &str) -> String {
    serde_json::from_str(members[name].get()).expect("a text")
}

/// The change as clients read it, out of the event and the chunk that it goes out in.
fn one_line(change: &StoredChange<'_>) -> Members {
    let until = Cursor::START.to_string();
    let mut json = Vec::new();
    change.write(&mut json);
    let of = Origin { app: None, table: change.table };
    let framed = Framed::new(|out| changes_event(out, of, &[&json], &until, false));
    let event = std::str::from_utf8(framed.text()).expect("UTF-8");
    let lines: Vec<&str> = event.split('\n').collect();
    let ["event: changes", data, id, "", ""] = lines[..] else {
        panic!("not one event: {event:?}")
    };
    assert!(!event.contains('\r'), "a line would end: {event:?}");
    assert_eq!(id.strip_prefix("id: "), Some(until.as_str()));
    let size = format!("{:X}\r\n", event.len());
    assert_eq!(framed.chunk(), format!("{size}{event}\r\n").as_bytes());
    let data = data.strip_prefix("data: ").expect("the data's line");
    let data: Members = serde_json::from_str(data).unwrap_or_else(|why| panic!("{why}: {data}"));
    assert_eq!(text(&data, "table"), change.table);
    let [change]: [Members; 1] = serde_json::from_str(data["changes"].get()).expect("one change");
    change
}
