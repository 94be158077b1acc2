//! Before anything else: may this role serve, is this our schema, is it up to date?

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{ConnectOptions, Connection, PgConnection, Row, SqlSafeStr};
use tokio::time::timeout;

use super::{Store, StoreError, connect_options};

/// Newer migrations than ours are fine: in a rolling upgrade old nodes run beside new ones.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migrations = FILES.map(|(version, description, sql)| {
        let sql = sql.into_sql_str();
        Migration::new(version, description.into(), MigrationType::Simple, sql, false)
    });
    let mut migrations = Migrator::with_migrations(migrations.into());
    migrations.set_ignore_missing(true);
    migrations
});

/// What `migrations/` holds. (`sqlx::migrate!` would look itself, but for its sake all of sqlx is
/// built a second time, for the compiler.)
const FILES: [(i64, &str, &str); 6] = [
    (1, "tables", include_str!("../../migrations/0001_tables.sql")),
    (2, "order", include_str!("../../migrations/0002_order.sql")),
    (3, "append", include_str!("../../migrations/0003_append.sql")),
    (4, "members", include_str!("../../migrations/0004_members.sql")),
    (5, "reads", include_str!("../../migrations/0005_reads.sql")),
    (6, "join anew", include_str!("../../migrations/0006_join_anew.sql")),
];

/// The oldest Postgres we work on, as its `server_version_num`.
const OLDEST: i32 = 140_000;

/// How long a migration may take, and how long others wait for it.
const PATIENCE: Duration = Duration::from_mins(10);

/// How long connecting may take, and a look at the database. The server's own limits are no help
/// where it died without a word.
const LOOK: Duration = Duration::from_secs(20);

/// Why the node does not start on this database.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Row-level security would not hold.
    #[error(
        "the role \"{role}\" bypasses row-level security, so the node refuses to start with it: \
         create an ordinary one with `create role mana_sync login password '…' nosuperuser \
         nobypassrls; create database mana_sync owner mana_sync;` and name it in DATABASE_URL"
    )]
    BypassesRowSecurity {
        /// The role of the connection.
        role: String,
    },
    /// The table of the server that came before.
    #[error(
        "the table sync_changes in this database is the old server's (it has no column \
         space_at); it was left untouched: give the node a database of its own, and take the changes over with \
         `mana-sync import`"
    )]
    OldTable,
    /// Requests would go to one database, and notifications come from another.
    #[error("DATABASE_URL and LISTEN_DATABASE_URL lead to different databases")]
    TwoDatabases,
    /// A Postgres that lacks what we need.
    #[error("Postgres {version} is too old: 14 or later is needed")]
    TooOld {
        /// Its version.
        version: String,
    },
    /// A migration failed.
    #[error("the database could not be migrated: {0}")]
    Migrate(#[from] MigrateError),
    /// The database can't be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for StartError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Looks at the database and runs the migrations that are missing, one node at a time. `url`
    /// must lead to Postgres itself or a session pooler.
    ///
    /// # Errors
    /// [`StartError`], each a sentence that says what to do.
    pub async fn prepare(url: &str) -> Result<(), StartError> {
        on(url, LOOK + PATIENCE, async |connection| prepare(connection).await).await
    }

    /// Looks whether `url`, for requests, leads as an ordinary role to the database that `prepared`
    /// leads to.
    ///
    /// # Errors
    /// [`StartError`], each a sentence that says what to do.
    pub async fn vet(url: &str, prepared: &str) -> Result<(), StartError> {
        if url == prepared {
            return Ok(());
        }
        on(url, LOOK, async |connection| vet(connection).await).await?;
        let here = on(url, LOOK, async |connection| which_database(connection).await).await?;
        let there = on(prepared, LOOK, async |connection| which_database(connection).await).await?;
        if here == there { Ok(()) } else { Err(StartError::TwoDatabases) }
    }

    /// Whether the schema is as new as this node's migrations.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_current(&self) -> Result<bool, StoreError> {
        let query = sqlx::query("select version from _sqlx_migrations where success");
        let applied: Vec<i64> =
            self.rows(query).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(MIGRATIONS.iter().all(|ours| applied.contains(&ours.version)))
    }
}

/// Does something on a connection of its own, within a time.
async fn on<T>(
    url: &str,
    time: Duration,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StartError>,
) -> Result<T, StartError> {
    let options = connect_options(url, PATIENCE)?;
    let mut connection = within(LOOK, async { Ok(options.connect().await?) }).await?;
    let result = within(time, work(&mut connection)).await;
    timeout(LOOK, connection.close()).await.ok();
    result
}

async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, StartError>>,
) -> Result<T, StartError> {
    timeout(time, work).await.unwrap_or(Err(StoreError::Timeout(time).into()))
}

/// The cluster, and the database in it.
async fn which_database(connection: &mut PgConnection) -> Result<(i64, String), StartError> {
    let row =
        sqlx::query("select system_identifier, current_database()::text from pg_control_system()")
            .fetch_one(connection)
            .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Whether this role may serve on this Postgres.
pub(super) async fn vet(connection: &mut PgConnection) -> Result<(), StartError> {
    // Told as text, without a prepared statement: a pooler in the way is to be told of by name.
    let role = sqlx::raw_sql(
        "select rolname::text, rolsuper or rolbypassrls, \
                current_setting('server_version_num')::integer, \
                current_setting('server_version') \
         from pg_roles where rolname = current_user",
    )
    .fetch_one(&mut *connection)
    .await?;
    if role.try_get::<i32, _>(2)? < OLDEST {
        return Err(StartError::TooOld { version: role.try_get(3)? });
    }
    if role.try_get(1)? {
        return Err(StartError::BypassesRowSecurity { role: role.try_get(0)? });
    }
    Ok(())
}

/// Whether all migrations have run.
pub(super) async fn is_prepared(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let begun = sqlx::raw_sql("select to_regclass('_sqlx_migrations') is not null");
    if !begun.fetch_one(&mut *connection).await?.try_get(0)? {
        return Ok(false);
    }
    let applied = sqlx::raw_sql("select version from _sqlx_migrations where success");
    let applied = applied.fetch_all(connection).await?;
    let applied: Vec<i64> = applied.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(MIGRATIONS.iter().all(|ours| applied.contains(&ours.version)))
}

async fn prepare(connection: &mut PgConnection) -> Result<(), StartError> {
    within(LOOK, vet(connection)).await?;
    let old: bool = sqlx::query_scalar(
        "select to_regclass('sync_changes') is not null and not exists ( \
             select from pg_attribute where attrelid = to_regclass('sync_changes') \
             and attname = 'space_at')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if old {
        return Err(StartError::OldTable);
    }
    MIGRATIONS.run(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_migration() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut found: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| {
                let path = file.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        found.sort();
        let ours = FILES.map(|(number, words, sql)| {
            (format!("{number:04}_{}", words.replace(' ', "_")), sql.to_owned())
        });
        assert_eq!(found, ours);
    }
}
