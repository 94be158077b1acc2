//! Memberships: who may ask, what was answered, what follows.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::types::PgInterval;

use super::order::interval;
use super::{Store, StoreError};
use crate::id::{SpaceId, UserId};

/// Whether the auth service is to be asked about a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The kept answer may be used for so long.
    Fresh(Duration),
    /// The caller asks, and answers under this number.
    You(i64),
    /// Another node asks at this moment.
    Another,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// It was the latest question's.
    pub kept: bool,
    /// It changed the user's memberships.
    pub moved: bool,
}

impl Store {
    /// May this node ask about `user`? An answer is good for `life`; a question that has no
    /// answer after `lease` may be asked again. Also tells whether a verified answer is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ask(
        &self,
        user: &UserId,
        life: Duration,
        lease: Duration,
    ) -> Result<(Ask, bool), StoreError> {
        let query = sqlx::query("select question, fresh_for, verified from sync_ask($1, $2, $3)")
            .bind(user.as_str())
            .bind(interval(life))
            .bind(interval(lease));
        let row = self.row(query).await?;
        let (question, fresh): (Option<i64>, Option<PgInterval>) =
            (row.try_get(0)?, row.try_get(1)?);
        let ask = match (question, fresh) {
            (Some(question), _) => Ask::You(question),
            (None, Some(PgInterval { microseconds, .. })) => {
                Ask::Fresh(Duration::from_micros(u64::try_from(microseconds).unwrap_or(0)))
            }
            (None, None) => Ask::Another,
        };
        Ok((ask, row.try_get(2)?))
    }

    /// Gives a question back unanswered, so that the next caller asks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unanswered(&self, user: &UserId, question: i64) -> Result<(), StoreError> {
        let query =
            sqlx::query("select sync_unanswered($1, $2)").bind(user.as_str()).bind(question);
        self.rows(query).await.map(drop)
    }

    /// Keeps an answer and rings, unless somebody has asked or invalidated since.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn answer(
        &self,
        user: &UserId,
        question: i64,
        spaces: &[SpaceId],
    ) -> Result<Answered, StoreError> {
        let spaces: Vec<&str> = spaces.iter().map(SpaceId::as_str).collect();
        let query = sqlx::query("call sync_answer($1, $2, $3, null, null)")
            .bind(user.as_str())
            .bind(question)
            .bind(spaces);
        let row = self.row(query).await?;
        Ok(Answered { kept: row.try_get(0)?, moved: row.try_get(1)? })
    }

    /// Forgets what is known of a user, for the whole fleet, and rings.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn invalidate(&self, user: &UserId) -> Result<(), StoreError> {
        self.rows(sqlx::query("call sync_invalidate($1)").bind(user.as_str())).await.map(drop)
    }

    /// Publishes what the user wrote in spaces before membership was verified.
    ///
    /// # Errors
    /// [`StoreError`]; pages published before it stay published.
    pub async fn publish(&self, user: &UserId) -> Result<(), StoreError> {
        let query = sqlx::query("call sync_publish($1, 1000)").bind(user.as_str());
        self.rows(query).await.map(drop)
    }

    /// Users whose publishing has begun and not ended, at most 100.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn publishing(&self) -> Result<Vec<UserId>, StoreError> {
        let query = sqlx::query(
            "select user_id from (select distinct m.user_id from sync_members m where not m.published) w \
             order by random() limit 100",
        );
        let rows = self.rows(query).await?;
        let names: Result<Vec<&str>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(names?.into_iter().filter_map(|name| UserId::new(name).ok()).collect())
    }

    /// The spaces that the user is a verified member of; `None` while that is unverified.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spaces(&self, user: &UserId) -> Result<Option<Vec<SpaceId>>, StoreError> {
        let query = sqlx::query(
            "select array(select m.space_id from sync_members m where m.user_id = u.user_id \
             order by m.space_id) from sync_users u where u.user_id = $1 \
             and u.verified_at is not null",
        )
        .bind(user.as_str());
        let rows = self.rows(query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let names: Vec<String> = row.try_get(0)?;
        Ok(Some(names.iter().filter_map(|name| SpaceId::new(name).ok()).collect()))
    }
}
