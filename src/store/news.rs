//! Is there anything new, for many readers at once?

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Store, StoreError};
use crate::grant::Reader;
use crate::id::{ClientId, SpaceId, Stamp};
use crate::protocol::{Ranges, Tables};

/// Whether there is anything for a reader after a stamp, in one range of tables.
#[derive(Debug)]
pub struct Question {
    /// Who asks.
    pub reader: Reader,
    /// After which stamp.
    pub since: Stamp,
    low: String,
    high: String,
}

/// What was found for a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing up to this bound.
    Nothing {
        /// Everything up to here was offered.
        bound: Stamp,
        /// The reader's verified spaces; `None` while unverified.
        spaces: Option<Vec<SpaceId>>,
        /// Whether those are all: none was joined after the bound.
        whole: bool,
    },
    /// Something up to this bound: it is to be read.
    Something(Stamp),
}

/// What was found for each question, or why nothing was looked for.
#[derive(Debug)]
pub enum NewsRead {
    /// The bound lies before the clock, which stands here.
    Behind(Stamp),
    /// In the order of the questions.
    Found(Vec<Found>),
}

impl Question {
    /// `None` where the tables are no single range.
    #[must_use]
    pub fn new(reader: &Reader, tables: &Tables, since: Stamp) -> Option<Self> {
        let Ranges { mut lows, mut highs, names: None } = tables.ranges() else { return None };
        let (low, high) = (lows.pop()?, highs.pop()?);
        lows.is_empty().then(|| Self { reader: reader.clone(), low, high, since })
    }
}

impl Store {
    /// Looks for all of them in one statement.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn news(
        &self,
        questions: &[Question],
        bound: Stamp,
        up_to_clock: bool,
        spaces: bool,
    ) -> Result<NewsRead, StoreError> {
        let all = |get: fn(&Question) -> &str| -> Vec<&str> { questions.iter().map(get).collect() };
        let clients: Vec<Option<&str>> =
            questions.iter().map(|q| q.reader.client().map(ClientId::as_str)).collect();
        let query = || {
            sqlx::query(
                "select clock, news, whole, spaces from sync_news($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(all(|q| q.reader.user().as_str()))
            .bind(all(|q| q.reader.app().as_str()))
            .bind(&clients)
            .bind(all(|q| &q.low))
            .bind(all(|q| &q.high))
            .bind(questions.iter().map(|q| q.since).collect::<Vec<_>>())
            .bind(bound)
            .bind(up_to_clock)
            .bind(spaces)
        };
        let rows = self.read(query).await?;
        if let Some(clock) = rows.first().map(|row| row.try_get("clock")).transpose()?.flatten() {
            return Ok(NewsRead::Behind(clock));
        }
        if rows.len() != questions.len() {
            return Err(sqlx::Error::RowNotFound.into());
        }
        rows.iter().map(|row| Ok(found(row, bound)?)).collect::<Result<_, _>>().map(NewsRead::Found)
    }
}

fn found(row: &PgRow, bound: Stamp) -> Result<Found, sqlx::Error> {
    if row.try_get("news")? {
        return Ok(Found::Something(bound));
    }
    let spaces: Option<Vec<String>> = row.try_get("spaces")?;
    Ok(Found::Nothing {
        bound,
        spaces: spaces.map(|ids| ids.iter().filter_map(|id| SpaceId::new(id).ok()).collect()),
        whole: row.try_get("whole")?,
    })
}
