//! Whether a user pays for sync. The gate fails open: a dead billing service stops nobody.
//!
//! Invariant: no request waits for the service while it is known to be dead, and none asks for
//! what is already being asked.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use moka::future::Cache;
use reqwest::Client;
use serde::Deserialize;
use tracing::warn;
use url::Url;

use super::services::{LookupError, Service, ServiceKey};
use crate::id::{AppId, UserId};
use crate::metrics;

/// How long a user counts as active without an answer, and how long nobody asks a service that
/// was not reached. It counts from the asking, so it is longer than that mostly takes.
const FAILURE_HOLDS: Duration = Duration::from_secs(8);

const MAX_USERS: u64 = 50_000;

/// The gate in front of push, pull and stream. Clones share what is known.
#[derive(Clone)]
pub struct Billing {
    exempt: Arc<HashSet<AppId>>,
    gate: Option<Arc<Gate>>,
}

struct Gate {
    service: Service,
    answers: Cache<UserId, Answer>,
    /// How long an answer holds.
    life: Duration,
    /// Set when the service was not reached: until when nobody asks.
    down_until: ArcSwapOption<Instant>,
}

#[derive(Clone, Copy)]
struct Answer {
    active: bool,
    until: Instant,
}

impl Billing {
    /// Asks the service at this base, which may have a path, by this key; without one everybody
    /// passes. An answer holds for `life`. Users of `exempt` apps always do. `http` must follow no redirects, or it would
    /// carry the key elsewhere.
    #[must_use]
    pub fn new(
        service: Option<(Url, ServiceKey)>,
        exempt: HashSet<AppId>,
        life: Duration,
        http: Client,
    ) -> Self {
        let gate = service.map(|(base, key)| {
            Arc::new(Gate {
                service: Service::new(base, key, http),
                answers: Cache::builder().max_capacity(MAX_USERS).time_to_live(life).build(),
                life,
                down_until: ArcSwapOption::empty(),
            })
        });
        Self { exempt: Arc::new(exempt), gate }
    }

    /// Whether `user` may sync `app`.
    pub async fn active(&self, user: &UserId, app: &AppId) -> bool {
        self.active_at(user, app, Instant::now()).await
    }

    async fn active_at(&self, user: &UserId, app: &AppId, now: Instant) -> bool {
        match &self.gate {
            Some(gate) if !self.exempt.contains(app) => gate.active(user, now).await,
            _ => true,
        }
    }
}

impl fmt::Debug for Billing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Billing").field("exempt", &self.exempt).finish_non_exhaustive()
    }
}

impl Gate {
    async fn active(&self, user: &UserId, now: Instant) -> bool {
        let entry = self.answers.entry_by_ref(user);
        let answer =
            entry.or_insert_with_if(self.answer(user, now), |held| held.until <= now).await;
        if !answer.is_fresh() {
            metrics::lookup("billing", "cache");
        }
        answer.value().active
    }

    async fn answer(&self, user: &UserId, now: Instant) -> Answer {
        if let Some(until) = self.down_until.load().as_deref().filter(|until| now < **until) {
            metrics::lookup("billing", "none");
            metrics::fail_open("billing");
            return Answer { active: true, until: *until };
        }
        match self.ask(user).await {
            Ok(active) => {
                metrics::lookup("billing", "service");
                Answer { active, until: now + self.life }
            }
            Err(error) => {
                metrics::lookup("billing", "none");
                metrics::fail_open("billing");
                warn!(%error, "billing lookup failed; the user counts as active");
                let until = now + FAILURE_HOLDS;
                // An answer, however useless, is about one user, and must not open the gate for
                // all others.
                if error.not_reached() {
                    self.down_until.store(Some(Arc::new(until)));
                }
                Answer { active: true, until }
            }
        }
    }

    async fn ask(&self, user: &UserId) -> Result<bool, LookupError> {
        #[derive(Deserialize)]
        struct Status {
            active: bool,
        }
        let answer = self.service.get("/api/v1/internal/sync/status/", user, "").await?;
        let status: Status = serde_json::from_slice(&answer).map_err(|_| LookupError::Malformed)?;
        Ok(status.active)
    }
}

#[cfg(test)]
mod tests;
