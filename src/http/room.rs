//! Room for bytes in flight: how much of the node's memory request bodies, answers and events may
//! take, all of a kind together, and those of one user.
//!
//! A client may send and read as slowly as it likes, and what it has sent and what waits for it
//! stays in memory. The invariant: whoever keeps bytes for a client holds room for them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{ApiError, RETRY_AFTER};
use crate::metrics;

/// What is in flight. Each has room of its own: slow streams hold up no answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Request bodies.
    Bodies,
    /// Answers on their way out.
    Answers,
    /// Events on their way out.
    Events,
}

impl Flow {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Bodies, Self::Answers, Self::Events];

    /// Its name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bodies => "bodies",
            Self::Answers => "answers",
            Self::Events => "events",
        }
    }
}

/// The room that the node has, or that a user has of it.
#[derive(Debug)]
pub(super) struct Budget {
    kibibytes: u32,
    /// Kibibytes that are left, by kind.
    left: [Arc<Semaphore>; 3],
}

impl Budget {
    /// So many bytes for each kind.
    pub(super) fn new(bytes: usize) -> Self {
        let kibibytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        let left = || Arc::new(Semaphore::new(kibibytes as usize));
        Self { kibibytes, left: [left(), left(), left()] }
    }

    /// Bytes that are taken.
    pub(super) fn taken(&self, flow: Flow) -> usize {
        (self.kibibytes as usize - self.left[flow as usize].available_permits()) * 1024
    }

    /// What is larger than all the room takes all of it: it can be sent, once nothing else is.
    fn take(&self, flow: Flow, kibibytes: u32) -> Option<OwnedSemaphorePermit> {
        let left = Arc::clone(&self.left[flow as usize]);
        left.try_acquire_many_owned(kibibytes.min(self.kibibytes)).ok()
    }
}

/// Room that is held, of the node's and of the user's.
#[derive(Debug)]
pub(super) struct Room {
    of_node: OwnedSemaphorePermit,
    of_user: OwnedSemaphorePermit,
    /// Held, so that the user's room is known as long as some of it is taken.
    _user: Arc<Budget>,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    flow: Flow,
    /// Whether it is the user who has none.
    of_user: bool,
}

impl Room {
    pub(super) fn take(
        node: &Budget,
        user: &Arc<Budget>,
        flow: Flow,
        bytes: usize,
    ) -> Result<Self, NoRoom> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let taken = user.take(flow, kibibytes).ok_or(true).and_then(|of_user| {
            let of_node = node.take(flow, kibibytes).ok_or(false)?;
            Ok(Self { of_node, of_user, _user: Arc::clone(user) })
        });
        taken.map_err(|of_user| {
            metrics::overflow(match (flow, of_user) {
                (Flow::Bodies, false) => "inflight_bytes",
                (Flow::Bodies, true) => "user_inflight_bytes",
                (_, false) => "answer_bytes",
                (_, true) => "user_answer_bytes",
            });
            NoRoom { flow, of_user }
        })
    }

    /// Bytes that it is for.
    pub(super) fn bytes(&self) -> usize {
        self.of_node.num_permits() * 1024
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.of_node.merge(other.of_node);
        self.of_user.merge(other.of_user);
    }

    /// Gives back what is not needed for these bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        for permit in [&mut self.of_node, &mut self.of_user] {
            drop(permit.split(permit.num_permits().saturating_sub(bytes.div_ceil(1024))));
        }
    }
}

impl From<NoRoom> for ApiError {
    fn from(NoRoom { flow, of_user }: NoRoom) -> Self {
        let (what, busy) = match flow {
            Flow::Bodies => ("request bodies in flight", "too many request bodies are in flight"),
            Flow::Answers | Flow::Events => {
                ("answers on their way out", "too many answers are on their way out")
            }
        };
        if of_user { Self::TooMany { what, after: RETRY_AFTER } } else { Self::Busy(busy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: usize = 1 << 20;

    fn budget(bytes: usize) -> Arc<Budget> {
        Arc::new(Budget::new(bytes))
    }

    #[test]
    fn one_user_s_bytes_leave_room_for_others() {
        let (node, alice, bob) = (Budget::new(2 * MEGABYTE), budget(MEGABYTE), budget(MEGABYTE));
        for flow in Flow::ALL {
            let held = Room::take(&node, &alice, flow, MEGABYTE).unwrap();
            let more = Room::take(&node, &alice, flow, 1).unwrap_err();
            assert_eq!(more, NoRoom { flow, of_user: true });
            let others = Room::take(&node, &bob, flow, MEGABYTE).unwrap();
            assert_eq!(node.taken(flow), 2 * MEGABYTE);
            drop((held, others));
            assert_eq!(node.taken(flow), 0);
        }
    }

    #[test]
    fn what_the_node_has_no_room_for_costs_the_user_none() {
        let (node, alice) = (Budget::new(MEGABYTE), budget(4 * MEGABYTE));
        let held = Room::take(&node, &alice, Flow::Events, MEGABYTE).unwrap();
        let more = Room::take(&node, &alice, Flow::Events, MEGABYTE).unwrap_err();
        assert_eq!(more, NoRoom { flow: Flow::Events, of_user: false });
        assert_eq!(alice.taken(Flow::Events), MEGABYTE);
        drop(held);
        assert_eq!(alice.taken(Flow::Events), 0);
    }

    #[test]
    fn room_that_is_not_needed_is_given_back() {
        let (node, alice) = (Budget::new(MEGABYTE), budget(MEGABYTE));
        let mut held = Room::take(&node, &alice, Flow::Events, MEGABYTE).unwrap();
        held.shrink(1025);
        assert_eq!((held.bytes(), node.taken(Flow::Events)), (2048, 2048));
        assert_eq!(alice.taken(Flow::Events), 2048);
    }

    #[test]
    fn what_is_larger_than_all_the_room_is_sent_alone() {
        let (node, alice) = (Budget::new(4 * MEGABYTE), budget(MEGABYTE));
        let held = Room::take(&node, &alice, Flow::Answers, 3 * MEGABYTE).unwrap();
        assert!(Room::take(&node, &alice, Flow::Answers, 1).is_err());
        drop(held);
        assert!(Room::take(&node, &alice, Flow::Answers, 1).is_ok());
    }
}
