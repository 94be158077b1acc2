//! How far this node has heard, for those who wait.
//!
//! The relay moves it; pushes wait until it has passed what they stored, reads until it has
//! reached the clock. Whoever waits also says what for, so that a lost ring is missed at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::id::Stamp;

#[derive(Debug, Default)]
struct Expected {
    micros: AtomicI64,
    raised: Notify,
}

/// A view of the node's watermark. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    heard: watch::Receiver<Stamp>,
    expected: Arc<Expected>,
}

/// The relay's end.
#[derive(Debug)]
pub struct Advance {
    heard: watch::Sender<Stamp>,
    expected: Arc<Expected>,
}

/// A watermark at `start`, and its view.
#[must_use]
pub fn progress(start: Stamp) -> (Advance, Progress) {
    let (sender, heard) = watch::channel(start);
    let expected = Arc::<Expected>::default();
    (Advance { heard: sender, expected: Arc::clone(&expected) }, Progress { heard, expected })
}

impl Progress {
    /// Everything up to here is committed, and readable by a statement that begins now.
    #[must_use]
    pub fn at(&self) -> Stamp {
        *self.heard.borrow()
    }

    /// Says that a stamp was given, which the watermark is to reach.
    pub fn expect(&self, stamp: Stamp) {
        if self.expected.micros.fetch_max(stamp.micros(), Ordering::AcqRel) < stamp.micros() {
            self.expected.raised.notify_one();
        }
    }

    /// Waits until the watermark has reached `stamp`, at most for `patience`; says whether it has.
    pub async fn reach(&self, stamp: Stamp, patience: Duration) -> bool {
        if self.at() >= stamp {
            return true;
        }
        self.expect(stamp);
        let mut heard = self.heard.clone();
        matches!(timeout(patience, heard.wait_for(|at| *at >= stamp)).await, Ok(Ok(_)))
    }
}

impl Advance {
    /// Moves the watermark.
    pub fn to(&self, stamp: Stamp) {
        self.heard.send_if_modified(|at| {
            let moved = stamp > *at;
            *at = stamp.max(*at);
            moved
        });
    }

    /// Waits until somebody expects a stamp that was not expected before.
    pub async fn raised(&self) -> Stamp {
        self.expected.raised.notified().await;
        Stamp::from_micros(self.expected.micros.load(Ordering::Acquire))
    }
}
