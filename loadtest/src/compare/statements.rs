//! What a database was asked, counted by itself.

use sqlx::{Connection, PgConnection};
use tokio::time::{Duration, Instant, sleep};

use crate::Outcome;
use crate::fleet::Ground;

use super::baseline::connect;

/// Connections of a node that was killed are gone within this.
const GONE: Duration = Duration::from_secs(10);

/// The counts of a database, asked as the superuser.
pub(super) struct Statements(PgConnection);

impl Statements {
    /// Of a database of the ground.
    pub(super) async fn of(ground: &Ground, database: &str) -> Outcome<Self> {
        let mut connection = connect(&ground.admin_url(database)).await?;
        sqlx::query("create extension if not exists pg_stat_statements")
            .execute(&mut connection)
            .await?;
        Ok(Self(connection))
    }

    /// Counts statements from zero.
    pub(super) async fn reset(&mut self) -> Outcome {
        sqlx::query("select pg_stat_statements_reset()").execute(&mut self.0).await?;
        Ok(())
    }

    /// How often a function was called by a statement of a client, here.
    pub(super) async fn calls(&mut self, function: &str) -> Outcome<i64> {
        let query = "select coalesce(sum(calls), 0)::bigint from pg_stat_statements \
            where dbid = (select oid from pg_database where datname = current_database()) \
              and strpos(query, $1) > 0";
        Ok(sqlx::query_scalar(query).bind(format!("{function}(")).fetch_one(&mut self.0).await?)
    }

    /// How many statements were run by those that were run at least so often: without what a node
    /// does besides.
    pub(super) async fn frequent(&mut self, least: i64) -> Outcome<i64> {
        let query = "select coalesce(sum(calls), 0)::bigint from pg_stat_statements \
            where dbid = (select oid from pg_database where datname = current_database()) \
              and calls >= $1";
        Ok(sqlx::query_scalar(query).bind(least).fetch_one(&mut self.0).await?)
    }

    /// Scans of the log's indexes so far, and of all others. Sessions tell of theirs when they end.
    pub(super) async fn index_scans(&mut self) -> Outcome<(i64, i64)> {
        let query = "select \
            coalesce(sum(idx_scan) filter (where relname = 'sync_changes'), 0)::bigint, \
            coalesce(sum(idx_scan) filter (where relname <> 'sync_changes'), 0)::bigint \
            from pg_stat_user_indexes where relname like 'sync_%'";
        sqlx::query("select pg_stat_clear_snapshot()").execute(&mut self.0).await?;
        Ok(sqlx::query_as(query).fetch_one(&mut self.0).await?)
    }

    /// Waits until nobody else is connected.
    pub(super) async fn alone(&mut self) -> Outcome {
        let query = "select count(*) from pg_stat_activity \
            where datname = current_database() and pid <> pg_backend_pid() \
              and backend_type = 'client backend'";
        let deadline = Instant::now() + GONE;
        while Instant::now() < deadline {
            let others: i64 = sqlx::query_scalar(query).fetch_one(&mut self.0).await?;
            if others == 0 {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err("connections of a node that was stopped stay open".into())
    }

    /// Ends the connection.
    pub(super) async fn close(self) -> Outcome {
        Ok(self.0.close().await?)
    }
}
