//! The events of a stream: runs of one table, in stamp order, each with its exact cursor.

use crate::feed::{Entry, Taken};
use crate::http::page::ReadPage;
use crate::id::{AppId, Stamp, TableName};
use crate::protocol::wire::{Framed, Origin, changes_event};
use crate::protocol::{Cursor, Tables};
use crate::store::ChangeRow;

/// An event without changes.
const NONE: &[&[u8]] = &[];

/// How a page of an app is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling<'a> {
    /// The app, where events name it: the stream may have others.
    pub(super) app: Option<&'a AppId>,
    /// Up to where the others were read.
    pub(super) least: Stamp,
}

impl Telling<'_> {
    /// The stream's cursor where the app's own is this. It says nothing of a joined space's
    /// history, of which each app has its own.
    fn cursor(self, exact: Cursor) -> Cursor {
        if self.app.is_none() { exact } else { Cursor::at(exact.stamp.min(self.least)) }
    }
}

/// A page as events. The last one carries the page's cursor.
pub(super) fn page(page: &ReadPage, tables: &Tables, telling: Telling<'_>, out: &mut Vec<u8>) {
    let mut runs = page.rows.chunk_by(|a, b| a.table == b.table).peekable();
    while let Some(run) = runs.next() {
        let [.., end] = run else { continue };
        let is_last = runs.peek().is_none();
        let until = if is_last { page.until } else { page.cursor_after(end, tables) };
        let until = telling.cursor(until).to_string();
        let changes: Vec<_> = run.iter().map(ChangeRow::json).collect();
        let of = Origin { app: telling.app.map(AppId::as_str), table: &end.table };
        changes_event(out, of, &changes, &until, page.more);
    }
}

/// What the tails held as events. The last one carries the cursor where that ends.
pub(super) fn taken(taken: &Taken, named: bool) -> Framed {
    let write = || Framed::new(|out| write_taken(taken, named, out));
    match &taken.entries[..] {
        // Most often, and then the same for all who follow the one app.
        [entry] if !taken.more && !named => entry.alone(taken.until, write),
        _ => write(),
    }
}

fn write_taken(taken: &Taken, named: bool, out: &mut Vec<u8>) {
    let together = |a: &Entry, b: &Entry| a.table == b.table && a.app == b.app;
    let mut runs = taken.entries.chunk_by(|a, b| together(a, b)).peekable();
    while let Some(run) = runs.next() {
        let [.., end] = run else { continue };
        let is_last = runs.peek().is_none();
        let until = Cursor::at(if is_last { taken.until } else { end.stamp }).to_string();
        let changes: Vec<_> = run.iter().map(|entry| &entry.json).collect();
        let of = Origin { app: named.then_some(end.app.as_str()), table: end.table.as_str() };
        changes_event(out, of, &changes, &until, taken.more);
    }
}

/// An event without changes for each table, so that clients with a cursor per table move on.
pub(super) fn moved_on<'a>(
    tables: impl IntoIterator<Item = &'a TableName>,
    until: Cursor,
    telling: Telling<'_>,
    out: &mut Vec<u8>,
) {
    let until = telling.cursor(until).to_string();
    for table in tables {
        let of = Origin { app: telling.app.map(AppId::as_str), table: table.as_str() };
        changes_event(out, of, NONE, &until, false);
    }
}
