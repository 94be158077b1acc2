//! The events of a stream, byte for byte.
//!
//! Clients in the field split the stream by hand: an event ends at an empty line, its name stands
//! behind `event: `, and its data on one line behind `data: `. So every event has exactly the
//! lines below, ended by LF, in this order; what is new (`id:`, `retry:`) stands on lines of its
//! own, which they pass over.

use std::time::Duration;

use super::json::{put_list, put_string};
use crate::id::SpaceId;

/// The stream is alive.
pub const HEARTBEAT_EVENT: &[u8] = b"event: heartbeat\ndata: {}\n\n";

/// The stream's token ran out, and the stream ends.
pub const EXPIRED_EVENT: &[u8] = b"event: expired\ndata: {}\n\n";

/// Changes of one table, as [`StoredChange::write`](super::StoredChange::write) made them, and
/// the cursor behind them.
pub fn changes_event(
    out: &mut Vec<u8>,
    table: &str,
    changes: &[impl AsRef<[u8]>],
    until: &str,
    has_more: bool,
) {
    let size: usize = changes.iter().map(|change| change.as_ref().len() + 1).sum();
    out.reserve(size + table.len() + 2 * until.len() + 100);
    out.extend_from_slice(b"event: changes\nid: ");
    out.extend_from_slice(until.as_bytes());
    out.extend_from_slice(b"\ndata: {\"table\":");
    put_string(out, table);
    out.extend_from_slice(b",\"changes\":[");
    put_list(out, changes, |out, change| out.extend_from_slice(change.as_ref()));
    out.extend_from_slice(b"],\"syncedUntil\":");
    put_string(out, until);
    out.extend_from_slice(b",\"hasMore\":");
    out.extend_from_slice(if has_more { b"true" } else { b"false" });
    out.extend_from_slice(b"}\n\n");
}

/// The reader's verified spaces, at the start of a stream and whenever they change.
pub fn spaces_event(out: &mut Vec<u8>, spaces: &[SpaceId]) {
    out.extend_from_slice(b"event: spaces\ndata: {\"spaces\":[");
    put_list(out, spaces, |out, space| put_string(out, space.as_str()));
    out.extend_from_slice(b"]}\n\n");
}

/// The node drains: the client is to come back after `retry`.
pub fn reconnect_event(out: &mut Vec<u8>, retry: Duration) {
    out.extend_from_slice(b"event: reconnect\nretry: ");
    out.extend_from_slice(retry.as_millis().to_string().as_bytes());
    out.extend_from_slice(b"\ndata: {}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn changes_are_spelled_as_clients_split_them() {
        let until = "2026-11-22T09:36:12.123456Z";
        assert_eq!(
            text(|out| changes_event(out, "tasks", &["{\"a\":1}", "{\"b\":2}"], until, false)),
            "event: changes\nid: 2026-11-22T09:36:12.123456Z\ndata: {\"table\":\"tasks\",\
             \"changes\":[{\"a\":1},{\"b\":2}],\
             \"syncedUntil\":\"2026-11-22T09:36:12.123456Z\",\"hasMore\":false}\n\n"
        );
        assert_eq!(
            text(|out| changes_event(out, "a\"\nb", &[] as &[&[u8]], "x~1.2", true)),
            "event: changes\nid: x~1.2\ndata: {\"table\":\"a\\\"\\nb\",\"changes\":[],\
             \"syncedUntil\":\"x~1.2\",\"hasMore\":true}\n\n"
        );
    }

    #[test]
    fn the_other_events() {
        assert_eq!(HEARTBEAT_EVENT, b"event: heartbeat\ndata: {}\n\n");
        assert_eq!(EXPIRED_EVENT, b"event: expired\ndata: {}\n\n");
        let spaces = ["org-9", "o\"1"].map(|space| SpaceId::new(space).unwrap());
        assert_eq!(
            text(|out| spaces_event(out, &spaces)),
            "event: spaces\ndata: {\"spaces\":[\"org-9\",\"o\\\"1\"]}\n\n"
        );
        assert_eq!(text(|out| spaces_event(out, &[])), "event: spaces\ndata: {\"spaces\":[]}\n\n");
        assert_eq!(
            text(|out| reconnect_event(out, Duration::from_millis(1234))),
            "event: reconnect\nretry: 1234\ndata: {}\n\n"
        );
    }
}
