//! Group question: is there anything new for those who ask? Most reads find nothing, so all that
//! wait are asked about by one statement, and only who has news reads a page.
//!
//! Each lane takes whatever waits, as the writer's do: idle, a read is one round trip; busy, many
//! share one. The question is put to a bound that has reached the clock as it stands after the
//! last of them came, so that each sees whatever was acknowledged before.
//!
//! Invariant: whoever is told that there is nothing, up to a bound, has been offered all up to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::grant::Reader;
use crate::group::Desk;
use crate::id::Stamp;
use crate::metrics;
use crate::progress::Progress;
use crate::protocol::{Cursor, Tables};
use crate::store::{Found, NewsRead, Question, Store, StoreError};

/// How long a read waits for the watermark to reach the clock, before it asks for the horizon.
const PATIENCE: Duration = Duration::from_millis(100);

/// The most questions that wait; further ones are put one by one.
const MAX_WAITING: usize = 4096;

/// With so many, a group does not wait for others to be answered.
const ENOUGH: usize = 64;

/// The most questions of one statement.
const MAX_GROUP: usize = 256;

/// How many groups may be asked about at the same time.
const LANES: usize = 3;

#[derive(Debug)]
struct Asked {
    question: Question,
    /// Whether the watermark has reached the clock as this asker found it.
    reached: bool,
    answer: oneshot::Sender<Found>,
}

/// Takes questions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct News(mpsc::Sender<Asked>);

/// The lanes, to be run.
#[derive(Debug)]
pub struct Lanes {
    store: Store,
    progress: Progress,
    spaces: bool,
    desk: Desk<Asked>,
}

/// A desk for questions, and its lanes. `spaces`: whether there are any.
#[must_use]
pub fn news(store: &Store, progress: Progress, spaces: bool) -> (News, Lanes) {
    let (sender, queue) = mpsc::channel(MAX_WAITING);
    (News(sender), Lanes { store: store.clone(), progress, spaces, desk: Desk::new(queue) })
}

impl News {
    /// Whether there is anything in `tables` for `reader` after `cursor`. `None` where that can't
    /// be asked in a group: inside a joined space's history, of several single tables, in too
    /// large a crowd, or because the question failed. `reached`: the watermark has reached the
    /// clock that the caller is to read up to.
    pub async fn ask(
        &self,
        reader: &Reader,
        tables: &Tables,
        cursor: Cursor,
        reached: bool,
    ) -> Option<Found> {
        if cursor.history.is_some() {
            return None;
        }
        let question = Question::new(reader, tables, cursor.stamp)?;
        let (answer, answered) = oneshot::channel();
        if self.0.try_send(Asked { question, reached, answer }).is_err() {
            metrics::overflow("news_queue");
            return None;
        }
        answered.await.ok()
    }
}

impl Lanes {
    /// The lanes' tasks; each ends when told.
    pub fn run(
        self,
        stop: CancellationToken,
    ) -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static> {
        let this = Arc::new(self);
        (0..LANES).map(move |_| {
            let (this, stop) = (Arc::clone(&this), stop.clone());
            async move {
                let has_room = |group: &[Asked]| group.len() < MAX_GROUP;
                while let Some((group, working)) = this.desk.next(ENOUGH, has_room, &stop).await {
                    this.answer(group).await;
                    drop(working);
                }
            }
        })
    }

    async fn answer(&self, mut group: Vec<Asked>) {
        group.retain(|asked| !asked.answer.is_closed());
        if group.is_empty() {
            return;
        }
        metrics::news_group(group.len());
        let reached = group.iter().all(|asked| asked.reached);
        let (questions, askers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|asked| (asked.question, asked.answer)).unzip();
        match self.find(&questions, reached).await {
            Ok(found) => {
                for (asker, found) in askers.into_iter().zip(found) {
                    drop(asker.send(found));
                }
            }
            // Dropped unanswered: each reads for itself, and meets the error or not.
            Err(error) => tracing::debug!(%error, "a group of reads could not be asked about"),
        }
    }

    async fn find(&self, questions: &[Question], reached: bool) -> Result<Vec<Found>, StoreError> {
        let bound = self.progress.at();
        let clock = match self.store.news(questions, bound, !reached, self.spaces).await? {
            NewsRead::Found(found) => return Ok(found),
            NewsRead::Behind(clock) => clock,
        };
        let bound = reach(&self.progress, &self.store, clock).await?;
        match self.store.news(questions, bound, false, self.spaces).await? {
            NewsRead::Found(found) => Ok(found),
            NewsRead::Behind(_) => Err(sqlx::Error::RowNotFound.into()),
        }
    }
}

/// A bound that has reached a clock: the watermark, if it comes that far in time, else the horizon.
///
/// # Errors
/// [`StoreError`].
pub async fn reach(progress: &Progress, store: &Store, clock: Stamp) -> Result<Stamp, StoreError> {
    if progress.reach(clock, PATIENCE).await {
        return Ok(progress.at());
    }
    Ok(store.shared_horizon().await?.max(progress.at()))
}
