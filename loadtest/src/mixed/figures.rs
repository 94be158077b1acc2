//! What a time of life brought: latencies by kind, and counts.

use std::time::Duration;

use crate::stats::{self, Latencies, float};

/// What a time of life brought.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Requests a second that were due.
    pub(crate) offered: f64,
    pub(crate) took: Duration,
    pub(crate) pulls: Latencies,
    pub(crate) pushes: Latencies,
    /// From the moment a stream was due to its first byte, connecting included.
    pub(crate) streams: Latencies,
    /// Pulls that brought no change.
    pub(crate) nothing_new: u64,
    pub(crate) failures: u64,
}

impl Figures {
    /// Nothing yet.
    pub(super) fn none() -> Self {
        Self {
            offered: 0.0,
            took: Duration::ZERO,
            pulls: stats::latencies(),
            pushes: stats::latencies(),
            streams: stats::latencies(),
            nothing_new: 0,
            failures: 0,
        }
    }

    /// Adds what another device did.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, more) in [
            (&mut self.pulls, &other.pulls),
            (&mut self.pushes, &other.pushes),
            (&mut self.streams, &other.streams),
        ] {
            mine.add(more).ok();
        }
        self.nothing_new += other.nothing_new;
        self.failures += other.failures;
    }

    /// Requests a second that were answered, openings of streams included.
    pub(crate) fn done(&self) -> f64 {
        let count = self.pulls.len() + self.pushes.len() + self.streams.len();
        float(count) / self.took.as_secs_f64()
    }
}
