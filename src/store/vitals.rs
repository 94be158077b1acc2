//! How the database server is, for the metrics: one short statement, now and then.

use sqlx::Row;

use super::{Store, StoreError};

/// How the server is.
#[derive(Debug, Clone, PartialEq)]
pub struct Vitals {
    /// How full its queue of notifications is, from 0 to 1.
    pub notification_queue: f64,
    /// Connections of all programs.
    pub connections: f64,
    /// Connections that it allows.
    pub max_connections: f64,
    /// The tables that were asked about.
    pub tables: Vec<TableVitals>,
}

/// How a table is.
#[derive(Debug, Clone, PartialEq)]
pub struct TableVitals {
    /// Its name.
    pub name: String,
    /// Its rows, as the server estimates.
    pub live: f64,
    /// Its rows that vacuum has yet to clear away.
    pub dead: f64,
    /// Its bytes on disk, with those of its indexes.
    pub bytes: f64,
}

impl Store {
    /// How the server and these tables are. What it takes does not grow with them: counters that
    /// the server keeps anyway, and the sizes of files.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn vitals(&self, tables: &[&str]) -> Result<Vitals, StoreError> {
        let query = sqlx::query(
            "select s.relname::text, s.n_live_tup::float8, s.n_dead_tup::float8, \
                    pg_total_relation_size(s.relid)::float8, \
                    pg_notification_queue_usage(), \
                    (select sum(numbackends)::float8 from pg_stat_database), \
                    current_setting('max_connections')::float8 \
             from pg_stat_user_tables s where s.relid = any($1::text[]::regclass[])",
        );
        let rows = self.rows(query.bind(tables)).await?;
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let table = |row: &sqlx::postgres::PgRow| {
            let (name, live, dead) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(TableVitals { name, live, dead, bytes: row.try_get(3)? })
        };
        Ok(Vitals {
            notification_queue: first.try_get(4)?,
            connections: first.try_get(5)?,
            max_connections: first.try_get(6)?,
            tables: rows.iter().map(table).collect::<Result<_, sqlx::Error>>()?,
        })
    }
}
