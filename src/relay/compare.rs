//! The periodic comparison: does the log hold moves that no ring named? There should be none.

use std::collections::HashSet;

use super::step::FEEDS_AT_ONCE;
use crate::doorbell::Move;
use crate::feed::Feeds;
use crate::id::Stamp;
use crate::metrics;
use crate::store::Store;

/// The most moves that are remembered in a window; a busier window is not compared.
const MAX_NAMED: usize = 100_000;

/// What was named since the last comparison.
pub(super) struct Named {
    from: Stamp,
    keys: HashSet<Move>,
    overflowed: bool,
}

/// A window that is over.
pub(super) struct Window {
    from: Stamp,
    to: Stamp,
    keys: HashSet<Move>,
}

/// What a comparison found.
pub(super) struct Comparison {
    /// Where its window began.
    pub(super) from: Stamp,
    /// Moves that no ring had named.
    pub(super) missed: Vec<Move>,
}

impl Named {
    pub(super) fn new(from: Stamp) -> Self {
        Self { from, keys: HashSet::new(), overflowed: false }
    }

    /// A window in which a stretch was asked instead of rung is not compared: it was asked for those
    /// who followed then.
    pub(super) fn note(&mut self, moves: &[Move], asked: bool) {
        let full = self.keys.len() + moves.len() > MAX_NAMED;
        if full && !self.overflowed {
            metrics::overflow("compared_moves");
        }
        if asked || full {
            self.overflowed = true;
            self.keys.clear();
        }
        if !self.overflowed {
            self.keys.extend(moves.iter().map(key));
        }
    }

    /// Ends the window at `to`, and begins the next there.
    pub(super) fn close(&mut self, to: Stamp) -> Option<Window> {
        let ended = std::mem::replace(self, Self::new(to));
        (!ended.overflowed && ended.from < to).then_some(Window {
            from: ended.from,
            to,
            keys: ended.keys,
        })
    }
}

/// A move without the tables.
fn key(m: &Move) -> Move {
    match m {
        Move::Feed(id, _) => Move::Feed(id.clone(), None),
        Move::Members(user) => Move::Members(user.clone()),
    }
}

impl Window {
    /// Asks the log about those who are followed here.
    pub(super) fn compare(
        self,
        store: Store,
        feeds: &Feeds,
    ) -> impl Future<Output = Comparison> + Send + use<> {
        let followed = feeds.followed();
        async move {
            let mut moved = Vec::new();
            for some in followed.chunks(FEEDS_AT_ONCE) {
                match store.moved(some, (self.from, self.to)).await {
                    Ok(moves) => moved.extend(moves),
                    Err(error) => {
                        tracing::warn!(%error, "rings could not be compared with the log");
                    }
                }
            }
            // Of memberships only the last move is kept, which may lie past the window.
            let feeds = moved.into_iter().filter(|m| matches!(m, Move::Feed(..)));
            let missed = feeds.filter(|m| !self.keys.contains(&key(m))).collect();
            Comparison { from: self.from, missed }
        }
    }
}
