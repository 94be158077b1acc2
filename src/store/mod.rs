//! Postgres: all SQL of the node, one function a statement.
//!
//! What must hold whoever writes (stamps, the horizon, row-level security, rings) lives in the
//! database itself, in `migrations/`; the functions here call it. Each statement is one round
//! trip and its own transaction, so nothing is held while the network is waited for, and each
//! that touches `sync_changes` begins by naming whom it acts for.

mod append;
mod connect;
mod doctor;
mod import;
mod members;
mod migrate;
mod news;
mod order;
mod pool;
mod read;
mod vitals;

pub use append::{Appended, Lane, NewRow};
pub use connect::{Settings, connect_options};
pub use doctor::{Finding, Fleet, Grade, apart};
pub use import::{ImportError, Imported, import};
pub use members::{Answered, Ask};
pub use migrate::StartError;
pub use news::{Found, NewsRead, Question};
pub use read::{ChangeRow, FeedRow, FeedsRead, Page, PageRead, PageRequest};
pub use vitals::{TableVitals, Vitals};

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use deadpool::managed::PoolError;
use sqlx::postgres::{PgArguments, PgDatabaseError, PgRow, PgSeverity};
use sqlx::query::Query;
use sqlx::{Connection, Postgres};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::id::Stamp;
use crate::metrics;
use pool::{Pool, Pooled};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is shutting down, or has no room: it may be asked again later.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Box<sqlx::Error>),
    /// It did not answer in time; whether it did what was asked is unknown.
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    /// No connection became free in time.
    #[error("no connection to the database became free in time")]
    PoolBusy,
    /// It refuses what it was given, and would again.
    #[error("the database refuses the data (SQLSTATE {sqlstate})")]
    Rejected {
        /// The five characters of its error.
        sqlstate: String,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let sqlstate = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match sqlstate {
            // Of class 54, only what the insert itself reports is the data's fault: a full NOTIFY
            // queue is 54000 too, and comes after the rows are stored.
            Some(code) if is_data_error(&code) && !code.starts_with("54") => {
                Self::Rejected { sqlstate: code.into_owned() }
            }
            _ => Self::Unavailable(Box::new(error)),
        }
    }
}

/// Classes 22 (data exception), 23 (integrity), and 54 (a limit of Postgres was exceeded): it is
/// the data that is at fault, not the database.
fn is_data_error(sqlstate: &str) -> bool {
    ["22", "23", "54"].iter().any(|class| sqlstate.starts_with(class))
}

/// Whether it was the connection that failed: it is gone, or the server is ending it.
fn is_broken(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error().and_then(|error| error.try_downcast_ref());
    refused.is_none_or(|error: &PgDatabaseError| {
        matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
    })
}

/// The database, as the node uses it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
    /// What the pool is called in metrics.
    name: &'static str,
    /// How long a statement waits for a connection.
    acquire: Duration,
    /// A statement that has no answer after this is given up, and its connection with it.
    patience: Duration,
    /// The horizon as it was asked for last, and when.
    asked_horizon: Arc<Mutex<Option<(Instant, Stamp)>>>,
    /// The last stamp of which the node has heard, in microseconds.
    heard: Arc<AtomicI64>,
}

impl Store {
    /// Connections open, and how many of them wait for work.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }

    /// How long a statement may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Closes all connections; those in use when they come back.
    pub async fn close(&self) {
        let idle = self.pool.retain(|_, _| false).removed;
        self.pool.close();
        for connection in idle {
            // At the worst the server notices that it is gone.
            connection.close().await.ok();
        }
    }

    async fn rows(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut connection = Some(self.acquire().await?);
        self.rows_on(&mut connection, query).await
    }

    /// Runs a statement that may be run twice. After a failover the pool is full of connections that
    /// are dead and don't know it: none of them is what the caller fails for.
    async fn read<'q>(
        &self,
        query: impl Fn() -> Query<'q, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut tries = self.pool.status().size + 1;
        loop {
            let mut connection = Some(self.acquire().await?);
            tries -= 1;
            match self.rows_on(&mut connection, query()).await {
                Err(StoreError::Unavailable(error)) if tries > 0 && is_broken(&error) => {}
                result => return result,
            }
        }
    }

    async fn row(&self, query: Query<'_, Postgres, PgArguments>) -> Result<PgRow, StoreError> {
        self.rows(query).await?.pop().ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    async fn acquire(&self) -> Result<Pooled, StoreError> {
        let begun = Instant::now();
        let acquired = timeout(self.acquire, self.pool.get()).await;
        metrics::pool_wait(self.name, begun.elapsed());
        match acquired {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(PoolError::Backend(error))) => Err(error.into()),
            Ok(Err(_)) => Err(sqlx::Error::PoolClosed.into()),
            Err(_) => {
                metrics::pool_acquire_timeout();
                Err(StoreError::PoolBusy)
            }
        }
    }

    /// Runs a statement on a connection. One that gave no answer, or broke, is closed: what is
    /// left in it can't be trusted.
    async fn rows_on(
        &self,
        connection: &mut Option<Pooled>,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut busy = Busy(connection.take());
        let Some(conn) = &mut busy.0 else { return Err(StoreError::PoolBusy) };
        let result = match timeout(self.patience, query.fetch_all(&mut **conn)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) if !is_broken(&error) => Err(error.into()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                // It died without a word, and so may have all that have waited for longer.
                self.pool.retain(|_, used| used.last_used() < self.patience);
                return Err(StoreError::Timeout(self.patience));
            }
        };
        *connection = busy.0.take();
        result
    }
}

/// A connection under a statement. Dropped before its answer it is closed, not handed back: that
/// answer would be taken for another's.
struct Busy(Option<Pooled>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(unanswered) = self.0.take() {
            drop(Pooled::take(unanswered));
        }
    }
}
