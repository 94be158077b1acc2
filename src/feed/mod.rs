//! What streams follow: the live ends of feeds, in memory.
//!
//! A node keeps a tail for each feed that somebody here follows. The relay appends what a step
//! of the watermark brought, publishes the step, and wakes the followers. A stream queues nothing:
//! it holds a stamp, takes from the tails what lies after it, and goes to the database when it has
//! fallen behind them.
//!
//! Invariants: a tail holds every change of its feed after the stamp it is complete from, up to
//! the published watermark; the published watermark moves only when all tails stand at it; whoever
//! follows before reading the database misses nothing between the two.

mod follow;
mod tail;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use follow::{AppFeeds, Behind, Caught, Following, Taken};
pub use tail::Entry;
pub use watch::{Watched, Watching};

use crate::doorbell::{FeedId, Followed, Move, Owner};
use crate::id::{Stamp, UserId};
use crate::metrics;
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use follow::Follower;
use tail::Tail;
use watch::Watchers;

/// A feed somebody here follows.
#[derive(Debug)]
struct Feed {
    id: FeedId,
    state: Mutex<FeedState>,
    /// Bytes of all tails of the node.
    total: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct FeedState {
    tail: Tail,
    followers: Vec<Arc<Follower>>,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, FeedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let bytes = self.lock().tail.bytes();
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// All feeds that somebody follows through this node.
#[derive(Debug)]
pub struct Feeds {
    registry: Mutex<Registry>,
    /// Where all tails stand, in microseconds.
    published: AtomicI64,
    total: Arc<AtomicUsize>,
    max_bytes: usize,
    watchers: Watchers,
}

#[derive(Debug)]
struct Registry {
    feeds: HashMap<FeedId, Arc<Feed>>,
    /// Up to where the step under way reads; a feed followed from now on is complete from here.
    target: Stamp,
    /// Followers by user, to be told when memberships move.
    readers: HashMap<UserId, Vec<Arc<Follower>>>,
}

/// What a step read for a feed.
pub type Brought = HashMap<FeedId, Vec<Arc<Entry>>>;

/// A step of the relay under way: from where to where, and the feeds to be read.
#[derive(Debug)]
pub struct Underway {
    from: Stamp,
    to: Stamp,
    feeds: Vec<Arc<Feed>>,
}

impl Underway {
    /// The stretch to read.
    #[must_use]
    pub fn stretch(&self) -> (Stamp, Stamp) {
        (self.from, self.to)
    }

    /// The feeds to read.
    #[must_use]
    pub fn ids(&self) -> Vec<FeedId> {
        self.feeds.iter().map(|feed| feed.id.clone()).collect()
    }
}

/// Entries in the order in which they came, of all tails, so that the oldest goes first.
/// Held by the relay.
#[derive(Debug, Default)]
pub struct Ages(std::collections::VecDeque<Weak<Feed>>);

/// The most entries in all tails together.
const MAX_ENTRIES: usize = 200_000;

impl Feeds {
    /// No feeds yet, at `published`. Tails hold up to `max_bytes` together.
    #[must_use]
    pub fn new(published: Stamp, max_bytes: usize) -> Self {
        Self {
            registry: Mutex::new(Registry {
                feeds: HashMap::new(),
                target: published,
                readers: HashMap::new(),
            }),
            published: AtomicI64::new(published.micros()),
            total: Arc::default(),
            max_bytes,
            watchers: Watchers::default(),
        }
    }

    /// Where all tails stand.
    #[must_use]
    pub fn published(&self) -> Stamp {
        Stamp::from_micros(self.published.load(Ordering::Acquire))
    }

    /// Bytes in all tails.
    #[must_use]
    pub fn tail_bytes(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose feeds somebody here follows or watches, in which app.
    #[must_use]
    pub fn followed(&self) -> Vec<Followed> {
        let mut followed = self.watchers.watched();
        let registry = self.registry();
        followed.extend(registry.feeds.keys().map(|id| (id.owner.clone(), Some(id.app.clone()))));
        drop(registry);
        followed.into_iter().collect()
    }

    /// Whether somebody watches this owner's feeds and would be told the tables by name.
    #[must_use]
    pub fn is_watched(&self, owner: &Owner) -> bool {
        self.watchers.watch(owner)
    }

    /// A step up to `to` is about to begin: feeds followed from now on are complete from there.
    pub fn aim(&self, to: Stamp) {
        self.registry().target = to;
    }

    /// Begins a step up to `to`: of the moved feeds, those that are followed here.
    #[must_use]
    pub fn begin(&self, to: Stamp, moves: &[Move]) -> Underway {
        let mut registry = self.registry();
        registry.target = to;
        let moved = moves.iter().filter_map(|m| match m {
            Move::Feed(id, _) => registry.feeds.get(id).cloned(),
            Move::Members(_) => None,
        });
        let mut feeds: Vec<_> = moved.collect();
        feeds.sort_by(|a, b| a.id.cmp(&b.id));
        feeds.dedup_by(|a, b| a.id == b.id);
        Underway { from: self.published(), to, feeds }
    }

    /// Publishes a step. Without `brought`, the feeds' tails are complete from its end only, and
    /// their followers go to the database.
    pub fn publish(
        &self,
        step: &Underway,
        mut brought: Option<Brought>,
        moves: &[Move],
        ages: &mut Ages,
    ) {
        for m in moves {
            if let Move::Members(user) = m {
                self.tell_members(user);
            }
        }
        for feed in &step.feeds {
            let mut state = feed.lock();
            let before = state.tail.bytes();
            if let Some(brought) = &mut brought {
                let entries = brought.remove(&feed.id).unwrap_or_default();
                ages.0.extend(entries.iter().map(|_| Arc::downgrade(feed)));
                state.tail.append(entries);
                self.total.fetch_add(state.tail.bytes() - before, Ordering::Relaxed);
            } else {
                state.tail.restart(step.to);
                self.total.fetch_sub(before, Ordering::Relaxed);
            }
        }
        self.published.store(step.to.micros(), Ordering::Release);
        self.evict(ages);
        for feed in &step.feeds {
            feed.lock().followers.iter().for_each(|follower| follower.wake());
        }
        self.watchers.tell(moves);
        metrics::tail_bytes(self.tail_bytes());
    }

    /// No ring had named these moves, made after `from`: followers read again from there.
    pub fn missed(&self, moves: &[Move], from: Stamp) {
        for m in moves {
            match m {
                Move::Feed(id, _) => self.rewind(id, from),
                Move::Members(user) => self.tell_members(user),
            }
        }
        self.watchers.tell(moves);
    }

    fn rewind(&self, id: &FeedId, from: Stamp) {
        let feed = self.registry().feeds.get(id).cloned();
        let Some(feed) = feed else { return };
        let mut state = feed.lock();
        let before = state.tail.bytes();
        state.tail.restart(self.published());
        self.total.fetch_sub(before, Ordering::Relaxed);
        state.followers.iter().for_each(|follower| follower.rewind(from));
    }

    fn tell_members(&self, user: &UserId) {
        #[cfg(feature = "mutants")]
        if mutants::is(Mutant::StaleMembers) {
            return;
        }
        if let Some(followers) = self.registry().readers.get(user) {
            for follower in followers {
                follower.tell_members();
            }
        }
    }

    /// Wakes all followers, for them to look at what is no feed: whether the node drains.
    pub fn wake_all(&self) {
        self.registry().readers.values().flatten().for_each(|follower| follower.wake());
    }

    fn evict(&self, ages: &mut Ages) {
        while self.tail_bytes() > self.max_bytes || ages.0.len() > MAX_ENTRIES {
            let Some(oldest) = ages.0.pop_front() else { return };
            let Some(feed) = oldest.upgrade() else { continue };
            let freed = feed.lock().tail.forget_oldest();
            self.total.fetch_sub(freed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
