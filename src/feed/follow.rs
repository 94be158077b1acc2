//! A follower: a stream's view of the feeds it reads.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

use super::{Entry, Feed, FeedState, Feeds, Tail};
use crate::doorbell::{FeedId, Owner};
use crate::grant::Reader;
use crate::id::{SpaceId, Stamp};
use crate::protocol::{Cursor, Tables};

/// What wakes a stream.
#[derive(Debug)]
pub(super) struct Follower {
    woken: Notify,
    /// The user's memberships moved: the database knows what that means.
    members: AtomicBool,
    /// Read again from here, in microseconds; `i64::MAX` where there is no need.
    rewind: AtomicI64,
}

impl Follower {
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    pub(super) fn tell_members(&self) {
        self.members.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn rewind(&self, from: Stamp) {
        self.rewind.fetch_min(from.micros(), Ordering::AcqRel);
        self.wake();
    }
}

/// What the tails hold for a stream.
#[derive(Debug)]
pub struct Taken {
    /// The changes after the stream's cursor, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Where the stream stands once it has sent them.
    pub until: Stamp,
    /// Whether there is more to take at once.
    pub more: bool,
}

/// Whether a stream can go on from the tails.
#[derive(Debug)]
pub enum Caught {
    /// It can: this is what there is, maybe nothing.
    Up(Taken),
    /// It can't: it is to read the database, after this stamp at the latest.
    Behind(Option<Stamp>),
}

/// A stream's hold on the feeds it follows; ends with it.
#[derive(Debug)]
pub struct Following {
    feeds: Arc<Feeds>,
    reader: Reader,
    follower: Arc<Follower>,
    own: Arc<Feed>,
    spaces: Vec<Arc<Feed>>,
}

impl Following {
    /// Follows the reader's own feed. From now on nothing of it is missed.
    #[must_use]
    pub fn begin(feeds: Arc<Feeds>, reader: Reader) -> Self {
        let follower = Arc::new(Follower {
            woken: Notify::new(),
            members: AtomicBool::new(false),
            rewind: AtomicI64::new(i64::MAX),
        });
        let own = feeds.follow(Owner::User(reader.user().clone()), &reader, &follower);
        let mut registry = feeds.registry();
        registry.readers.entry(reader.user().clone()).or_default().push(Arc::clone(&follower));
        drop(registry);
        Self { feeds, reader, follower, own, spaces: Vec::new() }
    }

    /// Follows the feeds of these spaces, and no others. Tails followed anew are complete from
    /// about now: read the database once more before taking from them.
    pub fn set_spaces(&mut self, spaces: &[SpaceId]) {
        let wanted: HashSet<&SpaceId> = spaces.iter().collect();
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.spaces).into_iter().partition(|feed| match &feed.id.owner {
                Owner::Space(space) => wanted.contains(space),
                Owner::User(_) => false,
            });
        self.spaces = kept;
        for feed in gone {
            self.feeds.leave(&feed, &self.follower);
        }
        for space in spaces {
            let owner = Owner::Space(space.clone());
            if !self.spaces.iter().any(|feed| feed.id.owner == owner) {
                self.spaces.push(self.feeds.follow(owner, &self.reader, &self.follower));
            }
        }
    }

    /// Who reads.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Waits until something moved. A wake-up that came since the last call is not lost.
    pub fn moved(&self) -> impl Future<Output = ()> {
        self.follower.woken.notified()
    }

    /// The database is about to be asked who the reader is a member of.
    pub fn asking_members(&self) {
        self.follower.members.store(false, Ordering::Release);
    }

    /// Takes what the tails hold after `cursor`, up to about `max_bytes`.
    #[must_use]
    pub fn take(&self, cursor: Cursor, tables: &Tables, max_bytes: usize) -> Caught {
        let rewind = self.follower.rewind.swap(i64::MAX, Ordering::AcqRel);
        if rewind != i64::MAX {
            return Caught::Behind(Some(Stamp::from_micros(rewind)));
        }
        // The watermark first: a flag that was set for a step is seen with it.
        let published = self.feeds.published();
        if cursor.history.is_some() || self.follower.members.load(Ordering::Acquire) {
            return Caught::Behind(None);
        }
        let until = published.max(cursor.stamp);
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        for feed in std::iter::once(&self.own).chain(&self.spaces) {
            let is_space = matches!(feed.id.owner, Owner::Space(_));
            let state = feed.lock();
            if state.tail.complete_from() > cursor.stamp {
                return Caught::Behind(None);
            }
            let new = state.tail.between(cursor.stamp, until);
            entries.extend(new.filter(|e| self.wants(e, is_space, tables)).cloned());
        }
        entries.sort_by_key(|entry| entry.stamp);
        Caught::Up(cut(entries, until, max_bytes))
    }

    /// In a space, the others' changes; of the own, what other devices wrote.
    fn wants(&self, entry: &Entry, is_space: bool, tables: &Tables) -> bool {
        let own = if is_space {
            entry.author == *self.reader.user()
        } else {
            self.reader.client().is_some() && entry.client.as_ref() == self.reader.client()
        };
        !own && tables.contains(entry.table.as_str())
    }
}

/// The first entries of about `max_bytes` together, at least one.
fn cut(mut entries: Vec<Arc<Entry>>, until: Stamp, max_bytes: usize) -> Taken {
    let mut bytes = 0;
    let fits = entries.iter().take_while(|entry| {
        bytes += entry.json.len();
        bytes <= max_bytes
    });
    let count = fits.count().max(1);
    let more = count < entries.len();
    entries.truncate(count);
    let until = entries.last().filter(|_| more).map_or(until, |last| last.stamp);
    Taken { entries, until, more }
}

impl Drop for Following {
    fn drop(&mut self) {
        let feeds = std::iter::once(&self.own).chain(&self.spaces);
        feeds.for_each(|feed| self.feeds.leave(feed, &self.follower));
        let mut registry = self.feeds.registry();
        if let Some(followers) = registry.readers.get_mut(self.reader.user()) {
            followers.retain(|follower| !Arc::ptr_eq(follower, &self.follower));
            if followers.is_empty() {
                registry.readers.remove(self.reader.user());
            }
        }
    }
}

impl Feeds {
    fn follow(&self, owner: Owner, reader: &Reader, follower: &Arc<Follower>) -> Arc<Feed> {
        let id = FeedId { owner, app: reader.app().clone() };
        let mut registry = self.registry();
        let target = registry.target;
        let feed = registry.feeds.entry(id.clone()).or_insert_with(|| {
            Arc::new(Feed {
                id,
                state: FeedState { tail: Tail::new(target), followers: Vec::new() }.into(),
                total: Arc::clone(&self.total),
            })
        });
        feed.lock().followers.push(Arc::clone(follower));
        Arc::clone(feed)
    }

    fn leave(&self, feed: &Arc<Feed>, follower: &Arc<Follower>) {
        // The registry is locked first, as in `follow`: nobody finds a feed that is on its way out.
        let mut registry = self.registry();
        let mut state = feed.lock();
        state.followers.retain(|other| !Arc::ptr_eq(other, follower));
        if state.followers.is_empty() {
            registry.feeds.remove(&feed.id);
        }
    }
}
