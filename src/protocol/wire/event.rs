//! The events of a stream, byte for byte.
//!
//! Clients in the field split the stream by hand: an event ends at an empty line, its name stands
//! behind `event: `, and its data on one line behind `data: `. So every event has exactly the
//! lines below, ended by LF, in this order; what is new (`id:`, `retry:`) stands on lines of its
//! own, which they pass over.

use crate::id::SpaceId;
use crate::protocol::json::{put_list, put_string};

/// The stream is alive.
pub const HEARTBEAT: &[u8] = b"event: heartbeat\ndata: {}\n\n";

/// The stream's token ran out, and the stream ends.
pub const EXPIRED: &[u8] = b"event: expired\ndata: {}\n\n";

/// Where the changes of an event come from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The app, on a stream that has several.
    pub app: Option<&'a str>,
    /// The table.
    pub table: &'a str,
}

/// Changes of one table, as [`StoredChange::write`](super::StoredChange::write) made them, and
/// the cursor behind them.
pub fn changes_event<C: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    of: Origin<'_>,
    changes: &[C],
    until: &str,
    has_more: bool,
) {
    let size: usize = changes.iter().map(|change| change.as_ref().len() + 1).sum();
    let names = of.app.map_or(0, str::len) + of.table.len();
    out.reserve(size + names + 2 * until.len() + 120);
    out.extend_from_slice(b"event: changes\ndata: {");
    if let Some(app) = of.app {
        out.extend_from_slice(b"\"appId\":");
        put_string(out, app);
        out.push(b',');
    }
    out.extend_from_slice(b"\"table\":");
    put_string(out, of.table);
    out.extend_from_slice(b",\"changes\":[");
    put_list(out, changes, |out, change| out.extend_from_slice(change.as_ref()));
    out.extend_from_slice(b"],\"syncedUntil\":");
    put_string(out, until);
    out.extend_from_slice(b",\"hasMore\":");
    out.extend_from_slice(if has_more { b"true" } else { b"false" });
    // Behind the data: clients that split by hand look for the two lines above side by side.
    out.extend_from_slice(b"}\nid: ");
    out.extend_from_slice(until.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// The reader's verified spaces, at the start of a stream and whenever they change.
pub fn spaces_event(out: &mut Vec<u8>, spaces: &[SpaceId]) {
    out.extend_from_slice(b"event: spaces\ndata: {\"spaces\":[");
    put_list(out, spaces, |out, space| put_string(out, space.as_str()));
    out.extend_from_slice(b"]}\n\n");
}

/// The node drains: the client is to come back after so many milliseconds.
#[must_use]
pub fn reconnect_event(retry_ms: u64) -> String {
    format!("event: reconnect\nretry: {retry_ms}\ndata: {{}}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    const TASKS: Origin<'_> = Origin { app: None, table: "tasks" };

    #[test]
    fn changes_of_several_apps_name_theirs() {
        let of = Origin { app: Some("to\"do"), ..TASKS };
        assert_eq!(
            text(|out| changes_event(out, of, &["{\"a\":1}"], "x", false)),
            "event: changes\ndata: {\"appId\":\"to\\\"do\",\"table\":\"tasks\",\
             \"changes\":[{\"a\":1}],\"syncedUntil\":\"x\",\"hasMore\":false}\nid: x\n\n"
        );
    }

    #[test]
    fn changes_are_spelled_as_clients_split_them() {
        let until = "2026-11-22T09:36:12.123456Z";
        assert_eq!(
            text(|out| changes_event(out, TASKS, &["{\"a\":1}", "{\"b\":2}"], until, false)),
            "event: changes\ndata: {\"table\":\"tasks\",\
             \"changes\":[{\"a\":1},{\"b\":2}],\
             \"syncedUntil\":\"2026-11-22T09:36:12.123456Z\",\"hasMore\":false}\nid: 2026-11-22T09:36:12.123456Z\n\n"
        );
        assert_eq!(
            text(|out| {
                let of = Origin { app: None, table: "a\"\nb" };
                changes_event::<Vec<u8>>(out, of, &[], "x~1.2", true);
            }),
            "event: changes\ndata: {\"table\":\"a\\\"\\nb\",\"changes\":[],\
             \"syncedUntil\":\"x~1.2\",\"hasMore\":true}\nid: x~1.2\n\n"
        );
    }

    #[test]
    fn the_other_events() {
        assert_eq!(HEARTBEAT, b"event: heartbeat\ndata: {}\n\n");
        assert_eq!(EXPIRED, b"event: expired\ndata: {}\n\n");
        let spaces = ["org-9", "o\"1"].map(|space| SpaceId::new(space).unwrap());
        assert_eq!(
            text(|out| spaces_event(out, &spaces)),
            "event: spaces\ndata: {\"spaces\":[\"org-9\",\"o\\\"1\"]}\n\n"
        );
        assert_eq!(text(|out| spaces_event(out, &[])), "event: spaces\ndata: {\"spaces\":[]}\n\n");
        assert_eq!(reconnect_event(1234), "event: reconnect\nretry: 1234\ndata: {}\n\n");
    }
}
