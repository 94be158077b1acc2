//! Is what the fleet holds about a user's memberships fresh? If not, one node asks.
//!
//! Answers live in the database, for all nodes; here is only the memory that one was fresh until
//! when, so that a poll costs no question. Reads take memberships from the database itself, so a
//! memory that is out of date can delay a joining, but never shows a space that was lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use moka::future::Cache;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::lookups::Lookups;
use super::services::AuthService;
use crate::id::UserId;
use crate::metrics;
use crate::store::{Ask, Store, StoreError};

/// The most users whose freshness is remembered.
const MAX_USERS: u64 = 100_000;

/// A question of another node that has no answer after this may be asked again.
const LEASE: Duration = Duration::from_secs(5);

/// How long another node's question is waited for where nothing is known yet.
const WAIT: Duration = Duration::from_secs(4);

/// How often is looked whether the other node has its answer.
const LOOK: Duration = Duration::from_millis(25);

/// A known answer, about which another node asks just now, is gone by for so long.
const MEANWHILE: Duration = Duration::from_secs(1);

/// After a service that could not be reached, or was too slow, nobody waits for it for so long.
const QUIET: Duration = Duration::from_secs(1);

/// A known answer that could not be asked for anew is gone by for so long, so that a slow service
/// slows down few requests.
const HOLD: Duration = Duration::from_secs(5);

/// The most users who wait to be looked up while nobody waits for them.
const MAX_REQUESTS: usize = 20_000;

/// How many of them are looked up at the same time.
const LOOKUPS: usize = 32;

/// Knows whether memberships are fresh. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Members {
    store: Store,
    service: Option<AuthService>,
    life: Duration,
    /// Until when a user's answer is fresh.
    fresh: Cache<UserId, Instant>,
    lookups: Lookups<Result<Instant, NotFresh>>,
    /// The service could not be reached: until then nobody asks it through this node.
    quiet_until: Arc<Mutex<Option<Instant>>>,
    requested: mpsc::Sender<UserId>,
}

/// Users whose memberships are to be made fresh while nobody waits.
#[derive(Debug)]
pub struct Requests(mpsc::Receiver<UserId>);

/// No fresh answer could be had; what is known holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NotFresh;

/// What is known about the freshness of a user's memberships.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// They were found fresh until then some time ago.
    Remembered(Instant),
    /// They were looked up now, and are fresh until then.
    Asked(Instant),
    /// They could not be looked up.
    Unknown,
}

impl Members {
    /// Answers are good for `life`. Without a service, spaces are off.
    #[must_use]
    pub fn new(store: Store, service: Option<AuthService>, life: Duration) -> (Self, Requests) {
        let fresh = Cache::builder().max_capacity(MAX_USERS).time_to_live(life).build();
        let (requested, requests) = mpsc::channel(MAX_REQUESTS);
        let members = Self {
            store,
            service,
            life,
            fresh,
            lookups: Lookups::default(),
            quiet_until: Arc::default(),
            requested,
        };
        (members, Requests(requests))
    }

    /// Whether there are spaces at all.
    #[must_use]
    pub fn spaces_on(&self) -> bool {
        self.service.is_some()
    }

    /// Sees to it that what the database holds about `user` is fresh, as far as that can be done.
    pub async fn refresh(&self, user: &UserId) -> Freshness {
        let Some(service) = &self.service else { return Freshness::Unknown };
        if let Some(until) = self.fresh.get(user).await {
            if Instant::now() < until {
                metrics::lookup("membership", "cache");
                return Freshness::Remembered(until);
            }
            self.fresh.invalidate(user).await;
        }
        let look_up = || self.clone().look_up_and_keep(service.clone(), user.clone()).boxed();
        let looked = self.lookups.join(user, look_up).await;
        looked.map_or(Freshness::Unknown, Freshness::Asked)
    }

    /// Until when the answer that is remembered is, or was, fresh; `None` where there was none.
    pub async fn fresh_until(&self, user: &UserId) -> Option<Instant> {
        self.fresh.get(user).await
    }

    /// Has memberships made fresh by [`Members::run`], so that nobody waits. Where too many are to
    /// be looked up already, it is left to whoever asks next.
    pub fn request(&self, user: &UserId) {
        if self.requested.try_send(user.clone()).is_err() {
            metrics::overflow("lookups");
        }
    }

    /// Looks up what was requested, until told to stop.
    pub async fn run(self, requests: Requests, stop: CancellationToken) {
        let users = stream::unfold(requests.0, |mut requests| async {
            Some((requests.recv().await?, requests))
        });
        let looked_up = users.for_each_concurrent(LOOKUPS, |user| {
            let members = self.clone();
            async move {
                members.refresh(&user).await;
            }
        });
        stop.run_until_cancelled(looked_up).await;
    }

    /// The database says that nothing is verified: what is remembered is out of date.
    pub async fn forget(&self, user: &UserId) {
        self.fresh.invalidate(user).await;
    }

    /// Forgets what is known of a user, in the whole fleet, and asks at once.
    ///
    /// # Errors
    /// [`StoreError`] where the database could not be told; then nothing is forgotten.
    pub async fn invalidate(&self, user: &UserId) -> Result<(), StoreError> {
        self.store.invalidate(user).await?;
        self.forget(user).await;
        self.refresh(user).await;
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        self.quiet_until().is_some_and(|until| Instant::now() < until)
    }

    fn quiet_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up_and_keep(
        self,
        service: AuthService,
        user: UserId,
    ) -> Result<Instant, NotFresh> {
        // Another lookup may have ended just before this one began.
        let fresh = self.fresh.get(&user).await.filter(|until| Instant::now() < *until);
        if let Some(until) = fresh {
            return Ok(until);
        }
        let until = self.look_up(&service, &user).await?;
        self.fresh.insert(user, until).await;
        Ok(until)
    }

    async fn look_up(&self, service: &AuthService, user: &UserId) -> Result<Instant, NotFresh> {
        let deadline = Instant::now() + WAIT;
        loop {
            let asked = self.store.ask(user, self.life, LEASE).await.map_err(not_fresh)?;
            match asked {
                (Ask::Fresh(left), _) => {
                    metrics::lookup("membership", "database");
                    return Ok(Instant::now() + left);
                }
                (Ask::You(question), verified) if self.is_quiet() => {
                    self.store.unanswered(user, question).await.map_err(not_fresh)?;
                    return if verified { Ok(last_known(QUIET)) } else { Err(NotFresh) };
                }
                (Ask::You(question), verified) => match self.ask(service, user, question).await {
                    Ok(Some(until)) => return Ok(until),
                    Ok(None) => {}
                    Err(NotFresh) if verified => return Ok(last_known(HOLD)),
                    Err(NotFresh) => return Err(NotFresh),
                },
                (Ask::Another, true) => {
                    metrics::lookup("membership", "last_known");
                    return Ok(Instant::now() + MEANWHILE);
                }
                (Ask::Another, false) if Instant::now() < deadline => sleep(LOOK).await,
                (Ask::Another, false) => return Err(NotFresh),
            }
        }
    }

    /// Asks the service, keeps its answer, and publishes what that allows. `None` where somebody
    /// has invalidated meanwhile, so that the question is to be put again.
    async fn ask(
        &self,
        service: &AuthService,
        user: &UserId,
        question: i64,
    ) -> Result<Option<Instant>, NotFresh> {
        let begun = Instant::now();
        let spaces = match service.memberships(user).await {
            Ok(spaces) => spaces,
            Err(error) => {
                tracing::warn!(%error, "memberships could not be looked up");
                if error.not_reached() {
                    *self.quiet_until() = Some(Instant::now() + QUIET);
                }
                metrics::lookup("membership", "none");
                self.store.unanswered(user, question).await.map_err(not_fresh)?;
                return Err(NotFresh);
            }
        };
        metrics::lookup("membership", "service");
        let answered = self.store.answer(user, question, &spaces).await.map_err(not_fresh)?;
        if answered.moved {
            self.store.publish(user).await.map_err(not_fresh)?;
        }
        Ok(answered.kept.then_some(begun + self.life))
    }
}

/// The service owes an answer; what is last known is gone by for so long.
fn last_known(hold: Duration) -> Instant {
    metrics::lookup("membership", "last_known");
    metrics::fail_open("membership");
    Instant::now() + hold
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn not_fresh(error: StoreError) -> NotFresh {
    tracing::warn!(%error, "memberships could not be kept");
    NotFresh
}

/// Publishes, now and then, what a node that died while publishing has left.
pub async fn sweep(store: Store, every: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    let sweeping = async {
        loop {
            ticks.tick().await;
            for user in store.publishing().await.unwrap_or_default() {
                if let Err(error) = store.publish(&user).await {
                    tracing::warn!(%error, "a sweep could not publish");
                }
            }
        }
    };
    stop.run_until_cancelled(sweeping).await.unwrap_or(());
}
