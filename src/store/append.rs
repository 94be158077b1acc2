//! Writing: a batch of changes in one call.

use sqlx::Row;
use uuid::Uuid;

use super::pool::Pooled;
use super::{Store, StoreError, is_data_error};
use crate::grant::Writer;
use crate::id::Stamp;
use crate::protocol::NewChange;

/// A change to store, with whose it is.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    /// The caller who pushed it.
    pub writer: &'a Writer,
    /// Its event id: the client's, or assigned before the first attempt.
    pub event: Uuid,
    /// This event id may have been stored before.
    pub repeatable: bool,
    /// What changed.
    pub change: &'a NewChange,
}

/// A batch that was stored, and rung.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The last stamp of its run.
    pub last: Stamp,
    /// The places in the batch, in rising order, of changes stored for their author alone.
    pub unpublished: Vec<usize>,
    /// How many of its changes were not stored before.
    pub new: usize,
}

/// One lane of the writer: keeps its connection from batch to batch.
#[derive(Debug)]
pub struct Lane {
    store: Store,
    connection: Option<Pooled>,
}

impl Store {
    /// A lane for one batch at a time.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane { store: self.clone(), connection: None }
    }
}

impl Lane {
    /// Stores the batch in one transaction, or nothing of it, and rings.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] where some change of the batch can't be stored; anything else
    /// leaves open whether it was.
    pub async fn append(&mut self, rows: &[NewRow<'_>]) -> Result<Appended, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.store.acquire().await?);
        }
        let column = |get: fn(&NewRow<'_>) -> Option<String>| -> Vec<Option<String>> {
            rows.iter().map(get).collect()
        };
        let text =
            |get: fn(&NewRow<'_>) -> String| -> Vec<String> { rows.iter().map(get).collect() };
        let query = sqlx::query(
            "call sync_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
             null, null, null, null)",
        )
        .bind(rows.iter().map(|r| r.event).collect::<Vec<_>>())
        .bind(text(|r| r.writer.reader().user().to_string()))
        .bind(text(|r| r.writer.reader().app().to_string()))
        .bind(text(|r| r.change.table.to_string()))
        .bind(text(|r| r.change.record.clone()))
        .bind(column(|r| r.change.space.as_ref().map(ToString::to_string)))
        .bind(text(|r| r.change.op.as_str().to_owned()))
        .bind(column(|r| r.change.data.clone()))
        .bind(column(|r| r.change.field_timestamps.clone()))
        .bind(column(|r| r.writer.reader().client().map(ToString::to_string)))
        .bind(rows.iter().map(|r| r.change.schema_version).collect::<Vec<_>>())
        .bind(column(|r| r.change.actor.clone()))
        .bind(column(|r| r.change.origin.clone()))
        .bind(rows.iter().map(|r| r.repeatable).collect::<Vec<_>>());
        let row = self.store.rows_on(&mut self.connection, query).await?.pop();
        let row = row.ok_or(sqlx::Error::RowNotFound)?;
        let (last, unpublished, failure): (Stamp, Option<Vec<i32>>, Option<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        match failure {
            None => Ok(Appended {
                last,
                unpublished: places(unpublished.unwrap_or_default()),
                new: usize::try_from(row.try_get::<i32, _>(3)?).unwrap_or(0),
            }),
            Some(sqlstate) if is_data_error(&sqlstate) => Err(StoreError::Rejected { sqlstate }),
            Some(sqlstate) => Err(sqlx::Error::Protocol(format!("SQLSTATE {sqlstate}")).into()),
        }
    }
}

/// Postgres counts from one.
fn places(ordinals: Vec<i32>) -> Vec<usize> {
    ordinals.into_iter().filter_map(|n| usize::try_from(n - 1).ok()).collect()
}
