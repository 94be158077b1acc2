//! How far a stream has read each of its apps in the database, and what it tells of that.
//!
//! A stream of several apps has one cursor, the least of theirs: whoever goes on from it misses
//! nothing of any app. It reads the app that is furthest behind, so that little is read twice, and
//! between two pages takes what is new of the others.

use std::collections::BTreeSet;

use super::frames::{self, Telling};
use super::{EVENT_BYTES, Look, NotNow, Session};
use crate::feed::AppFeeds;
use crate::http::page::{ReadPage, Wanted};
use crate::http::presence::State;
use crate::http::room::Flow;
use crate::id::{AppId, SpaceId, Stamp, TableName};
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::protocol::limits::PAGE_ROWS;
use crate::protocol::wire::{Framed, spaces_event};
use crate::protocol::{Cursor, Tables};
use crate::store::{ChangeRow, StoreError};

/// How far a stream has read an app.
pub(super) struct Reading {
    pub(super) feeds: AppFeeds,
    pub(super) cursor: Cursor,
    /// Whether it is to read the database, until it has caught up with the tails.
    pub(super) behind: bool,
    /// Whether anything was read yet: the first page reaches the clock.
    begun: bool,
    /// Where the last page ended at the latest: the horizon has passed it, and so it has all joinings
    /// that the cursor tells of.
    bound: Stamp,
    /// Tables of which the history of a joined space was sent.
    joining: Option<BTreeSet<TableName>>,
}

impl Reading {
    pub(super) fn new(feeds: AppFeeds, cursor: Cursor) -> Self {
        Self { feeds, cursor, behind: true, begun: false, bound: Stamp::START, joining: None }
    }

    /// A page of it was read.
    fn take(&mut self, page: &ReadPage) {
        self.begun = true;
        self.bound = page.bound;
        self.cursor = page.until;
        self.feeds.set_spaces(page.spaces.as_deref().unwrap_or(&[]));
    }

    /// Nothing up to here is left to be sent.
    pub(super) fn reach(&mut self, until: Stamp) {
        self.cursor = Cursor::at(self.cursor.stamp.max(until));
    }

    /// It can't go on from the tails; what lies after `from` is read again.
    pub(super) fn fall_behind(&mut self, from: Option<Stamp>) {
        self.behind = true;
        if let Some(from) = from.filter(|from| *from < self.cursor.stamp) {
            self.cursor = Cursor::at(from);
        }
    }
}

/// The stream's cursor is not behind what was sent last, for it is the least of its apps'. Once
/// all have caught up, an event says so, or whoever reconnects would be sent that again.
pub(super) struct Unsaid {
    pub(super) app: AppId,
    pub(super) table: TableName,
}

impl Unsaid {
    /// Where the last change sent, of this app and table, has the cursor `until` for itself.
    pub(super) fn of(
        (app, table): (&AppId, &TableName),
        until: Stamp,
        telling: Telling,
    ) -> Option<Box<Self>> {
        let is_unsaid = telling.named && telling.least < until;
        is_unsaid.then(|| Box::new(Self { app: app.clone(), table: table.clone() }))
    }
}

impl Session {
    /// Whether something of each app was read.
    pub(super) fn begun(&self) -> bool {
        self.readings.iter().all(|reading| reading.begun)
    }

    /// Reads a page of the app that is furthest behind. Failures are waited out: the head is long
    /// sent.
    pub(super) async fn read(&mut self) -> Result<(), NotNow> {
        let behind = self.readings.iter().enumerate().filter(|(_, reading)| reading.behind);
        // First a page of each: memberships are looked up once all have begun, and no history of
        // one app is to put that off.
        let furthest = behind.min_by_key(|(_, reading)| (reading.begun, reading.cursor.stamp));
        let Some((at, reading)) = furthest else {
            self.look = Look::Tails;
            return Ok(());
        };
        self.present.does(State::CatchingUp);
        // Before the reading: what waits for room holds nothing. Only a larger change than this is
        // read in vain, where there is no room for it; once.
        let mut room = self.share.room(Flow::Events, EVENT_BYTES.max(self.needs))?;
        if let [_] = self.readings[..] {
            // This page knows what has moved by now. Of several apps, those read before would not.
            self.following.asking_members();
        }
        let page = self.read_page(reading).await.map_err(|error| {
            tracing::debug!(%error, "a stream waits for the database");
            NotNow
        })?;
        let bytes = page.rows.iter().map(ChangeRow::weight).sum();
        if bytes > room.bytes() {
            drop(room);
            self.needs = bytes;
            room = self.share.room(Flow::Events, bytes)?;
        }
        self.needs = 0;
        room.shrink(bytes);
        self.room = Some(Box::new(room));
        self.send_page(at, &page);
        if page.spaces.is_none() && self.api.members.spaces_on() {
            self.look_up_again().await;
        }
        Ok(())
    }

    async fn read_page(&self, reading: &Reading) -> Result<ReadPage, StoreError> {
        // Of several apps smaller pages, so that their one cursor moves on as soon as that of one.
        let behind = self.readings.iter().filter(|reading| reading.behind).count().max(1);
        let cursor = reading.cursor;
        let wanted = Wanted {
            max_rows: PAGE_ROWS / behind,
            max_bytes: EVENT_BYTES / behind,
            ..Wanted::new(&self.tables, cursor)
        };
        let reader = reading.feeds.reader();
        if reading.begun {
            // The cursor is our own, so the horizon has passed it, though the watermark may not.
            let bound = self.api.progress.at().max(reading.bound).max(cursor.stamp);
            self.api.page_up_to(reader, &wanted, bound).await
        } else {
            self.api.page(reader, &wanted).await
        }
    }

    /// Sends a page of an app as events.
    fn send_page(&mut self, at: usize, page: &ReadPage) {
        let others = self.readings.iter().enumerate().filter(|(other, _)| *other != at);
        let least = others.clone().map(|(_, other)| other.cursor.stamp).min();
        let telling = Telling {
            named: self.named,
            least: least.unwrap_or(Stamp::LAST),
            more: others.clone().any(|(_, other)| other.behind),
        };
        let is_news = page.told_spaces().is_some_and(|told| self.spaces.as_deref() != Some(told));
        for (place, reading) in self.readings.iter_mut().enumerate() {
            // Nothing more comes of a space that is lost: its followers may not know yet.
            reading.behind = if place == at { page.more } else { reading.behind || is_news };
        }
        let Some(reading) = self.readings.get_mut(at) else { return };
        reading.take(page);
        #[cfg(feature = "mutants")]
        if !page.more && mutants::is(Mutant::LateFollow) {
            reading.reach(self.api.feeds.published());
        }
        let app = reading.feeds.reader().app();
        if let Some(table) = page.rows.last().and_then(|row| TableName::new(&row.table).ok()) {
            self.unsaid = Unsaid::of((app, &table), page.until.stamp, telling);
        }
        self.ready = Framed::new(|out| {
            tell_spaces(&mut self.spaces, page.told_spaces(), out);
            frames::page(page, (app, &self.tables), telling, out);
            note_joining(&mut reading.joining, page, (app, &self.tables), telling, out);
        });
        let is_stuck = self.readings.iter().all(|reading| reading.behind);
        self.look = if is_stuck { Look::Database } else { Look::Tails };
        self.pace.delivered(page.rows.first().map(|row| row.stamp));
    }
}

fn tell_spaces(told: &mut Option<Vec<SpaceId>>, spaces: Option<&[SpaceId]>, out: &mut Vec<u8>) {
    if let Some(spaces) = spaces
        && told.as_deref() != Some(spaces)
    {
        spaces_event(out, spaces);
        *told = Some(spaces.to_vec());
    }
}

/// After the history of a newly joined space, each requested table gets the new cursor.
fn note_joining(
    joining: &mut Option<BTreeSet<TableName>>,
    page: &ReadPage,
    (app, tables): (&AppId, &Tables),
    telling: Telling,
    out: &mut Vec<u8>,
) {
    if page.joining {
        let sent = joining.get_or_insert_default();
        sent.extend(page.rows.iter().filter_map(|row| TableName::new(&row.table).ok()));
    }
    if page.more {
        return;
    }
    let Some(sent) = joining.take() else { return };
    match tables {
        Tables::Some(names) => frames::moved_on(app, names, page.until, telling, out),
        Tables::All => frames::moved_on(app, &sent, page.until, telling, out),
    }
}
