//! An event stream: a cursor that moves at the pace of its socket, through one app or several.
//!
//! It follows first, then reads pages from the database until it has caught up with the tails,
//! then takes from the tails; whenever they can't serve it (it fell behind, memberships moved), it
//! reads pages again. It queues nothing but the bytes it is about to send.

mod frames;
mod lookup;
mod pace;
mod reading;
mod socket;
mod tails;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, Sleep, sleep_until};

use self::lookup::LookUp;
use self::pace::Pace;
use self::reading::{Reading, Unsaid};
use super::Api;
use super::extract::Subscriber;
use super::presence::{Present, State};
use super::quota::Share;
use super::room::{NoRoom, Room};
use crate::feed::Following;
use crate::id::SpaceId;
use crate::protocol::wire::{self, Framed, reconnect_event};
use crate::protocol::{Cursor, Tables};

/// A database that failed is asked again after this.
const PAUSE: Duration = Duration::from_millis(500);

/// About the most bytes that a stream holds until its socket takes them.
const EVENT_BYTES: usize = 256 * 1024;

/// What a stream whose time is over has left to write may take so long.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a stream ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Expired,
    Drained,
}

/// Where a stream looks next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// In the database, for an app that has not caught up with the tails.
    Database,
    /// In the tails of those that have.
    Tails,
    /// In the tails, once something has moved: they held no more.
    Later,
}

/// There is no room, or no database: a stream waits a little, and tries again.
struct NotNow;

impl From<NoRoom> for NotNow {
    fn from(_: NoRoom) -> Self {
        Self
    }
}

/// One event stream.
pub(super) struct Session {
    api: Arc<Api>,
    tables: Tables,
    following: Following,
    readings: Vec<Reading>,
    /// Whether its events name their app.
    named: bool,
    present: Present,
    /// What is sent next.
    ready: Framed,
    /// Room for it, until it is sent. Boxed, because a stream that waits has none.
    room: Option<Box<Room>>,
    /// Bytes that the next page was found to have, when there was no room for them.
    needs: usize,
    /// What is left to the user.
    share: Arc<Share>,
    look: Look,
    pace: Pace,
    /// What the client was told last.
    spaces: Option<Vec<SpaceId>>,
    /// It was told less of a cursor than it has got.
    unsaid: Option<Box<Unsaid>>,
    heartbeat: Instant,
    expires: Instant,
    /// For what comes first. Kept, because most wake-ups leave it as it is.
    timer: Pin<Box<Sleep>>,
    look_up: LookUp,
    /// When it leaves, once the node drains.
    leaves: Option<Instant>,
    ended: bool,
}

impl Session {
    pub(super) fn new(
        api: Arc<Api>,
        subscriber: Subscriber,
        tables: Tables,
        cursor: Cursor,
        present: Present,
    ) -> Self {
        let now = Instant::now();
        let left = subscriber.known.expires.duration_since(SystemTime::now()).unwrap_or_default();
        let following = Following::begin(Arc::clone(&api.feeds), subscriber.known.user.clone());
        let readings = subscriber.readers();
        let readings = readings.map(|reader| Reading::new(following.app(reader), cursor)).collect();
        Self {
            following,
            readings,
            named: subscriber.named,
            heartbeat: now + api.limits.heartbeat,
            expires: now + left.min(Duration::from_hours(8760)),
            timer: Box::pin(sleep_until(now + api.limits.heartbeat)),
            look_up: LookUp::at(now),
            api,
            tables,
            present,
            ready: Framed::default(),
            room: None,
            needs: 0,
            share: subscriber.known.share,
            look: Look::Database,
            pace: Pace::default(),
            spaces: None,
            unsaid: None,
            leaves: None,
            ended: false,
        }
    }

    /// The next bytes to send, once those before are sent; `None` at the end.
    async fn next(&mut self) -> Option<Framed> {
        loop {
            self.room = None;
            if self.ended {
                return None;
            }
            if self.look == Look::Later {
                self.wait(None).await;
            }
            let (now, leaves) = (Instant::now(), self.leaves());
            if now >= self.expires {
                self.end(End::Expired);
            } else if leaves.is_some_and(|leaves| now >= leaves) {
                self.end(End::Drained);
            } else if now >= self.heartbeat {
                self.beat();
            } else if now >= self.look_up.at && self.looks_up() {
                // Boxed, as what follows: a stream that waits is not to keep room for what it
                // seldom does.
                Box::pin(self.look_up()).await;
            } else {
                let looked = match self.look {
                    Look::Database => Box::pin(self.read()).await,
                    Look::Tails => self.take(),
                    Look::Later => Ok(()),
                };
                if let Err(NotNow) = looked {
                    self.present.does(State::Waiting);
                    self.wait(Some(Instant::now() + PAUSE)).await;
                }
            }
            if !self.ready.is_empty() {
                return Some(std::mem::take(&mut self.ready));
            }
        }
    }

    /// Waits until it should have ended, and its last words be written. For writes that don't
    /// get on: a client that reads nothing is not to outlive its token, nor hold up a drain.
    async fn overdue(&mut self) {
        self.pace.slow = true;
        self.present.blocked(true);
        loop {
            let over = self.leaves().map_or(self.expires, |leaves| leaves.min(self.expires));
            if Instant::now() >= over + LAST_WORDS {
                return self.present.because("stalled");
            }
            self.timer.as_mut().reset(over + LAST_WORDS);
            tokio::select! {
                () = &mut self.timer => {}
                () = self.following.moved() => {}
            }
            // What it was woken for may have been news.
            self.heed();
        }
    }

    /// Waits for what comes first: news, unless it is to `retry`, or an end of its own.
    async fn wait(&mut self, retry: Option<Instant>) {
        let look_up = Some(self.look_up.at).filter(|_| self.looks_up());
        let next = [self.leaves, retry, look_up].into_iter().flatten();
        let next = next.fold(self.expires.min(self.heartbeat), Instant::min);
        if self.timer.deadline() != next {
            self.timer.as_mut().reset(next);
        }
        tokio::select! {
            // Mostly there is news, and then the timer is left alone.
            biased;
            () = self.following.moved(), if retry.is_none() => self.heed(),
            () = &mut self.timer => {}
        }
    }

    /// Something moved. What moves after a look at the tails is not missed: it wakes.
    fn heed(&mut self) {
        if self.look == Look::Later {
            self.look = Look::Tails;
        }
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
        self.ready = Framed::from(wire::HEARTBEAT);
    }

    fn end(&mut self, end: End) {
        self.ended = true;
        self.ready = match end {
            End::Expired => {
                self.present.because("expired");
                Framed::from(wire::EXPIRED)
            }
            End::Drained => {
                self.present.because("drained");
                Framed::from(reconnect_event(fastrand::u64(500..5_000)).as_bytes())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Version;
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn a_stream_that_waits_is_small() {
        fn size<T>(_: impl FnOnce(Session, TcpStream, Version) -> T) -> usize {
            size_of::<T>()
        }
        // The allocator's sizes here are 640, 768 and 896.
        let running = size(Session::run);
        assert!(running <= 768, "{running} bytes: what is done seldom is to be boxed");
    }
}
