//! Who is connected to this node: streams and `WebSockets`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;
use super::access::Asked;
use super::error::{ApiError, RETRY_AFTER};
use crate::id::UserId;
use crate::metrics;

/// Counts connections by user. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    open: usize,
    users: HashMap<UserId, usize>,
}

/// What is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event stream.
    Stream,
    /// A WebSocket.
    Socket,
}

/// What a stream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It reads what it has missed from the database.
    CatchingUp,
    /// It stands at the tails.
    Live,
    /// It waits for room, or for a database.
    Waiting,
}

/// A connection that counts as long as this lives.
#[derive(Debug)]
pub(super) struct Present {
    presence: Presence,
    user: UserId,
    kind: Kind,
    /// As how many of the user's it counts.
    apps: usize,
    state: State,
    /// Its client does not take what was sent.
    blocked: bool,
    /// The request that it began with.
    asked: Arc<Asked>,
    /// Why it ends.
    because: &'static str,
}

impl Present {
    fn told_state(&self) -> Option<&'static str> {
        let told = match self.state {
            _ if self.blocked => "blocked",
            State::CatchingUp => "catching_up",
            State::Live => "live",
            State::Waiting => "waiting",
        };
        Some(told).filter(|_| self.kind == Kind::Stream)
    }

    /// Says what the stream does now.
    pub(super) fn does(&mut self, state: State) {
        self.tell(state, self.blocked);
    }

    /// Says whether its client does not take what was sent.
    pub(super) fn blocked(&mut self, blocked: bool) {
        self.tell(self.state, blocked);
    }

    /// Mostly nothing is new.
    fn tell(&mut self, state: State, blocked: bool) {
        if (state, blocked) != (self.state, self.blocked) {
            let before = self.told_state();
            (self.state, self.blocked) = (state, blocked);
            metrics::stream_state(before, self.told_state());
        }
    }

    /// Says why it is about to end: `expired`, `drained`; otherwise the client left.
    pub(super) fn because(&mut self, reason: &'static str) {
        self.because = reason;
    }
}

impl Presence {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams and `WebSockets`, and users who have one.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let counts = self.lock();
        (counts.open, counts.users.len())
    }

    /// Counts a connection, unless there are too many. A stream of several apps counts as so many
    /// of its user's: it costs about as much as they would.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] of the user, or [`ApiError::Busy`].
    pub(super) fn enter(
        &self,
        user: &UserId,
        (kind, apps): (Kind, usize),
        asked: Arc<Asked>,
        limits: &Limits,
    ) -> Result<Present, ApiError> {
        let mut counts = self.lock();
        let open = counts.users.get(user).copied().unwrap_or(0);
        if open + apps > limits.user_streams {
            metrics::overflow("user_streams");
            return Err(ApiError::TooMany { what: "streams", after: RETRY_AFTER });
        }
        if counts.open >= limits.streams {
            metrics::overflow("streams");
            return Err(ApiError::Busy("the node has no room for another stream"));
        }
        counts.open += 1;
        counts.users.insert(user.clone(), open + apps);
        if open == 0 {
            metrics::user_connected();
        }
        match kind {
            Kind::Stream => metrics::stream_opened(),
            Kind::Socket => metrics::websocket_opened(),
        }
        let present = Present {
            presence: self.clone(),
            user: user.clone(),
            kind,
            apps,
            state: State::CatchingUp,
            blocked: false,
            asked,
            because: "left",
        };
        metrics::stream_state(None, present.told_state());
        Ok(present)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let kind = if self.kind == Kind::Stream { "stream" } else { "websocket" };
        self.asked.ended(kind, self.because);
        let mut counts = self.presence.lock();
        counts.open -= 1;
        if let Some(count) = counts.users.get_mut(&self.user) {
            *count -= self.apps;
            if *count == 0 {
                counts.users.remove(&self.user);
                metrics::user_disconnected();
            }
        }
        metrics::stream_state(self.told_state(), None);
        match self.kind {
            Kind::Stream => metrics::stream_ended(self.because),
            Kind::Socket => metrics::websocket_closed(),
        }
    }
}
