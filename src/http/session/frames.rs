//! The events of a stream: runs of one table, in stamp order, each with its exact cursor.

use crate::feed::Taken;
use crate::http::page::ReadPage;
use crate::id::TableName;
use crate::protocol::wire::{Framed, changes_event};
use crate::protocol::{Cursor, Tables};
use crate::store::ChangeRow;

/// An event without changes.
const NONE: &[&[u8]] = &[];

/// A page as events. The last one carries the page's cursor.
pub(super) fn page(page: &ReadPage, tables: &Tables, out: &mut Vec<u8>) {
    let mut runs = page.rows.chunk_by(|a, b| a.table == b.table).peekable();
    while let Some(run) = runs.next() {
        let [.., end] = run else { continue };
        let is_last = runs.peek().is_none();
        let until = if is_last { page.until } else { page.cursor_after(end, tables) };
        let changes: Vec<_> = run.iter().map(ChangeRow::json).collect();
        changes_event(out, &end.table, &changes, &until.to_string(), page.more);
    }
}

/// What the tails held as events. The last one carries the cursor where that ends.
pub(super) fn taken(taken: &Taken) -> Framed {
    let write = || Framed::new(|out| write_taken(taken, out));
    match &taken.entries[..] {
        // Most often, and then the same for all who follow.
        [entry] if !taken.more => entry.alone(taken.until, write),
        _ => write(),
    }
}

fn write_taken(taken: &Taken, out: &mut Vec<u8>) {
    let mut runs = taken.entries.chunk_by(|a, b| a.table == b.table).peekable();
    while let Some(run) = runs.next() {
        let [.., end] = run else { continue };
        let is_last = runs.peek().is_none();
        let until = Cursor::at(if is_last { taken.until } else { end.stamp }).to_string();
        let changes: Vec<_> = run.iter().map(|entry| &entry.json).collect();
        changes_event(out, end.table.as_str(), &changes, &until, taken.more);
    }
}

/// An event without changes for each table, so that clients with a cursor per table move on.
pub(super) fn moved_on<'a>(
    tables: impl IntoIterator<Item = &'a TableName>,
    until: Cursor,
    out: &mut Vec<u8>,
) {
    let until = until.to_string();
    for table in tables {
        changes_event(out, table.as_str(), NONE, &until, false);
    }
}
