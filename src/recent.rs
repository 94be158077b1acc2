//! What moved lately: who is known to have no news need not ask the database.
//!
//! The chain of rings names every feed and every user's memberships that moved, whoever wrote. So
//! a node that remembers what they named knows of most reads, without a statement, that they would
//! find nothing: polls of the idle, and answers to pushes. Which spaces a reader is a member of
//! is remembered from the last question, and holds until a ring says that it moved. Pure.
//!
//! Invariant: a feed, or a membership, of which no move is remembered after a stamp at which the
//! memory is complete, has not moved between that stamp and the watermark. The relay notes a
//! ring before the watermark passes it, so look at the watermark first. What it passes without a
//! ring is forgotten as a whole, and so is everything when the database may have become another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::doorbell::{FeedId, Move, Owner};
use crate::grant::Reader;
use crate::id::{SpaceId, Stamp, UserId};
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};

/// The most feeds and users whose moves are remembered, in each of two generations.
const MOST_MOVED: usize = 50_000;

/// The most users whose spaces are remembered, in each of two generations.
const MOST_STANDINGS: usize = 50_000;

/// Whoever is a member of more spaces asks.
const MOST_SPACES: usize = 100;

/// What a push moved by itself: its own changes are no news to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    /// The last stamp of its batch.
    pub last: Stamp,
    /// The feeds into which it alone wrote in that batch.
    pub feeds: Vec<FeedId>,
}

/// How often everything was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(u64);

/// The memory of a node.
#[derive(Debug)]
pub struct Recent {
    /// Whether there are spaces at all.
    spaces: bool,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    young: Moved,
    old: Moved,
    /// The last ring that was noted.
    at: Stamp,
    young_standings: HashMap<UserId, Standing>,
    old_standings: HashMap<UserId, Standing>,
    age: Age,
}

/// All moves after a stamp.
#[derive(Debug, Default)]
struct Moved {
    from: Stamp,
    feeds: HashMap<FeedId, Last>,
    members: HashMap<UserId, Stamp>,
}

/// When a feed moved last, and before that; the start where that is not remembered.
#[derive(Debug, Clone, Copy)]
struct Last {
    at: Stamp,
    before: Stamp,
}

/// A user's spaces, as a read up to `at` found them. None was joined after `since`.
#[derive(Debug, Clone)]
struct Standing {
    since: Stamp,
    at: Stamp,
    spaces: Option<Arc<[SpaceId]>>,
}

impl Recent {
    /// Remembers from a stamp on. `spaces`: whether there are any.
    #[must_use]
    pub fn new(from: Stamp, spaces: bool) -> Self {
        Self { spaces, memory: Mutex::new(Memory::new(from, Age(0))) }
    }

    /// Whether there are spaces at all.
    #[must_use]
    pub fn has_spaces(&self) -> bool {
        self.spaces
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a ring named, before the watermark passes its last stamp.
    pub fn note(&self, last: Stamp, moves: &[Move]) {
        self.lock().note(last, moves);
    }

    /// What moved up to `from` was not named, or another database may have taken its place.
    pub fn forget(&self, from: Stamp) {
        let mut memory = self.lock();
        let Age(times) = memory.age;
        *memory = Memory::new(from, Age(times + 1));
    }

    /// To be taken before the read whose result is [learnt](Self::learn).
    #[must_use]
    pub fn age(&self) -> Age {
        self.lock().age
    }

    /// Keeps the spaces that a read up to `bound` found for a reader who stood at `since`, all of
    /// which were joined before that. `None`: unverified.
    pub fn learn(
        &self,
        reader: &Reader,
        (since, bound): (Stamp, Stamp),
        spaces: Option<&[SpaceId]>,
        age: Age,
    ) {
        if !self.spaces || spaces.is_some_and(|spaces| spaces.len() > MOST_SPACES) {
            return;
        }
        let mut memory = self.lock();
        if memory.age == age {
            let standing = Standing { since, at: bound, spaces: spaces.map(Into::into) };
            memory.keep(reader.user(), standing);
        }
    }

    /// The reader's spaces, where it is known that there is nothing new since `since` but `own`;
    /// `None` where that is not known.
    #[must_use]
    pub fn nothing_new(&self, reader: &Reader, since: Stamp, own: &Own) -> Option<Known> {
        let memory = self.lock();
        let feed = |owner| FeedId { owner, app: reader.app().clone() };
        let user = feed(Owner::User(reader.user().clone()));
        if since < memory.old.from || !memory.is_quiet(&user, since, own) {
            return None;
        }
        if !self.spaces {
            return Some(Known(None));
        }
        let standing = memory.standing(reader.user(), since)?;
        let mut spaces = standing.spaces.iter().flat_map(|spaces| spaces.iter());
        let quiet =
            spaces.all(|space| memory.is_quiet(&feed(Owner::Space(space.clone())), since, own));
        quiet.then(|| Known(standing.spaces.clone()))
    }
}

/// The verified spaces of a reader for whom there is nothing new; `None` while unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known(pub Option<Arc<[SpaceId]>>);

impl Memory {
    fn new(from: Stamp, age: Age) -> Self {
        let moved = || Moved { from, ..Moved::default() };
        Self {
            young: moved(),
            old: moved(),
            at: from,
            young_standings: HashMap::new(),
            old_standings: HashMap::new(),
            age,
        }
    }

    fn note(&mut self, last: Stamp, moves: &[Move]) {
        if self.young.feeds.len() + self.young.members.len() >= MOST_MOVED {
            let young = Moved { from: self.at, ..Moved::default() };
            self.old = std::mem::replace(&mut self.young, young);
        }
        for m in moves {
            match m {
                Move::Feed(id, _) => {
                    let before = self.last(id).map_or(Stamp::START, |known| known.at);
                    self.young.feeds.insert(id.clone(), Last { at: last, before });
                }
                #[cfg(feature = "mutants")]
                Move::Members(_) if mutants::is(Mutant::StaleMembers) => {}
                Move::Members(user) => {
                    self.young.members.insert(user.clone(), last);
                }
            }
        }
        self.at = self.at.max(last);
    }

    fn keep(&mut self, user: &UserId, standing: Standing) {
        if self.young_standings.len() >= MOST_STANDINGS {
            self.old_standings = std::mem::take(&mut self.young_standings);
        }
        self.young_standings.insert(user.clone(), standing);
    }

    fn last(&self, feed: &FeedId) -> Option<Last> {
        self.young.feeds.get(feed).or_else(|| self.old.feeds.get(feed)).copied()
    }

    /// Whether nobody but `own` has moved the feed after `since`.
    fn is_quiet(&self, feed: &FeedId, since: Stamp, own: &Own) -> bool {
        let Some(last) = self.last(feed) else { return true };
        let is_own = || last.at == own.last && last.before <= since && own.feeds.contains(feed);
        last.at <= since || is_own()
    }

    /// What is known of a user's spaces, if that still holds and none was joined after `since`.
    fn standing(&self, user: &UserId, since: Stamp) -> Option<&Standing> {
        let known = self.young_standings.get(user).or_else(|| self.old_standings.get(user))?;
        let moved = self.young.members.get(user).or_else(|| self.old.members.get(user));
        let holds = known.at >= self.old.from && moved.is_none_or(|moved| *moved <= known.at);
        (holds && known.since <= since).then_some(known)
    }
}

#[cfg(test)]
mod tests;
