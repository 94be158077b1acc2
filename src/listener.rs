//! The node's ear: one connection that LISTENs, and what is heard on it.
//!
//! A connection that listens can die without a word. So every node rings a heartbeat, and a
//! listener that hears nothing for three of them takes its connection for dead. What was rung
//! while nobody listened is lost, and loss is a value: [`Heard::Gap`], said once LISTEN is in
//! force again, so that whoever then asks the database misses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::doorbell::{CHANNEL, Doorbell};
use crate::metrics;
use crate::progress::Progress;
use crate::store::{Store, connect_options};

/// What the listener tells the relay.
#[derive(Debug)]
pub enum Heard {
    /// A doorbell rang.
    Doorbell(Doorbell),
    /// The listener is listening again; what was rung before may be lost.
    Gap,
}

/// Whether the node listens at the moment, for health checks.
#[derive(Debug, Clone)]
pub struct Hearing {
    /// Milliseconds after `since` of the last sign of life.
    last: Arc<AtomicI64>,
    since: Instant,
}

impl Default for Hearing {
    fn default() -> Self {
        Self { last: Arc::default(), since: Instant::now() }
    }
}

impl Hearing {
    fn note(&self) {
        let millis = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    /// How long ago something was heard last.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let last = u64::try_from(self.last.load(Ordering::Relaxed)).unwrap_or(0);
        self.since.elapsed().saturating_sub(Duration::from_millis(last))
    }
}

/// How the listener connects and how long it waits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A direct or session-pooled connection.
    pub url: String,
    /// How often a heartbeat is rung.
    pub heartbeat: Duration,
}

/// The task that listens.
#[derive(Debug)]
pub struct Listener {
    settings: Settings,
    heard: mpsc::Sender<Heard>,
    hearing: Hearing,
}

impl Listener {
    /// A listener that tells `heard`.
    #[must_use]
    pub fn new(settings: Settings, heard: mpsc::Sender<Heard>, hearing: Hearing) -> Self {
        Self { settings, heard, hearing }
    }

    /// Listens until told to stop, whatever happens to the connection.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures: u32 = 0;
        loop {
            let listened = stop.run_until_cancelled(self.listen()).await;
            metrics::listener_connected(false);
            let Some(listened) = listened else { return };
            failures = if listened.heard_something { 0 } else { failures + 1 };
            tracing::warn!(reason = %listened.reason, failures, "the listener was lost");
            metrics::listener_reconnected();
            let pause = Duration::from_millis(20 << failures.min(6)).mul_f64(0.5 + fastrand::f64());
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Listens until the connection is lost.
    async fn listen(&self) -> Lost {
        let mut lost = Lost { heard_something: false, reason: String::new() };
        let patience = self.settings.heartbeat * 3;
        lost.reason = match timeout(patience, self.connect()).await {
            Err(_) => "connecting took too long".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(mut listener)) => {
                metrics::listener_connected(true);
                if self.heard.send(Heard::Gap).await.is_err() {
                    return lost;
                }
                loop {
                    match timeout(patience, listener.try_recv()).await {
                        Err(_) => break "silent for three heartbeats".to_owned(),
                        Ok(Err(error)) => break error.to_string(),
                        Ok(Ok(None)) => break "the connection was closed".to_owned(),
                        Ok(Ok(Some(notification))) => {
                            lost.heard_something = true;
                            self.tell(notification.payload()).await;
                        }
                    }
                }
            }
        };
        lost
    }

    async fn connect(&self) -> Result<PgListener, sqlx::Error> {
        let options = connect_options(&self.settings.url, self.settings.heartbeat * 3)?;
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }

    async fn tell(&self, payload: &str) {
        self.hearing.note();
        match Doorbell::parse(payload) {
            Ok(doorbell) => {
                if matches!(doorbell, Doorbell::Ring(_)) {
                    metrics::doorbell_heard();
                }
                self.heard.send(Heard::Doorbell(doorbell)).await.ok();
            }
            Err(error) => tracing::warn!(%error, "a stranger rang"),
        }
    }
}

struct Lost {
    heard_something: bool,
    reason: String,
}

/// Rings the heartbeat, from the pool, until told to stop. The clock it carries is expected here
/// even when the own listener is deaf.
pub async fn beat(store: Store, progress: Progress, every: Duration, stop: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let beating = async {
        loop {
            ticks.tick().await;
            match store.beat().await {
                Ok(clock) => progress.expect(clock),
                Err(error) => tracing::debug!(%error, "no heartbeat"),
            }
        }
    };
    stop.run_until_cancelled(beating).await.unwrap_or(());
}
