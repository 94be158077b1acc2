//! The chain of rings: up to which stamp has everything been heard?
//!
//! Each ring names the stamp given before its run and the last of its run, so rings form a chain.
//! Whoever holds an unbroken chain up to a stamp knows, without asking, that all before it is
//! committed. This module is that bookkeeping, pure: what decides takes values and gives values.
//!
//! Invariant: the watermark never goes back, and passes a stamp only when every run before it was
//! rung, or the horizon has passed it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::doorbell::{Move, Ring};
use crate::id::Stamp;
use crate::metrics;
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};

/// A gap that stays this long is closed by asking for the horizon.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// The most early rings that wait for a predecessor; past it they are forgotten, and the horizon
/// makes up for them.
const MAX_EARLY: usize = 4096;

/// The most moves of rings that wait, for a predecessor or for their last part.
const MAX_MOVES: usize = 100_000;

/// A step of the watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where the watermark stands now.
    pub to: Stamp,
    /// The rings that it passed, in order.
    pub rings: Vec<Ring>,
    /// The stretch of it that no ring named: `(from, to]`, to be asked from the database.
    pub unnamed: Option<(Stamp, Stamp)>,
}

/// The watermark of one node.
#[derive(Debug)]
pub struct Watermark {
    at: Stamp,
    /// The last stamp known to have been given.
    ahead: Stamp,
    /// Since when nothing moved although something is ahead.
    stuck_since: Option<Instant>,
    /// Rings that wait for their predecessor, by `prev`.
    early: BTreeMap<Stamp, Ring>,
    /// How many moves those hold.
    early_moves: usize,
    /// Moves of a ring whose last part has not come yet.
    parts: Vec<Move>,
    /// That ring has more than can be remembered: it is as good as lost.
    too_long: bool,
}

impl Watermark {
    /// A watermark at a stamp that the horizon has passed.
    #[must_use]
    pub fn new(at: Stamp) -> Self {
        Self {
            at,
            ahead: at,
            stuck_since: None,
            early: BTreeMap::new(),
            early_moves: 0,
            parts: Vec::new(),
            too_long: false,
        }
    }

    /// Everything up to here is committed.
    #[must_use]
    pub fn at(&self) -> Stamp {
        self.at
    }

    /// The last stamp known to have been given.
    #[must_use]
    pub fn ahead(&self) -> Stamp {
        self.ahead
    }

    /// Since when the watermark stands still although something lies ahead of it.
    #[must_use]
    pub fn stuck_since(&self) -> Option<Instant> {
        self.stuck_since
    }

    /// Takes a ring, or a part of one.
    pub fn ring(&mut self, mut ring: Ring, now: Instant) -> Option<Step> {
        self.parts.append(&mut ring.moves);
        if self.parts.len() > MAX_MOVES {
            metrics::overflow("ring_parts");
            self.parts.clear();
            self.too_long = true;
        }
        if ring.more {
            return None;
        }
        ring.moves = std::mem::take(&mut self.parts);
        self.ahead = self.ahead.max(ring.last);
        if std::mem::take(&mut self.too_long) {
            self.mark(now);
            return None;
        }
        let is_early = ring.prev > self.at;
        #[cfg(feature = "mutants")]
        let is_early = is_early && !mutants::is(Mutant::GapIgnored);
        if is_early {
            self.wait(ring);
            self.mark(now);
            return None;
        }
        if ring.last <= self.at {
            return None;
        }
        self.at = ring.last;
        let mut rings = vec![ring];
        self.follow_chain(&mut rings);
        self.stuck_since = None;
        self.mark(now);
        Some(Step { to: self.at, rings, unnamed: None })
    }

    /// Hears of a stamp that was given, without hearing what came before it.
    pub fn clock(&mut self, clock: Stamp, now: Instant) {
        self.ahead = self.ahead.max(clock);
        self.mark(now);
    }

    /// Takes an answer of the database: nothing is in flight up to `horizon`.
    pub fn horizon(&mut self, horizon: Stamp, now: Instant) -> Option<Step> {
        self.ahead = self.ahead.max(horizon);
        let from = self.at;
        if horizon <= from {
            // Patience begins anew, so that a slow commit is not asked after all the time.
            self.stuck_since = None;
            self.mark(now);
            return None;
        }
        self.at = horizon;
        self.early.retain(|_, ring| ring.last > horizon);
        self.early_moves = self.early.values().map(|ring| ring.moves.len()).sum();
        let mut rings = Vec::new();
        self.follow_chain(&mut rings);
        self.stuck_since = None;
        self.mark(now);
        Some(Step { to: self.at, rings, unnamed: Some((from, horizon)) })
    }

    /// The listener was lost: the parts of a ring that was under way will not be completed.
    pub fn lost(&mut self) {
        self.parts.clear();
        self.too_long = false;
    }

    fn wait(&mut self, ring: Ring) {
        if self.early.len() >= MAX_EARLY || self.early_moves + ring.moves.len() > MAX_MOVES {
            metrics::overflow("early_rings");
            self.early.clear();
            self.early_moves = 0;
        }
        self.early_moves += ring.moves.len();
        let held = self.early.entry(ring.prev).or_insert_with(|| Ring {
            last: ring.last,
            moves: Vec::new(),
            ..ring
        });
        held.last = held.last.max(ring.last);
        held.moves.extend(ring.moves);
    }

    fn follow_chain(&mut self, rings: &mut Vec<Ring>) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.at {
                return;
            }
            let ring = entry.remove();
            self.early_moves -= ring.moves.len();
            self.at = self.at.max(ring.last);
            rings.push(ring);
        }
    }

    fn mark(&mut self, now: Instant) {
        if self.ahead <= self.at {
            self.stuck_since = None;
        } else if self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
