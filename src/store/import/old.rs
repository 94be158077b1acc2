//! The log of the old server, read from its own database.

use std::str::FromStr;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use uuid::Uuid;

use super::ImportError;
use crate::id::{AppId, BadId, ClientId, SpaceId, Stamp, TableName, UserId};
use crate::protocol::PERSONAL;

/// The columns that every version of the old table has, and those that came later.
const COLUMNS: [&str; 10] = [
    "id",
    "app_id",
    "table_name",
    "record_id",
    "user_id",
    "op",
    "data",
    "field_timestamps",
    "client_id",
    "created_at",
];
const LATER: [(&str, &str); 4] = [
    ("schema_version", "greatest(schema_version, 1)::integer"),
    ("space_id", "space_id::text"),
    ("actor", "nullif(actor::text, 'null')"),
    ("origin", "origin::text"),
];

/// A row of the old table, as the new one can hold it.
#[derive(Debug)]
pub(super) struct OldRow {
    pub(super) id: Uuid,
    pub(super) app: String,
    pub(super) table: String,
    pub(super) record: String,
    pub(super) user: String,
    pub(super) op: String,
    pub(super) data: Option<String>,
    pub(super) times: Option<String>,
    pub(super) client: Option<String>,
    pub(super) at: Stamp,
    pub(super) version: i32,
    pub(super) space: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) origin: Option<String>,
}

/// The old table, in one snapshot.
pub(super) struct OldLog {
    connection: PgConnection,
    select: String,
    /// How many rows it has.
    pub(super) rows: u64,
    /// The time of the first one.
    pub(super) first: Option<Stamp>,
}

impl OldLog {
    /// Looks at the old table, and begins to read it.
    pub(super) async fn open(url: &str) -> Result<Self, ImportError> {
        // Where row-level security would leave rows out, reading is to fail, not to be short of them.
        let options = PgConnectOptions::from_str(url).map_err(ImportError::Old)?;
        let options = options.application_name("mana-sync import").options([
            ("row_security", "off"),
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("timezone", "UTC"),
        ]);
        let mut connection = options.connect().await.map_err(ImportError::Old)?;
        let select = select(&mut connection).await?;
        sqlx::query("begin isolation level repeatable read read only")
            .execute(&mut connection)
            .await
            .map_err(ImportError::Old)?;
        let row = sqlx::query(
            "select count(*), min(greatest(created_at::timestamptz, 'epoch')), \
                 count(*) filter (where created_at is null \
                     or created_at > clock_timestamp() + interval '1 day') \
             from sync_changes",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(refused)?;
        let astray = number(&row, 2)?;
        if astray > 0 {
            return Err(ImportError::Astray { rows: astray });
        }
        let first = row.try_get(1).map_err(ImportError::Old)?;
        Ok(Self { rows: number(&row, 0)?, first, connection, select })
    }

    /// All rows in the order in which the old server gave them out: by their times, and equal ones as
    /// they lie in the table, which is how its indexes hold them.
    pub(super) fn stream(&mut self) -> BoxStream<'_, Result<OldRow, ImportError>> {
        sqlx::query(AssertSqlSafe(self.select.clone()))
            .fetch(&mut self.connection)
            .map_err(refused)
            .and_then(|row| std::future::ready(old_row(&row)))
            .boxed()
    }

    /// How many rows there are by now, and the time there.
    pub(super) async fn look_again(&mut self) -> Result<(u64, Stamp), ImportError> {
        sqlx::query("commit").execute(&mut self.connection).await.map_err(ImportError::Old)?;
        let row = sqlx::query("select count(*), clock_timestamp() from sync_changes")
            .fetch_one(&mut self.connection)
            .await
            .map_err(refused)?;
        Ok((number(&row, 0)?, row.try_get(1).map_err(ImportError::Old)?))
    }

    pub(super) async fn close(self) {
        self.connection.close().await.ok();
    }
}

/// The statement that reads the table as this version of the old server left it.
async fn select(connection: &mut PgConnection) -> Result<String, ImportError> {
    let columns: Vec<String> = sqlx::query_scalar(
        "select attname::text from pg_attribute \
         where attrelid = to_regclass('sync_changes') and attnum > 0 and not attisdropped",
    )
    .fetch_all(connection)
    .await
    .map_err(ImportError::Old)?;
    if columns.is_empty() {
        return Err(ImportError::NoTable);
    }
    let has = |name: &str| columns.iter().any(|column| column == name);
    let missing = COLUMNS.into_iter().find(|name| !has(name));
    if let Some(column) = missing {
        return Err(ImportError::NoColumn { column });
    }
    if has("space_at") {
        return Err(ImportError::NotOld);
    }
    let later: Vec<String> = LATER
        .iter()
        .map(|(name, value)| format!("{} as {name}", if has(name) { value } else { "null" }))
        .collect();
    Ok(format!(
        "select id, app_id::text, table_name::text, record_id::text, user_id::text, op::text, \
             nullif(data::text, 'null') as data, \
             nullif(field_timestamps::text, 'null') as field_timestamps, \
             client_id::text, greatest(created_at::timestamptz, 'epoch') as at, {} \
         from sync_changes order by created_at, ctid",
        later.join(", ")
    ))
}

/// Why the old database does not let its rows be read.
fn refused(error: sqlx::Error) -> ImportError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    if code.as_deref() == Some("42501") { ImportError::Hidden } else { ImportError::Old(error) }
}

fn number(row: &PgRow, at: usize) -> Result<u64, ImportError> {
    let count: i64 = row.try_get(at).map_err(ImportError::Old)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn old_row(row: &PgRow) -> Result<OldRow, ImportError> {
    let read = read(row).map_err(ImportError::Old)?;
    // What no client could ask for would lie in the log unseen.
    let fits = |column, check: Result<(), BadId>| {
        check.map_err(|why| ImportError::Unreadable { id: read.id, column, why })
    };
    fits("app_id", AppId::new(&read.app).map(drop))?;
    fits("table_name", TableName::new(&read.table).map(drop))?;
    fits("user_id", UserId::new(&read.user).map(drop))?;
    Ok(read)
}

fn read(row: &PgRow) -> Result<OldRow, sqlx::Error> {
    let client: Option<String> = row.try_get("client_id")?;
    let space: Option<String> = row.try_get("space_id")?;
    Ok(OldRow {
        id: row.try_get("id")?,
        app: row.try_get("app_id")?,
        table: row.try_get("table_name")?,
        record: row.try_get("record_id")?,
        user: row.try_get("user_id")?,
        op: row.try_get("op")?,
        data: row.try_get("data")?,
        times: row.try_get("field_timestamps")?,
        // No client can call itself so, and none is to be spared this row for it.
        client: client.filter(|client| ClientId::new(client).is_ok()),
        at: row.try_get("at")?,
        version: row.try_get::<Option<i32>, _>("schema_version")?.unwrap_or(1),
        space: space.filter(|space| SpaceId::new(space).is_ok() && !space.starts_with(PERSONAL)),
        actor: row.try_get("actor")?,
        origin: row.try_get("origin")?,
    })
}
