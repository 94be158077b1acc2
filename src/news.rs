//! Group question: is there anything new for those who ask? Most reads find nothing, so all that
//! wait are asked about by one statement, and only who has news reads a page. Of those for whom
//! nothing moved lately (`recent`) only the clock is asked, or, after a push, nothing at all.
//!
//! Each lane takes whatever waits, as the writer's do: idle, a read is one round trip; busy, many
//! share one. The question is put to a bound that has reached the clock as it stands after the
//! last of them came, so that each sees whatever was acknowledged before.
//!
//! Invariant: whoever is told that there is nothing, up to a bound, has been offered all up to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::grant::Reader;
use crate::group::{Desk, Working};
use crate::id::Stamp;
use crate::metrics;
use crate::progress::Progress;
use crate::protocol::{Cursor, Tables};
use crate::recent::{Known, Own, Recent};
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

/// What is known without asking.
#[derive(Debug, Clone)]
struct Memory {
    progress: Progress,
    recent: Arc<Recent>,
}

/// Takes questions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct News {
    queue: mpsc::Sender<Asked>,
    memory: Memory,
    working: Working,
    /// How long an answer is waited for.
    patience: Duration,
}

/// The lanes, to be run.
#[derive(Debug)]
pub struct Lanes {
    store: Store,
    memory: Memory,
    desk: Desk<Asked>,
}

/// A desk for questions, and its lanes.
#[must_use]
pub fn news(store: &Store, progress: Progress, recent: Arc<Recent>) -> (News, Lanes) {
    let (queue, waiting) = mpsc::channel(MAX_WAITING);
    let memory = Memory { progress, recent };
    let desk = Desk::new(waiting);
    let working = desk.working();
    let lanes = Lanes { store: store.clone(), memory: memory.clone(), desk };
    let patience = store.patience();
    (News { queue, memory, working, patience }, lanes)
}

impl Memory {
    /// Nothing up to the watermark, where that is known.
    fn nothing(&self, reader: &Reader, since: Stamp, own: &Own) -> Option<Found> {
        // First: what moved up to here is noted by now.
        let bound = self.progress.at();
        let Known(spaces) = self.recent.nothing_new(reader, since, own)?;
        let spaces = spaces.map(|spaces| spaces.to_vec());
        Some(Found::Nothing { bound, spaces, whole: true })
    }
}

impl News {
    /// How many of its lanes are at work, of how many.
    #[must_use]
    pub fn lanes(&self) -> (&'static str, usize, usize) {
        ("news", self.working.lanes(), LANES)
    }

    /// After a push, which the watermark has passed: that there is nothing after `cursor` but what
    /// it wrote, where that is known.
    #[must_use]
    pub fn nothing_but(&self, own: &Own, reader: &Reader, cursor: Cursor) -> Option<Found> {
        // Who names no device is told the own changes too.
        let asks_others = cursor.history.is_none() && reader.client().is_some();
        let known = asks_others.then(|| self.memory.nothing(reader, cursor.stamp, own)).flatten();
        metrics::news("remembered", known.iter().len());
        known
    }

    /// Whether there is anything in `tables` for `reader` after `cursor`. `None` where that can't
    /// be asked in a group: inside a joined space's history, of several single tables, in too
    /// large a crowd, or because the question failed or took too long. `reached`: the watermark has reached the
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
        if self.queue.try_send(Asked { question, reached, answer }).is_err() {
            metrics::overflow("news_queue");
            return None;
        }
        timeout(self.patience, answered).await.ok()?.ok()
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
                    Box::pin(this.answer(group)).await;
                    drop(working);
                }
            }
        })
    }

    async fn answer(&self, mut group: Vec<Asked>) {
        group.retain(|asked| !asked.answer.is_closed());
        let (quiet, moved): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|asked| self.remembers(asked).is_some());
        tokio::join!(self.answer_quiet(quiet), self.answer_moved(moved));
    }

    fn remembers(&self, asked: &Asked) -> Option<Found> {
        let Question { reader, since, .. } = &asked.question;
        self.memory.nothing(reader, *since, &Own::default())
    }

    /// Answers those for whom nothing has moved as far as this node has heard: it only has to be
    /// sure that it has heard enough.
    async fn answer_quiet(&self, group: Vec<Asked>) {
        if group.is_empty() {
            return;
        }
        let clock = match self.store.clock().await {
            Ok(clock) => clock,
            Err(error) => return drop_unanswered(group, &error),
        };
        if !self.memory.progress.reach(clock, PATIENCE).await {
            return self.answer_moved(group).await;
        }
        let mut moved = Vec::new();
        for asked in group {
            match self.remembers(&asked) {
                Some(found) => {
                    metrics::news("remembered", 1);
                    drop(asked.answer.send(found));
                }
                None => moved.push(asked),
            }
        }
        self.answer_moved(moved).await;
    }

    async fn answer_moved(&self, group: Vec<Asked>) {
        if group.is_empty() {
            return;
        }
        metrics::news("asked", group.len());
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
            Err(error) => drop_unanswered(askers, &error),
        }
    }

    async fn find(&self, questions: &[Question], reached: bool) -> Result<Vec<Found>, StoreError> {
        let age = self.memory.recent.age();
        let found = self.look(questions, reached).await?;
        for (question, found) in questions.iter().zip(&found) {
            if let Found::Nothing { bound, spaces, whole: true } = found {
                let stretch = (question.since, *bound);
                self.memory.recent.learn(&question.reader, stretch, spaces.as_deref(), age);
            }
        }
        Ok(found)
    }

    async fn look(&self, questions: &[Question], reached: bool) -> Result<Vec<Found>, StoreError> {
        let progress = &self.memory.progress;
        let spaces = self.memory.recent.has_spaces();
        let clock = match self.store.news(questions, progress.at(), !reached, spaces).await? {
            NewsRead::Found(found) => return Ok(found),
            NewsRead::Behind(clock) => clock,
        };
        let bound = reach(progress, &self.store, clock).await?;
        match self.store.news(questions, bound, false, spaces).await? {
            NewsRead::Found(found) => Ok(found),
            NewsRead::Behind(_) => Err(sqlx::Error::RowNotFound.into()),
        }
    }
}

/// Each reads for itself, and meets the error or not.
fn drop_unanswered<T>(askers: Vec<T>, error: &StoreError) {
    tracing::debug!(%error, askers = askers.len(), "a group of reads could not be asked about");
    drop(askers);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AppId, UserId};
    use crate::progress::progress;
    use crate::store;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_waited_for_for_ever() {
        let settings = store::Settings {
            url: "postgres://nobody@127.0.0.1:1/none".to_owned(),
            connections: 1,
            acquire: Duration::from_secs(1),
            statement: Duration::from_secs(1),
        };
        let store = Store::new(&settings).unwrap();
        let (_advance, progress) = progress(Stamp::START);
        let recent = Arc::new(Recent::new(Stamp::START, false));
        // Nobody runs its lanes.
        let (news, _lanes) = news(&store, progress, recent);
        let alice = UserId::new("alice").unwrap();
        let reader = Reader::grant(alice, AppId::new("todo").unwrap(), None);
        let tables = Tables::parse("tasks").unwrap();
        let asked = news.ask(&reader, &tables, Cursor::at(Stamp::START), false);
        let asked = timeout(Duration::from_mins(1), asked).await;
        assert_eq!(asked.expect("it gives up"), None);
    }
}
