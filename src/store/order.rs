//! The clock, the horizon, the heartbeat, and what moved.

use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::postgres::types::PgInterval;
use tokio::time::timeout;

use super::{Store, StoreError};
use crate::doorbell::{FeedId, Followed, Move, Owner};
use crate::id::{AppId, SpaceId, Stamp, TableName, UserId};
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};

impl Store {
    /// The last stamp before which nothing is in flight.
    ///
    /// # Errors
    /// [`StoreError`], also from a standby, which can't know it.
    pub async fn horizon(&self) -> Result<Stamp, StoreError> {
        #[cfg(feature = "mutants")]
        if mutants::is(Mutant::PlainClock) {
            return self.clock().await;
        }
        Ok(self.row(sqlx::query("select sync_horizon()")).await?.try_get(0)?)
    }

    /// The same, for many who ask at once: an answer serves all who came before its question.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn shared_horizon(&self) -> Result<Stamp, StoreError> {
        let came = Instant::now();
        // Failures are not shared: nobody waits for more than one of them.
        let last = timeout(self.patience, self.asked_horizon.lock()).await;
        let mut last = last.map_err(|_| StoreError::Timeout(self.patience))?;
        if let Some((asked, horizon)) = *last
            && asked >= came
        {
            return Ok(horizon);
        }
        let asked = Instant::now();
        let horizon = self.horizon().await?;
        *last = Some((asked, horizon));
        Ok(horizon)
    }

    /// Which stretch is in flight the longest: the stamp from which it holds the horizon, and the
    /// server process that does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn holder(&self) -> Result<Option<(Stamp, i32)>, StoreError> {
        let row = self.row(sqlx::query("select lower, pid from sync_holder()")).await?;
        let (lower, pid): (Option<Stamp>, Option<i32>) = (row.try_get(0)?, row.try_get(1)?);
        Ok(lower.zip(pid))
    }

    /// Ends the server process that still holds the horizon at `lower`, where the role may. True
    /// where it was told to end.
    ///
    /// # Errors
    /// [`StoreError`], also where the role may not.
    pub async fn end_holder(&self, pid: i32, lower: Stamp) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "select pg_terminate_backend(h.pid) from sync_in_flight h \
             where h.pid = $1 and sync_time(h.lower) = $2",
        )
        .bind(pid)
        .bind(lower);
        Ok(self.rows(query).await?.first().is_some_and(|row| row.get(0)))
    }

    /// The last stamp given.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clock(&self) -> Result<Stamp, StoreError> {
        Ok(self.row(sqlx::query("select sync_clock()")).await?.try_get(0)?)
    }

    /// Sends the heartbeat to all nodes, and gives the clock.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn beat(&self) -> Result<Stamp, StoreError> {
        Ok(self.row(sqlx::query("select sync_beat()")).await?.try_get(0)?)
    }

    /// What moved in `(low, high]`, of the feeds of these owners, in one app or in all, and of
    /// these users' memberships: closes a gap in the chain.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn moved(
        &self,
        followed: &[Followed],
        (low, high): (Stamp, Stamp),
    ) -> Result<Vec<Move>, StoreError> {
        let (mut users, mut user_apps) = (Vec::new(), Vec::new());
        let (mut spaces, mut space_apps) = (Vec::new(), Vec::new());
        for (owner, app) in followed {
            let app = app.as_ref().map(AppId::as_str);
            match owner {
                Owner::User(user) => {
                    users.push(user.as_str());
                    user_apps.push(app);
                }
                Owner::Space(space) => {
                    spaces.push(space.as_str());
                    space_apps.push(app);
                }
            }
        }
        let query =
            sqlx::query("select kind, owner, app, tables from sync_moved($1, $2, $3, $4, $5, $6)")
                .bind(users)
                .bind(user_apps)
                .bind(spaces)
                .bind(space_apps)
                .bind(low)
                .bind(high);
        let rows = self.rows(query).await?;
        rows.iter().filter_map(|row| read_move(row).transpose()).collect()
    }
}

fn read_move(row: &sqlx::postgres::PgRow) -> Result<Option<Move>, StoreError> {
    let (kind, owner): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
    let owner = match kind {
        "m" => return Ok(UserId::new(owner).ok().map(Move::Members)),
        "u" => UserId::new(owner).ok().map(Owner::User),
        _ => SpaceId::new(owner).ok().map(Owner::Space),
    };
    let app = AppId::new(row.try_get(2)?).ok();
    let tables: Option<Vec<String>> = row.try_get(3)?;
    let tables =
        tables.map(|tables| tables.iter().filter_map(|t| TableName::new(t).ok()).collect());
    Ok(owner.zip(app).map(|(owner, app)| Move::Feed(FeedId { owner, app }, tables)))
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
