//! The answer to a push and to a pull.

use crate::id::{SpaceId, TableName};
use crate::protocol::changeset::NewChange;
use crate::protocol::json::{put_list, put_string};

/// A page, but for its changes.
#[derive(Debug, Clone, Copy)]
pub struct PageBody<'a> {
    /// The cursor behind the page.
    pub until: &'a str,
    /// Whether there is more to come.
    pub has_more: bool,
    /// The reader's spaces; none while membership is unverified.
    pub spaces: Option<&'a [SpaceId]>,
    /// What the push stored for its author alone.
    pub unpublished: &'a [Unpublished<'a>],
}

/// A change that was stored for its author alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpublished<'a> {
    /// The table of the record.
    pub table: &'a TableName,
    /// The record's id within its table.
    pub record: &'a str,
    /// The space the change was meant for.
    pub space: &'a SpaceId,
}

impl PageBody<'_> {
    /// Appends the answer's body, with the changes as `write` writes each of `rows`.
    pub fn write<R>(
        &self,
        out: &mut Vec<u8>,
        rows: impl IntoIterator<Item = R>,
        write: impl Fn(R, &mut Vec<u8>),
    ) {
        out.extend_from_slice(b"{\"serverChanges\":[");
        put_list(out, rows, |out, row| write(row, out));
        // Clients resolve conflicts field by field; the list is there because they expect one.
        out.extend_from_slice(b"],\"conflicts\":[],\"syncedUntil\":");
        put_string(out, self.until);
        if self.has_more {
            out.extend_from_slice(b",\"hasMore\":true");
        }
        if let Some(spaces) = self.spaces {
            out.extend_from_slice(b",\"spaces\":[");
            put_list(out, spaces, |out, space| put_string(out, space.as_str()));
            out.push(b']');
        }
        if !self.unpublished.is_empty() {
            out.extend_from_slice(b",\"unpublished\":[");
            put_list(out, self.unpublished, |out, change| change.write(out));
            out.push(b']');
        }
        out.push(b'}');
    }
}

impl<'a> Unpublished<'a> {
    /// The change as one left unpublished; none where it was meant for no space.
    #[must_use]
    pub fn of(change: &'a NewChange) -> Option<Self> {
        let space = change.space.as_ref()?;
        Some(Self { table: &change.table, record: &change.record, space })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"table\":");
        put_string(out, self.table.as_str());
        out.extend_from_slice(b",\"id\":");
        put_string(out, self.record);
        out.extend_from_slice(b",\"spaceId\":");
        put_string(out, self.space.as_str());
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Changeset;

    fn text(page: PageBody<'_>, rows: &[&str]) -> String {
        let mut out = Vec::new();
        page.write(&mut out, rows, |row, out| out.extend_from_slice(row.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_said_is_absent() {
        let page = PageBody {
            until: "2026-11-22T09:36:12.123456Z",
            has_more: false,
            spaces: None,
            unpublished: &[],
        };
        assert_eq!(
            text(page, &[]),
            "{\"serverChanges\":[],\"conflicts\":[],\
             \"syncedUntil\":\"2026-11-22T09:36:12.123456Z\"}"
        );
        assert_eq!(
            text(PageBody { spaces: Some(&[]), ..page }, &["{}"]),
            "{\"serverChanges\":[{}],\"conflicts\":[],\
             \"syncedUntil\":\"2026-11-22T09:36:12.123456Z\",\"spaces\":[]}"
        );
    }

    #[test]
    fn a_full_answer() {
        let body = r#"{"changes":[
            {"table":"tasks","id":"t1","op":"insert","spaceId":"org-9"},
            {"table":"tasks","id":"t0","op":"insert"},
            {"table":"no\"tes","id":"t\n2","op":"delete","spaceId":"org-\\"}]}"#;
        let changes = Changeset::parse(body.into()).unwrap().changes;
        let unpublished: Vec<_> = changes.iter().filter_map(Unpublished::of).collect();
        let page = PageBody {
            until: "x",
            has_more: true,
            spaces: Some(&["org-1", "org-2"].map(|space| SpaceId::new(space).unwrap())),
            unpublished: &unpublished,
        };
        assert_eq!(
            text(page, &["{\"a\":1}", "{\"b\":2}"]),
            "{\"serverChanges\":[{\"a\":1},{\"b\":2}],\"conflicts\":[],\"syncedUntil\":\"x\",\
             \"hasMore\":true,\"spaces\":[\"org-1\",\"org-2\"],\"unpublished\":[\
             {\"table\":\"tasks\",\"id\":\"t1\",\"spaceId\":\"org-9\"},\
             {\"table\":\"no\\\"tes\",\"id\":\"t\\n2\",\"spaceId\":\"org-\\\\\"}]}"
        );
    }
}
