//! What all of the cast share: who they are, what the oracle knows, and how far the play is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::wire::{space_name, user_name};
use super::world::World;
use crate::client::Target;
use crate::oracle::{Ledger, Line, Standing};

/// The spaces; each user is a member of two of them.
pub(super) const SPACES: usize = 3;
/// When all is stored that will be, readers have this long to see it.
const SETTLE: Duration = Duration::from_secs(40);
/// Requests through nginx, of four.
const THROUGH_NGINX: usize = 3;

/// What all of the cast share.
pub(super) struct Stage<'a> {
    pub(super) world: &'a World,
    pub(super) users: usize,
    pub(super) counts: Counts,
    pub(super) begun: Instant,
    /// Nothing is wrong with the world any more: who trusts an old connection may be alone with it.
    pub(super) healed: CancellationToken,
    /// Nobody gives up any more.
    pub(super) calm: CancellationToken,
    /// Nobody makes changes any more.
    pub(super) over: CancellationToken,
    /// It is known what is stored: who has seen all of it may go.
    pub(super) settled: CancellationToken,
    /// Something is wrong for good: there is nothing left to wait for.
    pub(super) caught: CancellationToken,
    offence: Mutex<Option<Offence>>,
    ledger: Mutex<Ledger>,
    tokens: Vec<String>,
    writers: AtomicUsize,
    /// Pushes under way.
    pushing: AtomicUsize,
    /// When readers are to give up.
    deadline: Mutex<Option<Instant>>,
    /// When somebody gave up last.
    given_up: Mutex<Option<Instant>>,
}

/// What was caught first.
#[derive(Debug, Clone)]
pub(super) struct Offence {
    pub(super) after: Duration,
    pub(super) what: String,
}

impl<'a> Stage<'a> {
    /// Users, their spaces, and what they need.
    pub(super) fn set(world: &'a World, users: usize) -> Self {
        let mut members = vec![Vec::new(); SPACES];
        for user in 0..users {
            for space in spaces_of(user) {
                world.issuer.join(&user_name(user), &space_name(space));
                if let Some(members) = members.get_mut(space) {
                    members.push(user);
                }
            }
        }
        Self {
            world,
            users,
            counts: Counts::default(),
            begun: Instant::now(),
            healed: CancellationToken::new(),
            calm: CancellationToken::new(),
            over: CancellationToken::new(),
            settled: CancellationToken::new(),
            caught: CancellationToken::new(),
            offence: Mutex::new(None),
            ledger: Mutex::new(Ledger::new(&members, users)),
            tokens: (0..users).map(|user| world.token(&user_name(user))).collect(),
            writers: AtomicUsize::new(0),
            pushing: AtomicUsize::new(0),
            deadline: Mutex::new(None),
            given_up: Mutex::new(None),
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn token(&self, user: usize) -> &str {
        self.tokens.get(user).map_or("", String::as_str)
    }

    /// The number of a new writer: of a tab.
    pub(super) fn writer(&self) -> usize {
        self.writers.fetch_add(1, Ordering::Relaxed)
    }

    /// The user who comes and goes.
    pub(super) fn guest(&self) -> Option<usize> {
        (self.users > 2).then(|| self.users - 1)
    }

    /// A way to some node.
    pub(super) fn door(&self, rng: &mut Rng) -> &Target {
        if rng.usize(0..4) < THROUGH_NGINX {
            &self.world.entrance
        } else {
            self.world.direct(rng.usize(0..self.world.nodes.len()))
        }
    }

    /// It is known what is stored. Readers have their time from now on.
    pub(super) fn settle(&self) {
        self.give_time();
        self.settled.cancel();
    }

    /// Readers that begin now have as long as those before.
    pub(super) fn give_time(&self) {
        let deadline = Instant::now() + SETTLE;
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    /// Whether a reader has seen all that it is to see, or has had its time.
    pub(super) fn is_over(&self, line: &Line) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        let is_late = |deadline: Instant| Instant::now() >= deadline;
        self.caught.is_cancelled()
            || deadline
                .is_some_and(|deadline| is_late(deadline) || self.ledger().missing(line).is_empty())
    }

    /// Something is wrong with a line.
    pub(super) fn catch(&self, line: &Line) {
        let mut offence = self.offence.lock().unwrap_or_else(PoisonError::into_inner);
        if offence.is_none() {
            let what = format!("{}: {}", line.name, line.offence().unwrap_or_default());
            *offence = Some(Offence { after: self.begun.elapsed(), what });
            self.caught.cancel();
        }
    }

    /// What was caught first.
    pub(super) fn offence(&self) -> Option<Offence> {
        self.offence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many pushes are being made, or wait for their answer.
    pub(super) fn under_way(&self) -> &AtomicUsize {
        &self.pushing
    }

    /// Somebody has given a push up.
    pub(super) fn gave_up(&self) {
        *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When somebody gave up last.
    pub(super) fn last_given_up(&self) -> Option<Instant> {
        *self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a user is in a space for good.
    pub(super) fn is_member(&self, user: usize, space: usize) -> bool {
        self.ledger().standing(user, space) == Standing::Member
    }
}

/// The spaces that a user is in at first.
pub(super) fn spaces_of(user: usize) -> [usize; 2] {
    [user % SPACES, (user + 1) % SPACES]
}

/// A space of the user, or none: half of all changes are private.
pub(super) fn draw_space(user: usize, rng: &mut Rng) -> Option<usize> {
    spaces_of(user).get(rng.usize(0..4)).copied()
}
