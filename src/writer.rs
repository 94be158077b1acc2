//! Group commit: all pushes that wait go into one transaction.
//!
//! A transaction that notifies holds a lock of the whole database until its commit is on disk, so
//! a transaction a push would make all pushes of the fleet queue for the disk. Here a few lanes
//! each take whatever waits, store it by one call, and tell each push how it went. No timer: an
//! idle node adds no latency, a busy one makes larger batches. Large pushes have a lane of their
//! own, so that they delay nobody.
//!
//! Invariants: event ids are assigned before the first attempt, so that an attempt whose outcome
//! is unknown can be repeated; a batch that is refused is repeated push by push, so that only the
//! culprit fails.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::doorbell::{FeedId, Owner};
use crate::grant;
use crate::group::{Desk, Working};
use crate::metrics;
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::progress::Progress;
use crate::protocol::NewChange;
use crate::recent::Own;
use crate::store::{Appended, Lane, NewRow, Store, StoreError};

/// The most pushes in a batch.
const BATCH_PUSHES: usize = 256;
/// With so many, a batch does not wait for others to be stored.
const BATCH_ENOUGH: usize = 64;
/// A batch takes no further push when it has this many changes.
const BATCH_CHANGES: usize = 2_000;
/// A batch takes no further push when it has this many bytes.
const BATCH_BYTES: usize = 2_000_000;
/// A push with more goes into the lane for large ones.
const LARGE_CHANGES: usize = 500;
/// A push with more goes into the lane for large ones.
const LARGE_BYTES: usize = 500_000;

/// Why a push was not stored, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Too many pushes wait already.
    #[error("too many pushes are waiting")]
    QueueFull,
    /// The database refuses a change of this push.
    #[error("a change cannot be stored (SQLSTATE {0})")]
    Rejected(String),
    /// It was not stored in time, or that could not be confirmed; it may be repeated.
    #[error("the push could not be confirmed in time")]
    Unconfirmed,
}

/// A push that is stored, heard by this node, and so readable through every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What it moved. Who reads up to its last stamp misses nothing acknowledged before.
    pub own: Own,
    /// The places of its changes that are stored for their author alone.
    pub unpublished: Vec<usize>,
}

/// A push's share of what is bounded, whatever that is.
pub type Room = Arc<dyn std::fmt::Debug + Send + Sync>;

#[derive(Debug)]
struct Push {
    writer: grant::Writer,
    changes: Arc<[NewChange]>,
    events: Vec<Uuid>,
    bytes: usize,
    /// Its share, whether somebody still waits for it or not.
    #[expect(dead_code, reason = "held for its end")]
    room: Room,
    answer: oneshot::Sender<Result<Stored, PushError>>,
}

/// How the writer works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many batches may be under way, beside the lane for large pushes.
    pub lanes: usize,
    /// How many pushes may wait, in each of both queues.
    pub queue: usize,
    /// How long a push may take altogether.
    pub patience: Duration,
}

/// Takes pushes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    small: mpsc::Sender<Push>,
    large: mpsc::Sender<Push>,
    progress: Progress,
    patience: Duration,
    /// The lanes at work, for small pushes and for large ones.
    working: [Working; 2],
    lanes: usize,
}

/// The lanes, to be run.
#[derive(Debug)]
pub struct Lanes(Vec<LaneTask>);

#[derive(Debug)]
struct LaneTask {
    lane: Lane,
    desk: Arc<Desk<Push>>,
    patience: Duration,
}

/// A writer and its lanes.
#[must_use]
pub fn writer(store: &Store, progress: Progress, settings: &Settings) -> (Writer, Lanes) {
    let (small, small_queue) = mpsc::channel(settings.queue);
    let (large, large_queue) = mpsc::channel(settings.queue);
    let task = |desk: &Arc<Desk<Push>>| LaneTask {
        lane: store.lane(),
        desk: Arc::clone(desk),
        patience: settings.patience,
    };
    let (small_desk, large_desk) =
        (Arc::new(Desk::new(small_queue)), Arc::new(Desk::new(large_queue)));
    let mut lanes: Vec<_> = (0..settings.lanes).map(|_| task(&small_desk)).collect();
    lanes.push(task(&large_desk));
    let working = [small_desk.working(), large_desk.working()];
    let (patience, small_lanes) = (settings.patience, settings.lanes);
    (Writer { small, large, progress, patience, working, lanes: small_lanes }, Lanes(lanes))
}

impl Writer {
    /// How long a push may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The lanes for small pushes and for large ones: how many are at work, of how many.
    #[must_use]
    pub fn lanes(&self) -> [(&'static str, usize, usize); 2] {
        let [small, large] = &self.working;
        [("small", small.lanes(), self.lanes), ("large", large.lanes(), 1)]
    }

    /// How many pushes wait, in both queues.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let waiting = |queue: &mpsc::Sender<Push>| queue.max_capacity() - queue.capacity();
        waiting(&self.small) + waiting(&self.large)
    }

    /// Stores a changeset, all or none, and waits until this node has heard it. The push has `begun`
    /// then, and its time runs since; `room` is held until the writer is done with it.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(
        &self,
        writer: &grant::Writer,
        changes: Arc<[NewChange]>,
        room: Room,
        begun: Instant,
    ) -> Result<Stored, PushError> {
        let (answer, answered) = oneshot::channel();
        let bytes = changes.iter().map(weight).sum();
        let events = changes.iter().map(|c| c.event.unwrap_or_else(Uuid::now_v7)).collect();
        let is_large = changes.len() > LARGE_CHANGES || bytes > LARGE_BYTES;
        let queue = if is_large { &self.large } else { &self.small };
        let push = Push { writer: writer.clone(), changes, events, bytes, room, answer };
        queue.try_send(push).map_err(|_| {
            metrics::overflow("writer_queue");
            PushError::QueueFull
        })?;
        #[cfg(feature = "mutants")]
        if mutants::is(Mutant::EarlyAck) {
            std::mem::forget(answered); // Or nothing would be stored for who waits no more.
            return Ok(Stored { own: Own::default(), unpublished: Vec::new() });
        }
        let stored = timeout(self.patience.saturating_sub(begun.elapsed()), answered).await;
        let stored = stored.ok().and_then(Result::ok).unwrap_or(Err(PushError::Unconfirmed))?;
        let heard = Instant::now();
        let left = self.patience.saturating_sub(begun.elapsed());
        if !self.progress.reach(stored.own.last, left).await {
            return Err(PushError::Unconfirmed);
        }
        metrics::push_acknowledged(heard.elapsed());
        Ok(stored)
    }
}

impl Lanes {
    /// The lanes' tasks; each ends when told and its queue is empty.
    pub fn run(
        self,
        stop: CancellationToken,
    ) -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static> {
        self.0.into_iter().map(move |task| task.run(stop.clone()))
    }
}

impl LaneTask {
    async fn run(mut self, stop: CancellationToken) {
        let desk = Arc::clone(&self.desk);
        while let Some((batch, working)) = desk.next(BATCH_ENOUGH, has_room, &stop).await {
            self.store(batch).await;
            drop(working);
        }
    }

    async fn store(&mut self, mut batch: Vec<Push>) {
        // Whoever gave up waiting was told to repeat it.
        batch.retain(|push| !push.answer.is_closed());
        if batch.is_empty() {
            return;
        }
        match self.append(&batch).await {
            Ok(appended) => answer(batch, &appended),
            Err(PushError::Rejected(_)) if batch.len() > 1 => {
                metrics::culprit_isolated();
                for push in batch.into_iter().filter(|push| !push.answer.is_closed()) {
                    match self.append(std::slice::from_ref(&push)).await {
                        Ok(appended) => answer(vec![push], &appended),
                        Err(error) => drop(push.answer.send(Err(error))),
                    }
                }
            }
            Err(PushError::Rejected(sqlstate)) => {
                for push in batch {
                    drop(push.answer.send(Err(PushError::Rejected(sqlstate.clone()))));
                }
            }
            // Dropped unanswered: unconfirmed.
            Err(_) => drop(batch),
        }
    }

    /// Stores a batch, repeating attempts whose outcome is unknown: the event ids make that safe.
    async fn append(&mut self, batch: &[Push]) -> Result<Appended, PushError> {
        let deadline = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(10);
        let mut again = false;
        loop {
            let rows = rows(batch, again);
            let begun = Instant::now();
            match self.lane.append(&rows).await {
                Ok(appended) => {
                    let unpublished = appended.unpublished.len();
                    metrics::batch(batch.len(), appended.new, unpublished, begun.elapsed());
                    metrics::ring_sent();
                    return Ok(appended);
                }
                Err(StoreError::Rejected { sqlstate }) => {
                    return Err(PushError::Rejected(sqlstate));
                }
                Err(error) => {
                    tracing::warn!(%error, "a batch could not be stored");
                    metrics::writer_retry();
                    again = true;
                    if Instant::now() + pause > deadline {
                        return Err(PushError::Unconfirmed);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
            }
        }
    }
}

/// Whether a batch takes another push.
fn has_room(batch: &[Push]) -> bool {
    let changes: usize = batch.iter().map(|push| push.changes.len()).sum();
    let bytes: usize = batch.iter().map(|push| push.bytes).sum();
    batch.len() < BATCH_PUSHES && changes < BATCH_CHANGES && bytes < BATCH_BYTES
}

/// Bytes of a change's payload.
fn weight(change: &NewChange) -> usize {
    let payloads = [&change.data, &change.field_timestamps, &change.actor];
    payloads.into_iter().flatten().map(String::len).sum()
}

fn rows(batch: &[Push], again: bool) -> Vec<NewRow<'_>> {
    let changes = batch.iter().flat_map(|push| {
        push.changes.iter().zip(&push.events).map(move |(change, event)| NewRow {
            writer: &push.writer,
            event: *event,
            repeatable: again || change.event.is_some(),
            change,
        })
    });
    changes.collect()
}

/// The feeds into which a push writes.
fn feeds(push: &Push) -> BTreeSet<FeedId> {
    let reader = push.writer.reader();
    let feed = |owner| FeedId { owner, app: reader.app().clone() };
    let spaces: BTreeSet<_> = push.changes.iter().filter_map(|c| c.space.as_ref()).collect();
    let spaces = spaces.into_iter().cloned().map(Owner::Space);
    std::iter::once(Owner::User(reader.user().clone())).chain(spaces).map(feed).collect()
}

/// For each push of a batch, the feeds into which no other one writes.
fn moved_alone(batch: &[Push]) -> Vec<Vec<FeedId>> {
    let feeds: Vec<_> = batch.iter().map(feeds).collect();
    let mut writers: HashMap<&FeedId, usize> = HashMap::new();
    for feed in feeds.iter().flatten() {
        *writers.entry(feed).or_default() += 1;
    }
    let alone = |feed: &&FeedId| writers.get(feed) == Some(&1);
    feeds.iter().map(|mine| mine.iter().filter(alone).cloned().collect()).collect()
}

/// Tells each push of a stored batch what it moved, and which of its changes stayed unpublished.
fn answer(batch: Vec<Push>, appended: &Appended) {
    let mut begin = 0;
    let alone = moved_alone(&batch);
    for (push, feeds) in batch.into_iter().zip(alone) {
        let end = begin + push.changes.len();
        let mine = appended.unpublished.iter().filter(|place| (begin..end).contains(*place));
        let unpublished: Vec<_> = mine.map(|place| place - begin).collect();
        drop(push.answer.send(Ok(Stored { own: Own { last: appended.last, feeds }, unpublished })));
        begin = end;
    }
}
