//! A change on its way to clients.
//!
//! The invariant: it is one line of JSON, because in an event a raw line end would cut it.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::protocol::changeset::Op;
use crate::protocol::json::{each_member, member, put_raw, put_string, string};

/// A change as the log holds it.
#[derive(Debug, Clone, Copy)]
pub struct StoredChange<'a> {
    /// The event's id.
    pub event: Uuid,
    /// The version of the client's schema.
    pub schema_version: i32,
    /// The table of the record.
    pub table: &'a str,
    /// The record's id within its table.
    pub record: &'a str,
    /// What was done to the record.
    pub op: Op,
    /// JSON: an insert's data, an update's values by name, a delete's `deletedAt`.
    pub data: Option<&'a str>,
    /// JSON: the times of an update's fields by name.
    pub field_timestamps: Option<&'a str>,
    /// The space the change was meant for.
    pub space: Option<&'a str>,
    /// JSON that says who acted.
    pub actor: Option<&'a str>,
    /// Where the change came from.
    pub origin: Option<&'a str>,
}

impl StoredChange<'_> {
    /// Appends the change as clients read it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.size_hint());
        out.extend_from_slice(b"{\"eventId\":\"");
        out.extend_from_slice(
            self.event.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
        );
        out.extend_from_slice(b"\",\"schemaVersion\":");
        out.extend_from_slice(self.schema_version.to_string().as_bytes());
        put_member(out, ",\"table\":", self.table);
        put_member(out, ",\"id\":", self.record);
        put_member(out, ",\"op\":", self.op.as_str());
        match self.op {
            Op::Insert => self.put_data(out),
            Op::Update => self.put_fields(out),
            Op::Delete => self.put_deleted_at(out),
        }
        if let Some(space) = self.space {
            put_member(out, ",\"spaceId\":", space);
        }
        if let Some(actor) = self.actor {
            out.extend_from_slice(b",\"actor\":");
            put_raw(out, actor);
        }
        if let Some(origin) = self.origin {
            put_member(out, ",\"origin\":", origin);
        }
        out.push(b'}');
    }

    /// About the bytes it takes.
    fn size_hint(&self) -> usize {
        let texts = [Some(self.table), Some(self.record), self.data, self.field_timestamps];
        let more = [self.field_timestamps, self.space, self.actor, self.origin];
        200 + texts.into_iter().chain(more).flatten().map(str::len).sum::<usize>()
    }

    fn put_data(&self, out: &mut Vec<u8>) {
        if let Some(data) = self.data.filter(|data| data.trim_start().starts_with('{')) {
            out.extend_from_slice(b",\"data\":");
            put_raw(out, data);
        }
    }

    /// Each field with its time in both spellings; with none where none is known.
    fn put_fields(&self, out: &mut Vec<u8>) {
        let mut times: HashMap<Cow<'_, str>, &RawValue> = HashMap::new();
        each_member(self.field_timestamps.unwrap_or_default(), |key, time| {
            if let (Some(name), Some(_)) = (string(key), string(time)) {
                times.insert(name, time);
            }
        });
        out.extend_from_slice(b",\"fields\":{");
        let mut first = true;
        each_member(self.data.unwrap_or_default(), |key, value| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(key.get().as_bytes());
            out.extend_from_slice(b":{\"value\":");
            put_raw(out, value.get());
            if let Some(time) = string(key).and_then(|name| times.get(&name)) {
                out.extend_from_slice(b",\"updatedAt\":");
                out.extend_from_slice(time.get().as_bytes());
                out.extend_from_slice(b",\"at\":");
                out.extend_from_slice(time.get().as_bytes());
            }
            out.push(b'}');
        });
        out.push(b'}');
    }

    fn put_deleted_at(&self, out: &mut Vec<u8>) {
        let time = self.data.and_then(|data| member(data, "deletedAt"));
        if let Some(time) = time.filter(|time| time.get().starts_with('"')) {
            out.extend_from_slice(b",\"deletedAt\":");
            out.extend_from_slice(time.get().as_bytes());
        }
    }
}

fn put_member(out: &mut Vec<u8>, key: &str, text: &str) {
    out.extend_from_slice(key.as_bytes());
    put_string(out, text);
}

#[cfg(test)]
mod tests;
