//! From rings to tails: moves the watermark, and reads what moved, once for all who follow.
//!
//! One task holds the watermark. Rings move it at once, which is all that pushes and pulls wait
//! for. Behind it, step by step, one statement reads all moved feeds that somebody here follows,
//! and the step is published to the streams as one; while it reads, the next step gathers.
//!
//! Invariant: whatever the watermark passes was named to the feeds: by its ring, or by asking.

mod compare;
mod step;
mod vitals;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::doorbell::{Doorbell, Move, Ring};
use crate::feed::{Ages, Feeds};
use crate::id::Stamp;
use crate::listener::Heard;
use crate::metrics;
#[cfg(feature = "mutants")]
use crate::mutants::{self, Mutant};
use crate::progress::Advance;
use crate::recent::Recent;
use crate::store::{Store, StoreError};
use crate::watermark::{PATIENCE, Step, Watermark};
use compare::{Comparison, Named};
use step::{Stepped, read_step};
pub use vitals::watch;

/// A horizon that stands still this long is held by somebody who is named and ended; later where
/// statements may take longer.
const STUCK: Duration = Duration::from_secs(5);

/// The most moves that wait for a step.
const MAX_MOVES: usize = 100_000;

/// No ring is believed that lies further ahead of what is known: the clock jumps by a minute.
const AHEAD: Duration = Duration::from_mins(2);

/// After an error the database is given this long.
const PAUSE: Duration = Duration::from_millis(300);

/// The task that relays.
pub struct Relay {
    store: Store,
    feeds: Arc<Feeds>,
    recent: Arc<Recent>,
    advance: Advance,
    heard: mpsc::Receiver<Heard>,
    watermark: Watermark,
    /// What the watermark has passed and no step has taken yet.
    moves: Vec<Move>,
    /// The stretch among it that no ring named.
    unnamed: Option<(Stamp, Stamp)>,
    ages: Ages,
    named: Named,
    /// Since when the watermark has not moved although something is ahead of it.
    still_since: Option<Instant>,
    /// The listener was away: the horizon is to be asked for, whatever the chain says.
    deaf: bool,
    /// No question before this.
    not_before: Instant,
    /// A horizon that stands still for so long is held by somebody.
    stuck: Duration,
    /// The last stamp that the database itself has told to have been given.
    confirmed: Stamp,
}

/// An answer about the horizon, and who holds it, where that was asked.
type Answer = Result<(Stamp, Option<(Stamp, i32)>), StoreError>;

impl Relay {
    /// A relay from `start`, a stamp that the horizon has passed. Statements of requests take up to
    /// `longest`.
    #[must_use]
    pub fn new(
        store: Store,
        feeds: Arc<Feeds>,
        recent: Arc<Recent>,
        advance: Advance,
        heard: mpsc::Receiver<Heard>,
        start: Stamp,
        longest: Duration,
    ) -> Self {
        Self {
            stuck: STUCK.max(longest),
            store,
            feeds,
            recent,
            advance,
            heard,
            watermark: Watermark::new(start),
            moves: Vec::new(),
            unnamed: None,
            ages: Ages::default(),
            named: Named::new(start),
            still_since: None,
            deaf: false,
            not_before: Instant::now(),
            confirmed: start,
        }
    }

    /// Relays until told to stop. `compare_every`: how often rings are checked against the log.
    pub async fn run(mut self, compare_every: Duration, stop: CancellationToken) {
        let mut asking: Option<BoxFuture<'static, Answer>> = None;
        let mut stepping: Option<BoxFuture<'static, Stepped>> = None;
        let mut comparing: Option<BoxFuture<'static, Comparison>> = None;
        let mut compare = interval(compare_every);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        compare.reset();
        loop {
            if stepping.is_none() {
                stepping = self.begin_step();
            }
            let ask_at = self.ask_at().filter(|_| asking.is_none());
            tokio::select! {
                () = stop.cancelled() => return,
                heard = self.heard.recv() => match heard {
                    Some(Heard::Doorbell(doorbell)) => self.hear(doorbell),
                    Some(Heard::Gap) => {
                        self.watermark.lost();
                        // Nothing is known until the horizon is: who listens anew may have
                        // been led to another database.
                        self.recent.forget(Stamp::LAST);
                        self.deaf = true;
                        asking = Some(self.ask());
                    }
                    None => return,
                },
                stamp = self.advance.raised() => {
                    self.confirmed = self.confirmed.max(stamp);
                    self.watermark.clock(stamp, std::time::Instant::now());
                }
                answer = wait(&mut asking) => self.take_answer(answer),
                stepped = wait(&mut stepping) => self.publish(stepped),
                found = wait(&mut comparing) => self.take_comparison(&found),
                () = sleep_until(ask_at.unwrap_or_else(Instant::now)), if ask_at.is_some() => {
                    asking = Some(self.ask());
                }
                _ = compare.tick(), if comparing.is_none() => {
                    let window = self.named.close(self.feeds.published());
                    comparing = window.map(|w| w.compare(self.store.clone(), &self.feeds).boxed());
                }
            }
        }
    }

    fn hear(&mut self, doorbell: Doorbell) {
        let now = std::time::Instant::now();
        let (Doorbell::Ring(Ring { last: told, .. }) | Doorbell::Clock(told)) = &doorbell;
        // Anybody who may connect may ring. If it was true, the horizon makes up for it.
        if told.since(self.confirmed.max(Stamp::now())) > AHEAD {
            metrics::overflow("ring_ahead");
            return tracing::error!(micros = told.micros(), "a ring from the future is ignored");
        }
        match doorbell {
            Doorbell::Ring(ring) => {
                let step = self.watermark.ring(ring, now);
                self.moved(step);
            }
            Doorbell::Clock(clock) => self.watermark.clock(clock, now),
        }
    }

    fn moved(&mut self, step: Option<Step>) {
        metrics::watermark_lag(self.watermark.ahead().since(self.watermark.at()));
        if step.is_some() || self.watermark.ahead() <= self.watermark.at() {
            self.still_since = None;
            metrics::horizon_stuck(Duration::ZERO);
        }
        let Some(step) = step else { return };
        if let Some((from, to)) = step.unnamed {
            self.recent.forget(to);
            self.unnamed = Some((self.unnamed.map_or(from, |(first, _)| first), to));
        }
        for ring in step.rings {
            self.recent.note(ring.last, &ring.moves);
            self.moves.extend(ring.moves);
        }
        if self.moves.len() > MAX_MOVES {
            // Asked instead of remembered.
            metrics::overflow("moves");
            self.moves.clear();
            self.unnamed = Some((self.feeds.published(), step.to));
        }
        self.store.heard(step.to);
        self.advance.to(step.to);
    }

    /// When the horizon is to be asked for next.
    fn ask_at(&self) -> Option<Instant> {
        if self.deaf {
            return Some(self.not_before);
        }
        let since = self.watermark.stuck_since()?;
        Some((Instant::from_std(since) + PATIENCE).max(self.not_before))
    }

    fn ask(&self) -> BoxFuture<'static, Answer> {
        let (store, at) = (self.store.clone(), self.watermark.at());
        let still = self.still_since.map_or(Duration::ZERO, |since| since.elapsed());
        let deaf = self.deaf;
        let stuck = self.stuck;
        async move {
            if deaf {
                store.identify().await?;
            }
            let horizon = store.horizon().await?;
            let holder = if still > stuck && horizon <= at { store.holder().await? } else { None };
            // Whoever began after the watermark's next stamp is not what holds it.
            let holder = holder.filter(|(lower, _)| lower.micros() <= at.micros() + 1);
            metrics::horizon_stuck(still);
            if let Some((lower, pid)) = holder {
                end_holder(&store, lower, pid).await;
            }
            Ok((horizon, holder))
        }
        .boxed()
    }

    fn take_answer(&mut self, answer: Answer) {
        let now = Instant::now();
        match answer {
            Ok((horizon, holder)) => {
                self.confirmed = self.confirmed.max(horizon);
                let step = self.watermark.horizon(horizon, now.into_std());
                let deaf = std::mem::take(&mut self.deaf);
                if deaf {
                    metrics::catch_up();
                    self.recent.forget(self.watermark.at());
                }
                #[cfg(feature = "mutants")]
                let step = step.map(|mut step| {
                    step.unnamed.take_if(|_| deaf && mutants::is(Mutant::SkipCatchUp));
                    step
                });
                if step.is_some() {
                    metrics::gap_closed();
                } else if self.watermark.ahead() > self.watermark.at() {
                    self.still_since.get_or_insert(now);
                }
                if holder.is_some() {
                    self.not_before = now + PAUSE;
                }
                self.moved(step);
            }
            Err(error) => {
                tracing::warn!(%error, "the horizon could not be asked for");
                self.not_before = now + PAUSE;
            }
        }
    }

    fn begin_step(&mut self) -> Option<BoxFuture<'static, Stepped>> {
        let to = self.watermark.at();
        if to <= self.feeds.published() {
            return None;
        }
        let moves = std::mem::take(&mut self.moves);
        let unnamed = self.unnamed.take();
        Some(read_step(self.store.clone(), Arc::clone(&self.feeds), to, moves, unnamed).boxed())
    }

    fn publish(&mut self, stepped: Stepped) {
        self.named.note(&stepped.moves, stepped.asked);
        self.feeds.publish(&stepped.underway, stepped.brought, &stepped.moves, &mut self.ages);
    }

    fn take_comparison(&mut self, found: &Comparison) {
        if !found.missed.is_empty() {
            // Not of whom: these lines name nobody.
            tracing::error!(feeds = found.missed.len(), "rings were missed");
        }
        metrics::compare_found(found.missed.len());
        self.feeds.missed(&found.missed, found.from);
    }
}

/// Names the server process that holds the horizon, and ends it where the role may.
async fn end_holder(store: &Store, lower: Stamp, pid: i32) {
    let ended = matches!(store.end_holder(pid, lower).await, Ok(true));
    if ended {
        metrics::horizon_holder_ended();
    }
    tracing::error!(pid, lower = lower.micros(), ended, "a server process holds the horizon");
}

/// Waits for what is under way, and takes its end; for ever where nothing is.
async fn wait<T>(slot: &mut Option<BoxFuture<'static, T>>) -> T {
    match slot {
        Some(future) => {
            let result = future.await;
            *slot = None;
            result
        }
        None => std::future::pending().await,
    }
}
