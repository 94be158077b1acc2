//! Faults that are planted on purpose, to show that the tests which look for loss find it.
//!
//! Only with the feature `mutants`, which no release has. One is chosen for the whole process, once.

use std::fmt;
use std::sync::OnceLock;

use clap::ValueEnum;

/// What is wrong with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mutant {
    /// After the listener was lost, what was rung meanwhile is not asked for.
    SkipCatchUp,
    /// A push is acknowledged before it is stored.
    EarlyAck,
    /// What was given last counts as final, whatever is in flight.
    PlainClock,
    /// A stream follows when it has read: what came in between is nobody's.
    LateFollow,
    /// A ring is taken without those before it.
    GapIgnored,
    /// A stream goes on with the spaces that it found at first.
    StaleMembers,
    /// A stream of several apps tells the cursor of the app it has sent of, not the least of all.
    AnyCursor,
}

static CHOSEN: OnceLock<Mutant> = OnceLock::new();

/// Makes this node that mutant. The first choice holds.
pub fn choose(mutant: Mutant) {
    CHOSEN.get_or_init(|| mutant);
}

/// Whether this node is that mutant.
#[must_use]
pub fn is(mutant: Mutant) -> bool {
    CHOSEN.get() == Some(&mutant)
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
