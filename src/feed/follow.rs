//! A follower: a stream's view of the feeds it reads.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

use super::{Entry, Feed, FeedState, Feeds, Tail};
use crate::doorbell::{FeedId, Owner};
use crate::grant::Reader;
use crate::id::{SpaceId, Stamp, UserId};
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
    /// The changes after the stream's cursors, in order.
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
    /// It can't: it is to read the database.
    Behind(Behind),
}

/// What of a stream can't go on from the tails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The app at this place of those that were to be taken from.
    App(usize),
    /// All apps: memberships moved, or nothing may be known of what lies after the stamp.
    All(Option<Stamp>),
}

/// A stream's hold on what moves for its user; ends with it. The feeds it follows are
/// [`AppFeeds`], one for each app.
#[derive(Debug)]
pub struct Following {
    feeds: Arc<Feeds>,
    user: UserId,
    follower: Arc<Follower>,
}

impl Following {
    /// Hears of the user's memberships from now on.
    #[must_use]
    pub fn begin(feeds: Arc<Feeds>, user: UserId) -> Self {
        let follower = Arc::new(Follower {
            woken: Notify::new(),
            members: AtomicBool::new(false),
            rewind: AtomicI64::new(i64::MAX),
        });
        let mut registry = feeds.registry();
        registry.readers.entry(user.clone()).or_default().push(Arc::clone(&follower));
        drop(registry);
        Self { feeds, user, follower }
    }

    /// Follows the reader's own feed. From now on nothing of it is missed.
    #[must_use]
    pub fn app(&self, reader: Reader) -> AppFeeds {
        let (feeds, follower) = (Arc::clone(&self.feeds), Arc::clone(&self.follower));
        let own = feeds.follow(Owner::User(reader.user().clone()), &reader, &follower);
        AppFeeds { feeds, follower, reader, own, spaces: Vec::new() }
    }

    /// Whose stream it is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Waits until something moved. A wake-up that came since the last call is not lost.
    pub fn moved(&self) -> impl Future<Output = ()> {
        self.follower.woken.notified()
    }

    /// The database is about to be asked, for all apps, who the user is a member of.
    pub fn asking_members(&self) {
        self.follower.members.store(false, Ordering::Release);
    }

    /// Takes what the tails of these apps hold, for each after its cursor: up to about `max_bytes`,
    /// in the one order of all changes.
    #[must_use]
    pub fn take<'a>(
        &self,
        apps: impl Iterator<Item = (&'a AppFeeds, Cursor)> + Clone,
        tables: &Tables,
        max_bytes: usize,
    ) -> Caught {
        let rewind = self.follower.rewind.swap(i64::MAX, Ordering::AcqRel);
        if rewind != i64::MAX {
            return Caught::Behind(Behind::All(Some(Stamp::from_micros(rewind))));
        }
        // The watermark first: a flag that was set for a step is seen with it.
        let published = self.feeds.published();
        if self.follower.members.load(Ordering::Acquire) {
            return Caught::Behind(Behind::All(None));
        }
        // A page may have been read beyond the watermark.
        let least = apps.clone().map(|(_, cursor)| cursor.stamp).min();
        let until = least.map_or(published, |least| published.max(least));
        let mut entries = Vec::new();
        for (place, (app, cursor)) in apps.enumerate() {
            let in_history = cursor.history.is_some();
            if in_history || !app.gather(cursor.stamp, until, tables, &mut entries) {
                return Caught::Behind(Behind::App(place));
            }
        }
        entries.sort_by_key(|entry| entry.stamp);
        Caught::Up(cut(entries, until, max_bytes))
    }
}

/// The feeds of one app that a stream follows.
#[derive(Debug)]
pub struct AppFeeds {
    feeds: Arc<Feeds>,
    follower: Arc<Follower>,
    reader: Reader,
    own: Arc<Feed>,
    spaces: Vec<Arc<Feed>>,
}

impl AppFeeds {
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

    /// Gathers what the tails hold between the two; false where they don't reach back so far.
    fn gather(
        &self,
        after: Stamp,
        until: Stamp,
        tables: &Tables,
        entries: &mut Vec<Arc<Entry>>,
    ) -> bool {
        for feed in std::iter::once(&self.own).chain(&self.spaces) {
            let is_space = matches!(feed.id.owner, Owner::Space(_));
            let state = feed.lock();
            if state.tail.complete_from() > after {
                return false;
            }
            let new = state.tail.between(after, until);
            entries.extend(new.filter(|e| self.wants(e, is_space, tables)).cloned());
        }
        true
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
        let mut registry = self.feeds.registry();
        if let Some(followers) = registry.readers.get_mut(&self.user) {
            followers.retain(|follower| !Arc::ptr_eq(follower, &self.follower));
            if followers.is_empty() {
                registry.readers.remove(&self.user);
            }
        }
    }
}

impl Drop for AppFeeds {
    fn drop(&mut self) {
        let feeds = std::iter::once(&self.own).chain(&self.spaces);
        feeds.for_each(|feed| self.feeds.leave(feed, &self.follower));
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
