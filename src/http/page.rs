//! Pages: what pull and push answer with, and what a stream begins with.

use super::Api;
use crate::directory::members::Freshness;
use crate::grant::Reader;
use crate::id::{SpaceId, Stamp};
use crate::news;
use crate::protocol::limits::{PAGE_BYTES, PAGE_ROWS};
use crate::protocol::{Cursor, PageEnd, Tables, page_end};
use crate::recent::Own;
use crate::store::{ChangeRow, Found, Page, PageRead, PageRequest, StoreError};

/// What to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) tables: &'a Tables,
    pub(super) cursor: Cursor,
    pub(super) max_rows: usize,
    pub(super) max_bytes: usize,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(tables: &'a Tables, cursor: Cursor) -> Self {
        Self { tables, cursor, max_rows: PAGE_ROWS, max_bytes: PAGE_BYTES }
    }
}

/// A page, with the cursors of its changes.
#[derive(Debug)]
pub(super) struct ReadPage {
    pub(super) rows: Vec<ChangeRow>,
    pub(super) more: bool,
    /// Whether it began before the joining of some space.
    pub(super) joining: bool,
    /// The spaces that were read; `None` while unverified.
    pub(super) spaces: Option<Vec<SpaceId>>,
    /// Whether those are all that the reader is a member of.
    whole: bool,
    /// Where it ends.
    pub(super) until: Cursor,
    since: Cursor,
    /// Up to where it was read.
    pub(super) bound: Stamp,
    pending: Option<Stamp>,
}

impl ReadPage {
    fn new(page: Page, wanted: &Wanted<'_>, bound: Stamp) -> Self {
        let mut read = Self {
            more: page.more,
            joining: page.pending.is_some(),
            spaces: page.spaces,
            whole: page.whole,
            until: wanted.cursor,
            since: wanted.cursor,
            bound,
            pending: page.pending,
            rows: page.rows,
        };
        read.until =
            read.cursor_at(read.rows.last().map(|row| row.stamp), read.more, wanted.tables);
        read
    }

    /// No page: the client goes on from where it was.
    pub(super) fn unread(cursor: Cursor, bound: Stamp) -> Self {
        Self {
            rows: Vec::new(),
            more: true,
            joining: false,
            spaces: None,
            whole: false,
            until: if cursor.stamp > bound { Cursor::at(bound) } else { cursor },
            since: cursor,
            bound,
            pending: None,
        }
    }

    /// The spaces that a client may be told: all of them, or nothing. It drops what it holds of
    /// the others, and one that is being joined anew is not lost.
    pub(super) fn told_spaces(&self) -> Option<&[SpaceId]> {
        self.spaces.as_deref().filter(|_| self.whole)
    }

    /// Whether the reader may be a member of this space: it is listed, or was joined too late to be.
    pub(super) fn may_be_in(&self, space: &SpaceId) -> bool {
        self.spaces.as_ref().is_some_and(|spaces| !self.whole || spaces.contains(space))
    }

    /// The cursor after a change of this page.
    pub(super) fn cursor_after(&self, row: &ChangeRow, tables: &Tables) -> Cursor {
        self.cursor_at(Some(row.stamp), true, tables)
    }

    fn cursor_at(&self, last: Option<Stamp>, more: bool, tables: &Tables) -> Cursor {
        let end = PageEnd { last, more, bound: self.bound, pending: self.pending };
        page_end(self.since, tables, end)
    }
}

impl Api {
    /// A page up to a watermark that has reached the clock as it stands now. Memberships are made
    /// fresh before.
    pub(super) async fn page(
        &self,
        reader: &Reader,
        wanted: &Wanted<'_>,
    ) -> Result<ReadPage, StoreError> {
        let fresh = self.members.refresh(reader.user()).await;
        self.page_with(reader, wanted, fresh, None).await
    }

    /// The same, where memberships were made fresh already. `own`: what the caller has just pushed,
    /// and the watermark has passed. Its stamps were given after the caller came, so a watermark
    /// beyond them has reached the clock.
    pub(super) async fn page_with(
        &self,
        reader: &Reader,
        wanted: &Wanted<'_>,
        fresh: Freshness,
        own: Option<&Own>,
    ) -> Result<ReadPage, StoreError> {
        let page = self.page_up_to_clock(reader, wanted, own).await?;
        if page.spaces.is_some() || !matches!(fresh, Freshness::Remembered(_)) {
            return Ok(page);
        }
        // Invalidated since it was found fresh, maybe through another node.
        self.members.forget(reader.user()).await;
        self.members.refresh(reader.user()).await;
        self.page_up_to_clock(reader, wanted, own).await
    }

    async fn page_up_to_clock(
        &self,
        reader: &Reader,
        wanted: &Wanted<'_>,
        own: Option<&Own>,
    ) -> Result<ReadPage, StoreError> {
        let found = match own.and_then(|own| self.news.nothing_but(own, reader, wanted.cursor)) {
            None => self.news.ask(reader, wanted.tables, wanted.cursor, own.is_some()).await,
            known => known,
        };
        match found {
            Some(Found::Nothing { bound, spaces, whole }) => {
                let page = Page { rows: Vec::new(), more: false, pending: None, spaces, whole };
                return Ok(ReadPage::new(page, wanted, bound));
            }
            Some(Found::Something(bound)) => return self.page_up_to(reader, wanted, bound).await,
            None => {}
        }
        let bound = self.progress.at();
        let up_to_clock = own.is_none();
        let request = self.request(wanted, bound, up_to_clock);
        let clock = match Box::pin(self.store.page(reader, &request)).await? {
            PageRead::Page(page) => return Ok(ReadPage::new(page, wanted, bound)),
            PageRead::Behind(clock) => clock,
        };
        let bound = news::reach(&self.progress, &self.store, clock).await?;
        self.page_up_to(reader, wanted, bound).await
    }

    /// A page up to a stamp that the horizon has passed.
    pub(super) async fn page_up_to(
        &self,
        reader: &Reader,
        wanted: &Wanted<'_>,
        bound: Stamp,
    ) -> Result<ReadPage, StoreError> {
        let request = self.request(wanted, bound, false);
        // Boxed: streams that begin together hold all of this at once.
        match Box::pin(self.store.page(reader, &request)).await? {
            PageRead::Page(page) => Ok(ReadPage::new(page, wanted, bound)),
            PageRead::Behind(_) => Err(sqlx::Error::RowNotFound.into()),
        }
    }

    fn request<'a>(&self, wanted: &Wanted<'a>, bound: Stamp, up_to_clock: bool) -> PageRequest<'a> {
        PageRequest {
            tables: wanted.tables,
            cursor: wanted.cursor,
            bound,
            up_to_clock,
            spaces: self.members.spaces_on(),
            max_rows: wanted.max_rows,
            max_bytes: wanted.max_bytes,
        }
    }
}
