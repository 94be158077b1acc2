//! The answer to a push and to a pull.

use super::json::{put_list, put_string};
use crate::id::{SpaceId, TableName};

/// A page of changes and what is said along with it.
#[derive(Debug, Clone, Copy)]
pub struct PageBody<'a, C> {
    /// The changes, as [`StoredChange::write`](super::StoredChange::write) made them.
    pub changes: &'a [C],
    /// The cursor behind the page.
    pub synced_until: &'a str,
    /// Whether there is more to come.
    pub has_more: bool,
    /// The reader's spaces; none while membership is unverified.
    pub spaces: Option<&'a [SpaceId]>,
    /// What the push stored for its author alone.
    pub unpublished: &'a [Unpublished],
}

/// A change that was stored for its author alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpublished {
    /// The table of the record.
    pub table: TableName,
    /// The record's id within its table.
    pub record: String,
    /// The space the change was meant for.
    pub space: SpaceId,
}

impl<C: AsRef<[u8]>> PageBody<'_, C> {
    /// Appends the answer's body.
    pub fn write(&self, out: &mut Vec<u8>) {
        let size: usize = self.changes.iter().map(|change| change.as_ref().len() + 1).sum();
        out.reserve(size + 200);
        out.extend_from_slice(b"{\"serverChanges\":[");
        put_list(out, self.changes, |out, change| out.extend_from_slice(change.as_ref()));
        // Clients resolve conflicts field by field; the list is there because they expect one.
        out.extend_from_slice(b"],\"conflicts\":[],\"syncedUntil\":");
        put_string(out, self.synced_until);
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

impl Unpublished {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"table\":");
        put_string(out, self.table.as_str());
        out.extend_from_slice(b",\"id\":");
        put_string(out, &self.record);
        out.extend_from_slice(b",\"spaceId\":");
        put_string(out, self.space.as_str());
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<C: AsRef<[u8]>>(page: PageBody<'_, C>) -> String {
        let mut out = Vec::new();
        page.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_said_is_absent() {
        let page = PageBody::<&[u8]> {
            changes: &[],
            synced_until: "2026-11-22T09:36:12.123456Z",
            has_more: false,
            spaces: None,
            unpublished: &[],
        };
        assert_eq!(
            text(page),
            "{\"serverChanges\":[],\"conflicts\":[],\
             \"syncedUntil\":\"2026-11-22T09:36:12.123456Z\"}"
        );
        assert_eq!(
            text(PageBody { spaces: Some(&[]), ..page }),
            "{\"serverChanges\":[],\"conflicts\":[],\
             \"syncedUntil\":\"2026-11-22T09:36:12.123456Z\",\"spaces\":[]}"
        );
    }

    #[test]
    fn a_full_answer() {
        let space = SpaceId::new("org-9").unwrap();
        let unpublished = ["t1", "t\"2"].map(|record| Unpublished {
            table: TableName::new("tasks").unwrap(),
            record: record.to_owned(),
            space: space.clone(),
        });
        let page = PageBody {
            changes: &["{\"a\":1}", "{\"b\":2}"],
            synced_until: "x",
            has_more: true,
            spaces: Some(&[SpaceId::new("org-1").unwrap(), space]),
            unpublished: &unpublished,
        };
        assert_eq!(
            text(page),
            "{\"serverChanges\":[{\"a\":1},{\"b\":2}],\"conflicts\":[],\"syncedUntil\":\"x\",\
             \"hasMore\":true,\"spaces\":[\"org-1\",\"org-9\"],\"unpublished\":[\
             {\"table\":\"tasks\",\"id\":\"t1\",\"spaceId\":\"org-9\"},\
             {\"table\":\"tasks\",\"id\":\"t\\\"2\",\"spaceId\":\"org-9\"}]}"
        );
    }
}
