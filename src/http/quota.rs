//! What one user may ask of a node, so that nobody's flood starves the others.
//!
//! Each user has a bucket of requests that fills as time passes, and a budget of bytes in flight. They are generous: somebody with ten tabs that all wake up at once
//! meets neither. Bounds are those of one node; a fleet of them allows as much more.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::Limits;
use super::error::{ApiError, RETRY_AFTER};
use super::room::{Budget, Flow, NoRoom, Room};
use crate::id::UserId;
use crate::metrics;

/// So many seconds' requests may come at once.
const BURST_SECONDS: u32 = 10;

/// Who asks for too much is told so after this: whoever repeats it at once keeps a connection busy
/// with waiting, and no processor.
const BRAKE: Duration = Duration::from_secs(1);

/// Requests of one user that may wait, for that or for a turn; one more is refused at once.
const WAITING: usize = 256;

/// Bytes of a push that count as much as a change.
const CHANGE_BYTES: usize = 5_000;

/// The most users who are remembered.
const MAX_USERS: u64 = 100_000;

/// Who asks for nothing is forgotten after this, or after two bodies' time: longer than the bucket
/// takes to fill, and than a body is held whose room would be given anew.
const FORGET: Duration = Duration::from_mins(5);

/// What each user of this node may ask.
#[derive(Debug)]
pub struct Quotas {
    users: Cache<UserId, Arc<Share>>,
    /// The room of users of which some is taken, remembered or not.
    rooms: Mutex<HashMap<UserId, Weak<Budget>>>,
    /// `None`: as often as they like.
    requests: Option<Quota>,
    user_bytes: usize,
    user_changes: u32,
    node: Arc<Budget>,
}

/// What is left to a user.
#[derive(Debug)]
pub(super) struct Share {
    requests: Option<DefaultDirectRateLimiter>,
    user: Arc<Budget>,
    node: Arc<Budget>,
    /// Places in the writer, one a change, that are free. So what one stores at full speed is no
    /// large part of a batch, and holds nobody's push up for long.
    places: Arc<Semaphore>,
    most: u32,
    /// For requests that wait.
    waiting: Semaphore,
}

/// Places in the writer, to be held until a push is stored, whether somebody waits for it or not.
pub(super) type Turn = OwnedSemaphorePermit;

impl Share {
    /// The turn of a push of so many changes, and bytes.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] where it does not come in time, or too many wait for theirs.
    pub(super) async fn turn(
        &self,
        changes: usize,
        bytes: usize,
        time: Duration,
    ) -> Result<Turn, ApiError> {
        let places = changes.max(bytes / CHANGE_BYTES);
        let places = u32::try_from(places).unwrap_or(u32::MAX).min(self.most);
        let wait = async {
            let _waiting = self.waiting.try_acquire().ok()?;
            let turn = Arc::clone(&self.places).acquire_many_owned(places);
            timeout(time, turn).await.ok()?.ok()
        };
        let free = Arc::clone(&self.places).try_acquire_many_owned(places).ok();
        let turn = if free.is_some() { free } else { wait.await };
        turn.ok_or_else(|| {
            metrics::overflow("user_changes");
            ApiError::TooMany { what: "changes on their way into the log", after: RETRY_AFTER }
        })
    }

    /// Room for so many of the user's bytes, to be held as long as they are in memory.
    pub(super) fn room(&self, flow: Flow, bytes: usize) -> Result<Room, NoRoom> {
        Room::take(&self.node, &self.user, flow, bytes)
    }
}

impl Quotas {
    /// Quotas as these limits say.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        // More than a million a second is no limit.
        let rate = u32::try_from(limits.user_requests).ok().filter(|rate| *rate <= 1_000_000);
        let requests = rate.and_then(NonZeroU32::new).map(|rate| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
            Quota::per_second(rate).allow_burst(burst)
        });
        let forget = FORGET.max(limits.body_time * 2);
        let users = Cache::builder().max_capacity(MAX_USERS).time_to_idle(forget).build();
        let node = Arc::new(Budget::new(limits.inflight_bytes));
        let user_changes = u32::try_from(limits.user_changes).unwrap_or(u32::MAX);
        Self {
            users,
            rooms: Mutex::default(),
            requests,
            user_bytes: limits.user_inflight_bytes,
            user_changes,
            node,
        }
    }

    /// Bytes in flight.
    pub(super) fn inflight_bytes(&self, flow: Flow) -> usize {
        self.node.taken(flow)
    }

    /// Counts a request of this user, and gives the user's share. A refusal takes its time.
    ///
    /// # Errors
    /// [`ApiError::TooMany`], with the time after which there is room for the next.
    pub(super) async fn admit(&self, user: &UserId) -> Result<Arc<Share>, ApiError> {
        let share = self.users.get_with_by_ref(user, || Arc::new(self.share(user)));
        let Some(Err(early)) = share.requests.as_ref().map(DefaultDirectRateLimiter::check) else {
            return Ok(share);
        };
        metrics::overflow("user_requests");
        let after = early.wait_time_from(DefaultClock::default().now());
        if let Ok(_waiting) = share.waiting.try_acquire() {
            sleep(BRAKE).await;
        }
        Err(ApiError::TooMany { what: "requests", after })
    }

    /// A share of a user who is not remembered.
    fn share(&self, user: &UserId) -> Share {
        Share {
            requests: self.requests.map(RateLimiter::direct),
            user: self.room_of(user),
            node: Arc::clone(&self.node),
            places: Arc::new(Semaphore::new(self.user_changes as usize)),
            most: self.user_changes,
            waiting: Semaphore::new(WAITING),
        }
    }

    /// The user's room: that of which some is still taken, or all of it.
    fn room_of(&self, user: &UserId) -> Arc<Budget> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(user).and_then(Weak::upgrade) {
            return room;
        }
        if rooms.len() == rooms.capacity() {
            rooms.retain(|_, room| room.strong_count() > 0);
        }
        let room = Arc::new(Budget::new(self.user_bytes));
        rooms.insert(user.clone(), Arc::downgrade(&room));
        room
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::time::Instant;

    use super::*;

    fn quotas(user_requests: usize) -> Quotas {
        Quotas::new(&Limits {
            inflight_bytes: 0,
            body_time: Duration::ZERO,
            streams: 0,
            user_streams: 0,
            user_requests,
            user_inflight_bytes: 1 << 20,
            user_changes: 400,
            heartbeat: Duration::ZERO,
        })
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_floods_is_told_when_to_come_back_and_others_notice_nothing() {
        let quotas = quotas(2);
        let (alice, begun) = (user("alice"), Instant::now());
        let answers = join_all((0..100).map(|_| quotas.admit(&alice))).await;
        let admitted = answers.iter().filter(|answer| answer.is_ok()).count();
        assert!((20..=21).contains(&admitted), "{admitted} were admitted at once");
        assert_eq!(begun.elapsed(), BRAKE);
        let Err(ApiError::TooMany { after, .. }) = quotas.admit(&alice).await else {
            panic!("admitted")
        };
        assert!(after <= Duration::from_millis(500), "{after:?}");
        assert!(quotas.admit(&user("bob")).await.is_ok());
    }

    #[tokio::test]
    async fn no_limit_is_none() {
        let (quotas, alice) = (quotas(usize::MAX >> 4), user("alice"));
        let answers = join_all((0..10_000).map(|_| quotas.admit(&alice))).await;
        assert!(answers.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_s_pushes_take_turns_and_others_don_t_wait() {
        let quotas = quotas(100);
        let (alice, bob) = (quotas.admit(&user("alice")).await, quotas.admit(&user("bob")).await);
        let (alice, bob) = (alice.unwrap(), bob.unwrap());
        let time = Duration::from_secs(1);
        for (changes, bytes) in [(10_000, 0), (1, 2_000_000)] {
            let first = alice.turn(changes, bytes, time).await;
            assert!(first.is_ok());
            assert!(matches!(alice.turn(1, 0, time).await, Err(ApiError::TooMany { .. })));
            assert!(bob.turn(1, 0, Duration::ZERO).await.is_ok());
            drop(first);
            assert!(alice.turn(1, 0, Duration::ZERO).await.is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_one_user_s_requests_only_some_wait() {
        let quotas = quotas(100);
        let (share, begun) = (quotas.admit(&user("alice")).await.unwrap(), Instant::now());
        let _all = share.turn(400, 0, Duration::ZERO).await.unwrap();
        let waiting = (0..WAITING).map(|_| share.turn(1, 0, BRAKE));
        let more = async {
            let refused = share.turn(1, 0, BRAKE).await.is_err();
            (refused, begun.elapsed())
        };
        let (_, more) = tokio::join!(join_all(waiting), more);
        assert_eq!(more, (true, Duration::ZERO));
    }

    #[tokio::test]
    async fn room_that_is_taken_is_not_had_anew_by_waiting_until_one_is_forgotten() {
        let (quotas, alice) = (quotas(100), user("alice"));
        let all = quotas.admit(&alice).await.unwrap().room(Flow::Events, 1 << 20).unwrap();
        quotas.users.invalidate_all();
        assert!(quotas.admit(&alice).await.unwrap().room(Flow::Events, 1).is_err());
        drop(all);
        assert!(quotas.admit(&alice).await.unwrap().room(Flow::Events, 1).is_ok());
    }
}
