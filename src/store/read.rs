//! Reading: a page for one reader, or a step for all feeds that somebody here follows.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::doorbell::{FeedId, Owner};
use crate::grant::Reader;
use crate::id::{SpaceId, Stamp};
use crate::protocol::{Cursor, Op, Ranges, StoredChange, Tables};

/// What page to read.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// The tables to read.
    pub tables: &'a Tables,
    /// Everything before it was offered already.
    pub cursor: Cursor,
    /// The page ends here at the latest. Nothing is in flight up to it.
    pub bound: Stamp,
    /// Read only if the bound has reached the clock.
    pub up_to_clock: bool,
    /// Whether the reader's spaces are read too.
    pub spaces: bool,
    /// The most changes in the page.
    pub max_rows: usize,
    /// About the most bytes; a single larger change goes alone.
    pub max_bytes: usize,
}

/// A page, or why there is none.
#[derive(Debug)]
pub enum PageRead {
    /// The bound lies before the clock, which stands here: nothing was read.
    Behind(Stamp),
    /// What was read.
    Page(Page),
}

/// A page of changes, in the order of their stamps.
#[derive(Debug)]
pub struct Page {
    /// The changes.
    pub rows: Vec<ChangeRow>,
    /// Whether more lie between the last one and the bound.
    pub more: bool,
    /// The last joining of a space after the cursor.
    pub pending: Option<Stamp>,
    /// The reader's verified spaces that were read; `None` while unverified.
    pub spaces: Option<Vec<SpaceId>>,
    /// Whether those are all: none was joined after the bound.
    pub whole: bool,
}

/// A stored change, at its place in the reader's order.
#[derive(Debug, Clone)]
pub struct ChangeRow {
    /// Its place.
    pub stamp: Stamp,
    /// The table.
    pub table: String,
    id: Uuid,
    record: String,
    op: Op,
    data: Option<String>,
    field_timestamps: Option<String>,
    schema_version: i32,
    space: Option<String>,
    actor: Option<String>,
    origin: Option<String>,
}

impl ChangeRow {
    /// Writes the change as clients read it.
    pub fn write(&self, out: &mut Vec<u8>) {
        StoredChange {
            event: self.id,
            schema_version: self.schema_version,
            table: &self.table,
            record: &self.record,
            op: self.op,
            data: self.data.as_deref(),
            field_timestamps: self.field_timestamps.as_deref(),
            space: self.space.as_deref(),
            actor: self.actor.as_deref(),
            origin: self.origin.as_deref(),
        }
        .write(out);
    }

    /// About the bytes it has as clients read it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let texts = [&self.data, &self.field_timestamps, &self.actor, &self.origin];
        200 + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// The change as clients read it.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// What a step of the watermark brought to the feeds that were asked for.
#[derive(Debug)]
pub enum FeedsRead {
    /// All of it.
    Rows(Vec<FeedRow>),
    /// More than was asked for at the most.
    TooMuch,
}

/// A change, with the feeds it belongs to.
#[derive(Debug)]
pub struct FeedRow {
    /// The change; its stamp is the one in its author's feed.
    pub change: ChangeRow,
    /// The app.
    pub app: String,
    /// The author.
    pub author: String,
    /// The author's device.
    pub client: Option<String>,
    /// The space whose feed it is in, and its stamp there.
    pub published: Option<(String, Stamp)>,
}

impl Store {
    /// Reads a page in one round trip.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(
        &self,
        reader: &Reader,
        request: &PageRequest<'_>,
    ) -> Result<PageRead, StoreError> {
        let Ranges { lows, highs, names } = request.tables.ranges();
        let history = request.cursor.history_for(request.tables);
        let client = reader.client().map(ToString::to_string);
        let query = || {
            sqlx::query(
                "select stamp, id, table_name, record_id, op, data, field_timestamps, \
             schema_version, space_id, actor, origin, clock, more, pending, whole, \
             spaces \
             from sync_page($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            )
            .bind(reader.user().as_str())
            .bind(reader.app().as_str())
            .bind(client.clone())
            .bind(lows.clone())
            .bind(highs.clone())
            .bind(request.cursor.stamp)
            .bind(history.map(|(read_to, _)| read_to))
            .bind(history.map(|(_, upto)| upto))
            .bind(request.bound)
            .bind(request.up_to_clock)
            .bind(request.spaces)
            .bind(int(request.max_rows))
            .bind(bigint(request.max_bytes))
            .bind(names.clone())
        };
        let mut rows = self.read(query).await?;
        let last = rows.pop().ok_or(sqlx::Error::RowNotFound)?;
        let clock: Option<Stamp> = last.try_get("clock")?;
        if let Some(clock) = clock.filter(|clock| *clock > request.bound) {
            return Ok(PageRead::Behind(clock));
        }
        let spaces: Option<Vec<String>> = last.try_get("spaces")?;
        Ok(PageRead::Page(Page {
            more: last.try_get("more")?,
            pending: last.try_get("pending")?,
            whole: last.try_get::<Option<bool>, _>("whole")?.unwrap_or(false),
            spaces: spaces.map(|ids| ids.iter().filter_map(|id| SpaceId::new(id).ok()).collect()),
            rows: rows
                .iter()
                .map(|row| Ok(change(row, row.try_get("stamp")?)?))
                .collect::<Result<_, StoreError>>()?,
        }))
    }

    /// Reads what has come to these feeds in `(low, high]`, in one statement.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn feeds(
        &self,
        feeds: &[FeedId],
        (low, high): (Stamp, Stamp),
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<FeedsRead, StoreError> {
        let (mut users, mut user_apps, mut spaces, mut space_apps) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for FeedId { owner, app } in feeds {
            match owner {
                Owner::User(user) => {
                    users.push(user.as_str());
                    user_apps.push(app.as_str());
                }
                Owner::Space(space) => {
                    spaces.push(space.as_str());
                    space_apps.push(app.as_str());
                }
            }
        }
        let query = || {
            sqlx::query(
                "select id, app_id, table_name, record_id, user_id, op, data, field_timestamps, \
             schema_version, space_id, actor, origin, client_id, created_at, space_at \
             from sync_feeds($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(&users)
            .bind(&user_apps)
            .bind(&spaces)
            .bind(&space_apps)
            .bind(low)
            .bind(high)
            .bind(int(max_rows))
            .bind(bigint(max_bytes))
        };
        let rows = self.read(query).await?;
        let mut read = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.try_get::<Option<Uuid>, _>("id")?.is_none() {
                return Ok(FeedsRead::TooMuch);
            }
            read.push(feed_row(row)?);
        }
        Ok(FeedsRead::Rows(read))
    }
}

fn int(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn bigint(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn feed_row(row: &PgRow) -> Result<FeedRow, sqlx::Error> {
    let change = change(row, row.try_get("created_at")?)?;
    let space_at: Option<Stamp> = row.try_get("space_at")?;
    Ok(FeedRow {
        app: row.try_get("app_id")?,
        author: row.try_get("user_id")?,
        client: row.try_get("client_id")?,
        published: change.space.clone().zip(space_at),
        change,
    })
}

fn change(row: &PgRow, stamp: Stamp) -> Result<ChangeRow, sqlx::Error> {
    let op: &str = row.try_get("op")?;
    Ok(ChangeRow {
        stamp,
        table: row.try_get("table_name")?,
        id: row.try_get("id")?,
        record: row.try_get("record_id")?,
        op: Op::parse(op).ok_or_else(|| sqlx::Error::Decode(format!("op {op:?}").into()))?,
        data: row.try_get("data")?,
        field_timestamps: row.try_get("field_timestamps")?,
        schema_version: row.try_get("schema_version")?,
        space: row.try_get("space_id")?,
        actor: row.try_get("actor")?,
        origin: row.try_get("origin")?,
    })
}
