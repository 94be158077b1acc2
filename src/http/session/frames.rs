//! The events of a stream: runs of one table, in stamp order, each with its exact cursor.

use crate::feed::{Entry, Taken};
use crate::http::page::ReadPage;
use crate::id::{AppId, Stamp, TableName};
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::protocol::wire::{Framed, Origin, changes_event};
use crate::protocol::{Cursor, Tables};
use crate::store::ChangeRow;

/// An event without changes.
const NONE: &[&[u8]] = &[];

/// How a stream tells what it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling {
    /// Whether events name their app: there may be others.
    pub(super) named: bool,
    /// Up to where those of the other apps were read that may hold the cursor back.
    pub(super) least: Stamp,
    /// Whether others have more to come.
    pub(super) more: bool,
}

impl Telling {
    /// The stream's cursor where the app's own is this. It says nothing of a joined space's
    /// history, of which each app has its own.
    pub(super) fn cursor(self, exact: Cursor) -> Cursor {
        #[cfg(feature = "mutants")]
        if self.named && mutants::is(Mutant::AnyCursor) {
            return Cursor::at(exact.stamp);
        }
        if self.named { Cursor::at(exact.stamp.min(self.least)) } else { exact }
    }

    fn of<'a>(self, app: &'a AppId, table: &'a str) -> Origin<'a> {
        Origin { app: self.named.then_some(app.as_str()), table }
    }
}

/// A page as events. The last one carries the page's cursor.
pub(super) fn page(
    page: &ReadPage,
    (app, tables): (&AppId, &Tables),
    telling: Telling,
    out: &mut Vec<u8>,
) {
    let more = page.more || telling.more;
    let mut runs = page.rows.chunk_by(|a, b| a.table == b.table).peekable();
    while let Some(run) = runs.next() {
        let [.., end] = run else { continue };
        let is_last = runs.peek().is_none();
        let until = if is_last { page.until } else { page.cursor_after(end, tables) };
        let until = telling.cursor(until).to_string();
        let changes: Vec<_> = run.iter().map(ChangeRow::json).collect();
        changes_event(out, telling.of(app, &end.table), &changes, &until, more);
    }
}

/// What the tails held as events. The last one carries the cursor where that ends.
pub(super) fn taken(taken: &Taken, telling: Telling) -> Framed {
    let write = || Framed::new(|out| write_taken(taken, telling, out));
    match &taken.entries[..] {
        // Most often, and then the same for all who follow the one app.
        [entry] if !taken.more && !telling.named => entry.alone(taken.until, write),
        _ => write(),
    }
}

fn write_taken(taken: &Taken, telling: Telling, out: &mut Vec<u8>) {
    let more = taken.more || telling.more;
    let together = |a: &Entry, b: &Entry| a.table == b.table && a.app == b.app;
    let mut runs = taken.entries.chunk_by(|a, b| together(a, b)).peekable();
    while let Some(run) = runs.next() {
        let [.., end] = run else { continue };
        let is_last = runs.peek().is_none();
        let until = Cursor::at(if is_last { taken.until } else { end.stamp });
        let until = telling.cursor(until).to_string();
        let changes: Vec<_> = run.iter().map(|entry| &entry.json).collect();
        changes_event(out, telling.of(&end.app, end.table.as_str()), &changes, &until, more);
    }
}

/// An event without changes for each table, so that clients with a cursor per table move on.
pub(super) fn moved_on<'a>(
    app: &AppId,
    tables: impl IntoIterator<Item = &'a TableName>,
    until: Cursor,
    telling: Telling,
    out: &mut Vec<u8>,
) {
    let until = telling.cursor(until).to_string();
    for table in tables {
        changes_event(out, telling.of(app, table.as_str()), NONE, &until, telling.more);
    }
}
