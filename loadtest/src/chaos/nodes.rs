//! The nodes' processes: kept running, as an orchestrator would, but for those that are to be
//! away.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::Outcome;
use crate::fleet::NodeProcess;
use crate::proxy::Proxy;
use crate::signals::{self, Signal};

/// What makes a clock wrong, from Debian's package libfaketime.
pub(super) const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// How often is looked whether a node has ended.
const LOOK: Duration = Duration::from_millis(50);
/// A node that has ended is started again after this.
const AGAIN: Duration = Duration::from_millis(400);
/// A node that was told to leave has left after this.
const LEAVES: Duration = Duration::from_secs(15);
/// A node is ready within this, once nothing is wrong any more.
const READY: Duration = Duration::from_mins(1);
/// A node answers a health check within this, or is not ready.
const HEALTH: Duration = Duration::from_secs(1);

/// A place for a node.
pub(super) struct Slot {
    pub(super) number: usize,
    /// Its way to the database.
    pub(super) database: Proxy,
    /// The clients' way to it.
    pub(super) clients: Proxy,
    flags: Vec<String>,
    log: PathBuf,
    node: Mutex<Option<NodeProcess>>,
    /// By how many hours the clock of the next one is wrong.
    skew: AtomicI32,
    /// Whether it is to run.
    wanted: AtomicBool,
    /// How often it ended by itself.
    crashes: AtomicU64,
}

impl Slot {
    /// A place that is empty yet. `log` is the folder where the node's log goes.
    pub(super) fn new(
        number: usize,
        (database, clients): (Proxy, Proxy),
        flags: Vec<String>,
        log: &Path,
    ) -> Self {
        Self {
            number,
            database,
            clients,
            flags,
            log: log.join(format!("node-{number}.log")),
            node: Mutex::new(None),
            skew: AtomicI32::new(0),
            wanted: AtomicBool::new(true),
            crashes: AtomicU64::new(0),
        }
    }

    async fn launch(&self) -> Outcome<NodeProcess> {
        let log: File = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let variables = match self.skew.load(Ordering::Acquire) {
            0 => Vec::new(),
            hours => vec![
                ("LD_PRELOAD", FAKETIME.to_owned()),
                ("FAKETIME", format!("{hours:+}h")),
                // Time-outs are to take as long as they should.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ],
        };
        let node = NodeProcess::launch(&self.flags, log.into(), &variables).await?;
        self.clients.lead(node.port);
        Ok(node)
    }

    /// Keeps the node running; says so where it had ended by itself.
    pub(super) async fn keep(&self, say: impl Fn(&str)) {
        let mut started: Option<Instant> = None;
        loop {
            let mut node = self.node.lock().await;
            let ended = node.as_mut().and_then(NodeProcess::ended);
            if let Some(status) = ended {
                *node = None;
                if self.wanted.load(Ordering::Acquire) {
                    self.crashes.fetch_add(1, Ordering::Relaxed);
                    let (number, word) = (self.number, self.last_word());
                    say(&format!("node {number} ended by itself, {status}: {word}"));
                }
            }
            let rested = started.is_none_or(|started| started.elapsed() > AGAIN);
            if node.is_none() && rested && self.wanted.load(Ordering::Acquire) {
                started = Some(Instant::now());
                match self.launch().await {
                    Ok(new) => *node = Some(new),
                    Err(error) => say(&format!("node {} can't be started: {error}", self.number)),
                }
            }
            drop(node);
            sleep(LOOK).await;
        }
    }

    /// The last line of its log.
    fn last_word(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    /// How often it ended by itself.
    pub(super) fn crashes(&self) -> u64 {
        self.crashes.load(Ordering::Relaxed)
    }

    /// Whether it is ready at this moment.
    pub(super) async fn is_ready(&self) -> bool {
        let target = match &*self.node.lock().await {
            Some(node) => node.target.clone(),
            None => return false,
        };
        timeout(HEALTH, NodeProcess::answers(&target)).await.unwrap_or(false)
    }

    /// Waits until it is ready.
    pub(super) async fn comes(&self) -> Outcome {
        let deadline = Instant::now() + READY;
        while !self.is_ready().await {
            if Instant::now() > deadline {
                return Err(format!("node {} was not ready after {READY:?}", self.number).into());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Where it listens at the moment, past all proxies.
    pub(super) async fn port(&self) -> Option<u16> {
        self.node.lock().await.as_ref().map(|node| node.port)
    }

    /// Sends it a signal.
    pub(super) async fn signal(&self, signal: Signal) -> Outcome {
        let node = self.node.lock().await;
        let node = node.as_ref().ok_or("the node is away")?;
        signals::send(node.pid, signal)
    }

    /// Kills it; it stays away until it is wanted.
    pub(super) async fn kill(&self) {
        self.wanted.store(false, Ordering::Release);
        // Dropping it kills the process.
        *self.node.lock().await = None;
    }

    /// From now on it is to run.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// The clock of the next one is wrong by so many hours.
    pub(super) fn skew(&self, hours: i32) {
        self.skew.store(hours, Ordering::Release);
    }

    /// Has it leave in order, waits for that, and wants it back.
    pub(super) async fn renew(&self) -> Outcome {
        self.wanted.store(false, Ordering::Release);
        let left = self.leave().await;
        self.want();
        left
    }

    async fn leave(&self) -> Outcome {
        if self.signal(Signal::TERM).await.is_err() {
            // It is away already.
            return Ok(());
        }
        let deadline = Instant::now() + LEAVES;
        loop {
            let mut node = self.node.lock().await;
            // It may have been taken away meanwhile.
            if node.as_mut().is_none_or(|node| node.ended().is_some()) {
                *node = None;
                return Ok(());
            }
            drop(node);
            if Instant::now() > deadline {
                return Err(format!("node {} did not leave within {LEAVES:?}", self.number).into());
            }
            sleep(LOOK).await;
        }
    }
}
