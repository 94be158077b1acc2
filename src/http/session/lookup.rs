//! A stream sees to it that its user's memberships stay fresh: also those whose owner opens a stream
//! and asks for nothing else.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;

/// A lookup of memberships that failed is repeated after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A lookup is mostly answered after this.
const ANSWERED: Duration = Duration::from_millis(100);

/// The next look at whether memberships are fresh.
pub(super) struct LookUp {
    pub(super) at: Instant,
    /// Whether it was requested that they be looked up.
    requested: bool,
}

impl LookUp {
    /// One at this time.
    pub(super) fn at(at: Instant) -> Self {
        Self { at, requested: false }
    }
}

impl Session {
    /// Whether it is for this stream to see to that.
    pub(super) fn looks_up(&self) -> bool {
        self.begun() && self.api.members.spaces_on()
    }

    /// Sees to it that memberships are looked up when they are no longer fresh. Nobody waits for
    /// that here: what it changes is rung, and read then.
    pub(super) async fn look_up(&mut self) {
        let (members, user) = (&self.api.members, self.following.user());
        let now = Instant::now();
        self.look_up = match members.fresh_until(user).await {
            Some(until) if now < until => LookUp::at(until),
            None if self.look_up.requested => LookUp::at(now + LOOK_AGAIN),
            _ => {
                members.request(user);
                LookUp { at: now + ANSWERED, requested: true }
            }
        };
    }

    /// Nothing is verified. Maybe it was invalidated since it was found fresh: then at once.
    pub(super) async fn look_up_again(&mut self) {
        let (members, user) = (&self.api.members, self.following.user());
        let now = Instant::now();
        if members.fresh_until(user).await.is_some_and(|until| now < until) {
            members.forget(user).await;
            self.look_up.at = now;
        } else {
            self.look_up.at = self.look_up.at.min(now + LOOK_AGAIN);
        }
    }
}
