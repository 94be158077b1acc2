//! The log of the server that came before, taken over into an empty database.
//!
//! One transaction takes all rows or none. As long as it runs nobody draws a stamp and nobody is
//! told the horizon, and no node was told one before: so no cursor of this database can lie beyond
//! a row that comes in. At its end the clock stands beyond whatever cursor the old server may have
//! handed out.

mod old;
mod stamps;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use uuid::Uuid;

use self::old::{OldLog, OldRow};
use self::stamps::Restamp;
use super::connect::MARGIN;
use super::{StoreError, connect_options};
use crate::id::{BadId, Stamp};
use crate::protocol::Cursor;

/// How long a statement may take, or one side wait for the other.
const PATIENCE: Duration = Duration::from_hours(24);
/// The most rows that are stored at once, and about the most bytes.
const BATCH_ROWS: usize = 2_000;
const BATCH_BYTES: usize = 4 << 20;
/// How many users' rows are read back at once.
const USERS: usize = 500;
/// What the largest horizon ever told is where none was told.
const NEVER: Stamp = Stamp::from_micros(1);

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The old database failed.
    #[error("the old database: {0}")]
    Old(#[source] sqlx::Error),
    /// There is nothing to import from.
    #[error("the old database has no table sync_changes")]
    NoTable,
    /// It is another table.
    #[error("the old database's sync_changes has no column {column}: it is not the old server's")]
    NoColumn {
        /// What is missing.
        column: &'static str,
    },
    /// It is a table of ours.
    #[error("the old database's sync_changes is this server's already (it has a column space_at)")]
    NotOld,
    /// Row-level security would leave rows out.
    #[error(
        "the role may not read all rows of the old database's sync_changes (row-level security is \
         forced there, for its owner too): name a superuser or a role with bypassrls in --from, or \
         let the owner `alter table sync_changes no force row level security`"
    )]
    Hidden,
    /// No stamps can be made of some times.
    #[error(
        "{rows} rows of the old database have no time, or one that lies more than a day ahead: \
         correct their created_at first"
    )]
    Astray {
        /// How many.
        rows: u64,
    },
    /// A row that no client could ask for.
    #[error("the old database's row {id}: its {column} {why}; mend or remove it first")]
    Unreadable {
        /// Its id.
        id: Uuid,
        /// Where it is wrong.
        column: &'static str,
        /// How.
        why: BadId,
    },
    /// Cursors may be out that lie beyond the first row.
    #[error(
        "a node has served this database already: clients may hold cursors up to {}, and would \
         never see old rows, which begin at {}; import into a new database, before its first node \
         starts", Cursor::at(*.told), Cursor::at(*.first)
    )]
    Served {
        /// The largest horizon told.
        told: Stamp,
        /// Where the old rows begin.
        first: Stamp,
    },
    /// Some row is here.
    #[error("rows of the old database are in this one already: was it imported before?")]
    Repeated,
    /// What was written in the meantime would be missing.
    #[error(
        "the old database had {before} rows and has {after} by now: stop the old server, and \
         whoever else writes there"
    )]
    StillWriting {
        /// When it began.
        before: u64,
        /// Now.
        after: u64,
    },
    /// The proof at the end failed.
    #[error("read back, the database has {found} of {sent} rows as they were sent")]
    Different {
        /// Rows taken from the old database.
        sent: u64,
        /// Rows found.
        found: u64,
    },
    /// This database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        let unique =
            error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation);
        if unique { Self::Repeated } else { Self::Store(error.into()) }
    }
}

/// What was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// How many rows.
    pub rows: u64,
    /// Of how many users.
    pub users: usize,
    /// How many rows were moved from their time, which another had.
    pub moved: u64,
    /// The first stamp, and the last.
    pub stamps: (Stamp, Stamp),
    /// Where the clock stands.
    pub clock: Stamp,
}

/// Takes all rows of the old database at `from` into the one at `into`, which has all migrations.
/// Rows in a space enter its feed where they stand, as the old server showed them, unless they are to
/// `wait` until their author is a verified member. `progress` hears how many of how many are done.
///
/// # Errors
/// [`ImportError`], a sentence; then nothing was imported.
pub async fn import(
    from: &str,
    into: &str,
    wait: bool,
    mut progress: impl FnMut(u64, u64),
) -> Result<Imported, ImportError> {
    let mut old = OldLog::open(from).await?;
    let mut new = connect_options(into, PATIENCE)?.connect().await?;
    let mut transaction = new.begin().await?;
    let told = stand_still(&mut transaction).await?;
    if let Some(first) = old.first.filter(|first| told > NEVER && *first <= told) {
        return Err(ImportError::Served { told, first });
    }
    let total = old.rows;
    let (mut stamps, mut sent) = (Restamp::after(told), Sum::default());
    let mut users = BTreeSet::new();
    let mut rows = old.stream();
    progress(0, total);
    while let Some(batch) = next_batch(&mut rows).await? {
        let at: Vec<Stamp> = batch.iter().map(|row| stamps.next(row.at)).collect();
        store(&mut transaction, &batch, &at, wait).await?;
        for (row, at) in batch.into_iter().zip(at) {
            sent.add(row.id, at, row.space.filter(|_| !wait).map(|_| at));
            users.insert(row.user);
        }
        progress(sent.rows, total);
    }
    drop(rows);
    let (after, old_time) = old.look_again().await?;
    if (total, total) != (sent.rows, after) {
        return Err(ImportError::StillWriting { before: sent.rows, after });
    }
    let stretch = (stamps.first(), stamps.last());
    let found = read_back(&mut transaction, &users, stretch).await?;
    if found != sent {
        return Err(ImportError::Different { sent: sent.rows, found: found.rows });
    }
    let clock = set_clock(&mut transaction, stretch.1.max(old_time)).await?;
    transaction.commit().await?;
    new.close().await.ok();
    old.close().await;
    let (rows, moved) = (sent.rows, stamps.moved());
    Ok(Imported { rows, users: users.len(), moved, stamps: stretch, clock })
}

/// Rows, and what they are together, in whatever order they come.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, id: Uuid, at: Stamp, space_at: Option<Stamp>) {
        let mut hasher = DefaultHasher::new();
        (id, at, space_at).hash(&mut hasher);
        self.sum = self.sum.wrapping_add(hasher.finish());
        self.rows += 1;
    }
}

/// The next rows, as many as are stored at once.
async fn next_batch(
    rows: &mut (impl futures::Stream<Item = Result<OldRow, ImportError>> + Unpin),
) -> Result<Option<Vec<OldRow>>, ImportError> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
        let Some(row) = rows.try_next().await? else { break };
        bytes += [&row.data, &row.times, &row.actor]
            .into_iter()
            .flatten()
            .map(String::len)
            .sum::<usize>();
        batch.push(row);
    }
    Ok(Some(batch).filter(|batch| !batch.is_empty()))
}

/// Keeps everybody from drawing stamps and from being told the horizon until the transaction has
/// ended. Gives the largest horizon told so far.
async fn stand_still(connection: &mut PgConnection) -> Result<Stamp, ImportError> {
    sqlx::query(
        "select pg_advisory_xact_lock(sync_key(1309, 0)), pg_advisory_xact_lock(sync_key(1309, 1)), \
             set_config('app.sync_stamped', 'on', true)",
    )
    .execute(&mut *connection)
    .await?;
    let told = sqlx::query_scalar("select sync_time(last_value) from sync_told");
    Ok(told.fetch_one(connection).await?)
}

/// Names whom the transaction acts for from here on.
async fn act_for(connection: &mut PgConnection, users: &[&str]) -> Result<(), ImportError> {
    sqlx::query("select sync_act_for($1, '{}')").bind(users).execute(connection).await?;
    Ok(())
}

/// Stores rows under these stamps.
async fn store(
    connection: &mut PgConnection,
    rows: &[OldRow],
    stamps: &[Stamp],
    wait: bool,
) -> Result<(), ImportError> {
    fn column<'a, T>(rows: &'a [OldRow], get: impl Fn(&'a OldRow) -> T) -> Vec<T> {
        rows.iter().map(get).collect()
    }
    let mut users = column(rows, |row| row.user.as_str());
    users.sort_unstable();
    users.dedup();
    act_for(&mut *connection, &users).await?;
    sqlx::query(
        "insert into sync_changes (id, app_id, table_name, record_id, user_id, space_id, op, data, \
             field_timestamps, client_id, schema_version, actor, origin, created_at, space_at) \
         select r.id, r.app, r.tab, r.record, r.usr, r.space, r.op, r.data::json, r.times::json, \
             r.client, r.version, r.actor::json, r.origin, r.at, \
             case when r.space is not null and not $15 then r.at end \
         from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
             r(id, app, tab, record, usr, space, op, data, times, client, version, actor, origin, at)",
    )
    .bind(column(rows, |row| row.id))
    .bind(column(rows, |row| row.app.as_str()))
    .bind(column(rows, |row| row.table.as_str()))
    .bind(column(rows, |row| row.record.as_str()))
    .bind(column(rows, |row| row.user.as_str()))
    .bind(column(rows, |row| row.space.as_deref()))
    .bind(column(rows, |row| row.op.as_str()))
    .bind(column(rows, |row| row.data.as_deref()))
    .bind(column(rows, |row| row.times.as_deref()))
    .bind(column(rows, |row| row.client.as_deref()))
    .bind(column(rows, |row| row.version))
    .bind(column(rows, |row| row.actor.as_deref()))
    .bind(column(rows, |row| row.origin.as_deref()))
    .bind(stamps)
    .bind(wait)
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads what lies in this stretch of the log now, of these users.
async fn read_back(
    connection: &mut PgConnection,
    users: &BTreeSet<String>,
    (first, last): (Stamp, Stamp),
) -> Result<Sum, ImportError> {
    // For the planner here, and for that of the nodes.
    sqlx::query("analyze sync_changes").execute(&mut *connection).await?;
    let mut found = Sum::default();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    for users in users.chunks(USERS) {
        act_for(&mut *connection, users).await?;
        let mut rows = sqlx::query(
            "select c.id, c.created_at, c.space_at from unnest($1) u(id) \
             join sync_changes c on c.user_id = u.id \
             where c.created_at between $2 and $3",
        )
        .bind(users)
        .bind(first)
        .bind(last)
        .fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            found.add(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        }
    }
    Ok(found)
}

/// Sets the clock beyond all cursors of the old server: they are times of its own machine, which may
/// be ahead of the database's by as much as after a failover. It never goes back.
async fn set_clock(connection: &mut PgConnection, beyond: Stamp) -> Result<Stamp, ImportError> {
    sqlx::query(
        "select setval('sync_clock', greatest(last_value, sync_micros($1), \
             sync_micros(clock_timestamp())) + sync_micros(timestamptz 'epoch' + $2::text::interval)) \
         from sync_clock",
    )
    .bind(beyond)
    .bind(MARGIN)
    .execute(&mut *connection)
    .await?;
    Ok(sqlx::query_scalar("select sync_clock()").fetch_one(connection).await?)
}
