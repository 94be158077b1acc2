//! What happened in a run, counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// A way on which changes reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Pull,
    Push,
    Stream,
}

/// Counters; they only grow.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) pushes: AtomicU64,
    pub(super) changes: AtomicU64,
    /// Pushes and pulls that failed and were repeated.
    pub(super) retries: AtomicU64,
    /// Pushes that were given up: the tab was closed.
    pub(super) given_up: AtomicU64,
    /// Pushes without an answer long after all was healed.
    pub(super) stuck: AtomicU64,
    pulled: AtomicU64,
    pushed: AtomicU64,
    streamed: AtomicU64,
    pub(super) streams: AtomicU64,
    /// Streams that broke and were opened again.
    pub(super) reconnects: AtomicU64,
    /// Times that somebody joined or left a space.
    pub(super) moves: AtomicU64,
    /// Answers other than 200.
    statuses: Mutex<BTreeMap<u16, u64>>,
}

/// The same, at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    pub(super) pushes_acknowledged: u64,
    pub(super) changes_acknowledged: u64,
    pub(super) retries: u64,
    pub(super) pushes_given_up: u64,
    pub(super) pushes_stuck: u64,
    pub(super) delivered_by_pull: u64,
    pub(super) delivered_by_push_answer: u64,
    pub(super) delivered_by_stream: u64,
    pub(super) streams_opened: u64,
    pub(super) streams_reconnected: u64,
    pub(super) crowd_connected: u64,
    pub(super) membership_moves: u64,
    pub(super) refusals: BTreeMap<u16, u64>,
}

/// One more.
pub(super) fn one(counter: &AtomicU64) {
    many(counter, 1);
}

/// So many more.
pub(super) fn many(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counts {
    /// So many changes reached a client.
    pub(super) fn delivered(&self, path: Path, count: usize) {
        let counter = match path {
            Path::Pull => &self.pulled,
            Path::Push => &self.pushed,
            Path::Stream => &self.streamed,
        };
        many(counter, count as u64);
    }

    /// An answer was not 200.
    pub(super) fn refused(&self, status: u16) {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        *statuses.entry(status).or_default() += 1;
    }

    /// All of them.
    pub(super) fn totals(&self, crowd: &AtomicU64) -> Totals {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            pushes_acknowledged: of(&self.pushes),
            changes_acknowledged: of(&self.changes),
            retries: of(&self.retries),
            pushes_given_up: of(&self.given_up),
            pushes_stuck: of(&self.stuck),
            delivered_by_pull: of(&self.pulled),
            delivered_by_push_answer: of(&self.pushed),
            delivered_by_stream: of(&self.streamed),
            streams_opened: of(&self.streams),
            streams_reconnected: of(&self.reconnects),
            crowd_connected: of(crowd),
            membership_moves: of(&self.moves),
            refusals: self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Totals {
    /// Answers that no client of ours should ever get: what it asks for is right.
    pub(super) fn wrongly_refused(&self) -> u64 {
        let wrong = self
            .refusals
            .iter()
            .filter(|(status, _)| matches!(status, 400 | 402..=407 | 409..=428 | 500));
        wrong.map(|(_, count)| count).sum()
    }

    /// For people.
    pub(super) fn rows(&self) -> Vec<String> {
        let refusals = self.refusals.iter().map(|(status, count)| format!("{status} ×{count}"));
        let refusals = refusals.collect::<Vec<_>>().join(", ");
        let row = |name: &str, count: u64| format!("{name:<32} {count:>10}");
        vec![
            row("pushes acknowledged", self.pushes_acknowledged),
            row("changes acknowledged", self.changes_acknowledged),
            row("requests repeated", self.retries),
            row("pushes given up by closed tabs", self.pushes_given_up),
            row("changes delivered by pull", self.delivered_by_pull),
            row("changes delivered by push", self.delivered_by_push_answer),
            row("changes delivered by stream", self.delivered_by_stream),
            row("streams opened", self.streams_opened),
            row("streams broken and reconnected", self.streams_reconnected),
            row("streams of the crowd connected", self.crowd_connected),
            row("joinings and leavings", self.membership_moves),
            format!("{:<32} {refusals:>10}", "answers other than 200"),
        ]
    }
}
