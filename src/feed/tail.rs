//! The live end of one feed. Pure.

use std::collections::VecDeque;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::id::{AppId, ClientId, Stamp, TableName, UserId};
use crate::protocol::wire::Framed;

/// A change in a tail, already written as clients read it.
#[derive(Debug)]
pub struct Entry {
    /// Its place in this feed.
    pub stamp: Stamp,
    /// The app.
    pub app: AppId,
    /// The table.
    pub table: TableName,
    /// Who wrote it.
    pub author: UserId,
    /// The device that wrote it.
    pub client: Option<ClientId>,
    /// The change as JSON, shared by all feeds and streams.
    pub json: Bytes,
    /// The event that carries it alone, up to some stamp: mostly the same for all streams, framed.
    pub event: OnceLock<(Stamp, Framed)>,
}

impl Entry {
    /// The event that carries this change alone, up to `until`: as it was written for another
    /// stream, or now.
    pub fn alone(&self, until: Stamp, write: impl Fn() -> Framed) -> Framed {
        let (written_until, event) = self.event.get_or_init(|| (until, write()));
        if *written_until == until { event.clone() } else { write() }
    }

    /// What it costs to keep: its text, once more as an event, and about this much beside it.
    fn weight(&self) -> usize {
        2 * self.json.len() + 400
    }
}

/// Every change of a feed after the stamp it is complete from.
#[derive(Debug)]
pub(super) struct Tail {
    complete_from: Stamp,
    entries: VecDeque<std::sync::Arc<Entry>>,
    bytes: usize,
}

impl Tail {
    pub(super) fn new(complete_from: Stamp) -> Self {
        Self { complete_from, entries: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn complete_from(&self) -> Stamp {
        self.complete_from
    }

    /// Appends entries in rising order. What lies before the stamp from which the tail is complete
    /// was read by a step that began before the feed was followed.
    pub(super) fn append(&mut self, entries: Vec<std::sync::Arc<Entry>>) {
        for entry in entries {
            self.bytes += entry.weight();
            self.entries.push_back(entry);
        }
    }

    /// Forgets all; complete from `stamp`.
    pub(super) fn restart(&mut self, stamp: Stamp) {
        *self = Self::new(stamp);
    }

    /// Forgets the oldest entry; says how many bytes that freed.
    pub(super) fn forget_oldest(&mut self) -> usize {
        let Some(entry) = self.entries.pop_front() else { return 0 };
        self.complete_from = self.complete_from.max(entry.stamp);
        self.bytes -= entry.weight();
        entry.weight()
    }

    /// The entries in `(after, upto]`.
    pub(super) fn between(
        &self,
        after: Stamp,
        upto: Stamp,
    ) -> impl Iterator<Item = &std::sync::Arc<Entry>> {
        let first = self.entries.partition_point(|entry| entry.stamp <= after);
        self.entries.range(first..).take_while(move |entry| entry.stamp <= upto)
    }
}
