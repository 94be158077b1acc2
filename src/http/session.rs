//! An event stream: a cursor that moves at the pace of its socket.
//!
//! It follows first, then reads pages from the database until it has caught up with the tails,
//! then takes from the tails; whenever they can't serve it (it fell behind, memberships moved), it
//! reads pages again. It queues nothing but the bytes it is about to send.

mod frames;

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Api;
use super::answer::{self, Share};
use super::page::{ReadPage, Wanted};
use super::presence::Present;
use crate::feed::{Caught, Following, Taken};
use crate::grant::Reader;
use crate::id::{SpaceId, TableName};
use crate::metrics;
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::protocol::wire::{self, reconnect_event, spaces_event};
use crate::protocol::{Cursor, Tables};
use crate::store::{ChangeRow, StoreError};

/// A database that failed is asked again after this.
const PAUSE: Duration = Duration::from_millis(500);

/// A lookup of memberships that failed is repeated after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A lookup is mostly answered after this.
const ANSWERED: Duration = Duration::from_millis(100);

/// About the most bytes that a stream holds until its socket takes them.
const EVENT_BYTES: usize = 256 * 1024;

/// How a stream ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Expired,
    Drained,
}

/// The next look at whether memberships are fresh.
struct LookUp {
    at: Instant,
    /// Whether it was requested that they be looked up.
    requested: bool,
}

/// One event stream.
pub(super) struct Session {
    api: Arc<Api>,
    reader: Reader,
    tables: Tables,
    cursor: Cursor,
    following: Following,
    present: Present,
    ready: VecDeque<Bytes>,
    /// Its share of what all answers may take, until it is sent.
    share: Share,
    /// Whether anything was read yet: the first page reaches the clock.
    begun: bool,
    /// Whether the tails may serve it, or the database is to be read first.
    live: bool,
    /// Tables of which the history of a joined space was sent.
    joining: Option<BTreeSet<TableName>>,
    /// What the client was told last.
    spaces: Option<Vec<SpaceId>>,
    heartbeat: Instant,
    expires: Instant,
    /// For what comes first. Kept, because most wake-ups leave it as it is.
    timer: Pin<Box<Sleep>>,
    /// The node drains. Kept for the same reason.
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    look_up: LookUp,
    /// When it leaves, once the node drains.
    leaves: Option<Instant>,
    ended: bool,
}

impl Session {
    pub(super) fn new(
        api: Arc<Api>,
        reader: Reader,
        tables: Tables,
        cursor: Cursor,
        expires: SystemTime,
        present: Present,
    ) -> Self {
        let now = Instant::now();
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        Self {
            following: Following::begin(Arc::clone(&api.feeds), reader.clone()),
            heartbeat: now + api.limits.heartbeat,
            expires: now + left.min(Duration::from_hours(8760)),
            timer: Box::pin(sleep_until(now + api.limits.heartbeat)),
            draining: Box::pin(api.drain.streams.clone().cancelled_owned()),
            look_up: LookUp { at: now, requested: false },
            api,
            reader,
            tables,
            cursor,
            present,
            ready: VecDeque::new(),
            share: None,
            begun: false,
            live: false,
            joining: None,
            spaces: None,
            leaves: None,
            ended: false,
        }
    }

    /// The next bytes to send; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(first) = self.ready.front_mut() {
                let chunk = answer::chunk(first);
                if first.is_empty() {
                    self.ready.pop_front();
                }
                return Some(chunk);
            }
            self.share = None;
            if self.ended {
                return None;
            }
            let now = Instant::now();
            if now >= self.expires {
                self.end(End::Expired);
            } else if self.leaves().is_some_and(|leaves| now >= leaves) {
                self.end(End::Drained);
            } else if now >= self.heartbeat {
                self.beat();
            } else if now >= self.look_up.at && self.begun && self.api.members.spaces_on() {
                // Boxed, as what follows: a stream that waits is not to keep room for what it
                // seldom does.
                Box::pin(self.look_up()).await;
            } else if !self.live {
                Box::pin(self.read()).await;
            } else {
                self.take().await;
            }
        }
    }

    /// Takes from the tails, or waits.
    async fn take(&mut self) {
        match self.following.take(self.cursor, &self.tables, EVENT_BYTES) {
            Caught::Behind(from) => {
                metrics::tail_miss();
                if let Some(from) = from.filter(|from| *from < self.cursor.stamp) {
                    self.cursor = Cursor::at(from);
                }
                self.live = false;
            }
            Caught::Up(taken) if taken.entries.is_empty() => {
                self.cursor = Cursor::at(taken.until);
                self.wait(None).await;
            }
            Caught::Up(taken) => {
                let bytes = taken.entries.iter().map(|entry| entry.json.len()).sum();
                let Ok(share) = answer::share(&self.api.events, bytes) else {
                    drop(taken);
                    return self.pause().await;
                };
                self.share = share;
                metrics::tail_hits(1);
                self.send_taken(&taken);
            }
        }
    }

    /// Reads a page from the database. Its failures are waited out: the head is long sent.
    async fn read(&mut self) {
        // Before the reading: what waits for room holds nothing, and reads nothing in vain.
        let Ok(room) = answer::share(&self.api.events, EVENT_BYTES) else {
            return self.pause().await;
        };
        self.following.asking_members();
        match self.read_page().await {
            Ok(page) => {
                let bytes = page.rows.iter().map(ChangeRow::weight).sum();
                let Ok(share) = answer::resize(&self.api.events, room, bytes) else {
                    drop(page);
                    return self.pause().await;
                };
                self.share = share;
                self.begun = true;
                self.tell_spaces(page.told_spaces());
                self.following.set_spaces(page.spaces.as_deref().unwrap_or(&[]));
                self.live = !page.more;
                self.send_page(&page);
                #[cfg(feature = "mutants")]
                if self.live && mutants::is(Mutant::LateFollow) {
                    self.cursor = Cursor::at(self.cursor.stamp.max(self.api.feeds.published()));
                }
                if page.spaces.is_none() && self.api.members.spaces_on() {
                    self.look_up_again().await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a stream waits for the database");
                self.pause().await;
            }
        }
    }

    async fn read_page(&self) -> Result<ReadPage, StoreError> {
        let wanted = Wanted { max_bytes: EVENT_BYTES, ..Wanted::new(&self.tables, self.cursor) };
        if self.begun {
            // The cursor is our own, so the horizon has passed it, though the watermark may not.
            let bound = self.api.progress.at().max(self.cursor.stamp);
            self.api.page_up_to(&self.reader, &wanted, bound).await
        } else {
            self.api.page(&self.reader, &wanted).await
        }
    }

    /// Sees to it that memberships are looked up when they are no longer fresh. Nobody waits for
    /// that here: what it changes is rung, and read then.
    async fn look_up(&mut self) {
        let (members, user) = (&self.api.members, self.reader.user());
        let now = Instant::now();
        self.look_up = match members.fresh_until(user).await {
            Some(until) if now < until => LookUp { at: until, requested: false },
            None if self.look_up.requested => LookUp { at: now + LOOK_AGAIN, requested: false },
            _ => {
                members.request(user);
                LookUp { at: now + ANSWERED, requested: true }
            }
        };
    }

    /// Nothing is verified. Maybe it was invalidated since it was found fresh: then at once.
    async fn look_up_again(&mut self) {
        let (members, user) = (&self.api.members, self.reader.user());
        let now = Instant::now();
        if members.fresh_until(user).await.is_some_and(|until| now < until) {
            members.forget(user).await;
            self.look_up.at = now;
        } else {
            self.look_up.at = self.look_up.at.min(now + LOOK_AGAIN);
        }
    }

    /// Waits for what comes first.
    async fn wait(&mut self, retry: Option<Instant>) {
        let leaves = self.leaves();
        let look_up = Some(self.look_up.at).filter(|_| self.begun && self.api.members.spaces_on());
        let next = [leaves, retry, look_up].into_iter().flatten();
        let next = next.fold(self.expires.min(self.heartbeat), Instant::min);
        if self.timer.deadline() != next {
            self.timer.as_mut().reset(next);
        }
        tokio::select! {
            biased;
            () = &mut self.timer => {}
            () = &mut self.draining, if leaves.is_none() => {}
            () = self.following.moved(), if retry.is_none() => {}
        }
    }

    /// Waits a little for room, or for the database.
    async fn pause(&mut self) {
        self.wait(Some(Instant::now() + PAUSE)).await;
    }

    /// When it leaves, once the node drains.
    fn leaves(&mut self) -> Option<Instant> {
        let drain = &self.api.drain;
        if self.leaves.is_none() && drain.streams.is_cancelled() {
            self.leaves = Some(Instant::now() + drain.spread.mul_f64(fastrand::f64()));
        }
        self.leaves
    }

    fn beat(&mut self) {
        self.heartbeat = Instant::now() + self.api.limits.heartbeat;
        self.ready.push_back(Bytes::from_static(wire::HEARTBEAT));
    }

    fn end(&mut self, end: End) {
        self.ended = true;
        self.ready.push_back(match end {
            End::Expired => {
                self.present.because("expired");
                Bytes::from_static(wire::EXPIRED)
            }
            End::Drained => {
                self.present.because("drained");
                reconnect_event(fastrand::u64(500..5_000))
            }
        });
    }

    fn tell_spaces(&mut self, spaces: Option<&[SpaceId]>) {
        if let Some(spaces) = spaces
            && self.spaces.as_deref() != Some(spaces)
        {
            self.ready.push_back(spaces_event(spaces));
            self.spaces = Some(spaces.to_vec());
        }
    }

    /// Sends a page as events.
    fn send_page(&mut self, page: &ReadPage) {
        let mut out = Vec::new();
        frames::page(page, &self.tables, &mut out);
        self.cursor = page.until;
        self.note_joining(page, &mut out);
        if !out.is_empty() {
            self.ready.push_back(out.into());
        }
    }

    /// After the history of a newly joined space, each requested table gets the new cursor.
    fn note_joining(&mut self, page: &ReadPage, out: &mut Vec<u8>) {
        if page.joining {
            let sent = self.joining.get_or_insert_default();
            sent.extend(page.rows.iter().filter_map(|row| TableName::new(&row.table).ok()));
        }
        if page.more {
            return;
        }
        let Some(sent) = self.joining.take() else { return };
        match &self.tables {
            Tables::Some(names) => frames::moved_on(names, page.until, out),
            Tables::All => frames::moved_on(&sent, page.until, out),
        }
    }

    /// Sends what the tails held.
    fn send_taken(&mut self, taken: &Taken) {
        self.ready.push_back(frames::taken(taken));
        self.cursor = Cursor::at(taken.until);
        if let Some(last) = taken.entries.last() {
            metrics::delivered(last.stamp.age());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_waits_is_small() {
        fn size<T>(_: impl FnOnce(&'static mut Session) -> T) -> usize {
            size_of::<T>()
        }
        assert!(size_of::<Session>() <= 512, "{} bytes", size_of::<Session>());
        let waiting = size(Session::next);
        assert!(waiting <= 512, "{waiting} bytes: what is done seldom is to be boxed");
    }
}
