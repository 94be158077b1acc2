//! What all share who push and follow while nodes are replaced: one task polls them all.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Outcome;
use crate::client::Target;
use crate::fleet::Ground;
use crate::oracle::{Ledger, Line, Made, Number, Sighting, Turn};
use crate::stats::{Latencies, latencies, record};

/// The app in which they act.
pub(super) const APP: &str = "rollout";
/// The space that all of them are in.
pub(super) const SPACE: &str = "rollout-space";
/// After the last push, readers have this long to see all.
const SETTLE: Duration = Duration::from_secs(20);

/// What all of them share.
pub(super) struct Stage {
    pub(super) entrance: Target,
    pub(super) ledger: RefCell<Ledger>,
    /// When each change was pushed first, by its number.
    pushed: RefCell<Vec<Instant>>,
    tokens: Vec<String>,
    phase: Cell<Phase>,
    pub(super) figures: RefCell<Figures>,
    /// Streams that are open.
    pub(super) open: Cell<usize>,
    /// Nobody pushes any more.
    pub(super) over: CancellationToken,
    /// When readers are to give up; none while there are pushes.
    deadline: Cell<Option<Instant>>,
}

/// What counts when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    WarmUp,
    Before,
    During,
}

/// What happened.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) acknowledged: u64,
    /// Pushes that were made a second time.
    pub(super) repeated: u64,
    /// Pushes that failed then, too.
    pub(super) failed: u64,
    /// Streams that could not be opened at once, or broke off.
    pub(super) broken: u64,
    /// Why.
    pub(super) why: BTreeMap<String, u64>,
    /// When streams were opened again.
    pub(super) reconnects: Vec<Instant>,
    /// From a push to its answer, before and during the rollout.
    pushes: [Latencies; 2],
    /// From a push to its event.
    deliveries: [Latencies; 2],
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            acknowledged: 0,
            repeated: 0,
            failed: 0,
            broken: 0,
            why: BTreeMap::new(),
            reconnects: Vec::new(),
            pushes: [latencies(), latencies()],
            deliveries: [latencies(), latencies()],
        }
    }
}

impl Figures {
    /// Each latency by its name, before the rollout and during it.
    pub(super) fn latencies(&self) -> [(&'static str, &Latencies, &Latencies); 2] {
        let ([pushed, pushed_then], [came, came_then]) = (&self.pushes, &self.deliveries);
        [("push to answer", pushed, pushed_then), ("push to event", came, came_then)]
    }
}

/// An event.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    changes: Vec<Seen>,
    #[serde(rename = "syncedUntil")]
    pub(super) synced_until: String,
}

/// A change, as a reader sees it.
#[derive(Debug, Deserialize)]
struct Seen {
    #[serde(rename = "eventId")]
    event: String,
    id: String,
}

impl Stage {
    /// Users who share a space.
    pub(super) async fn set(ground: &Ground, entrance: &Target, users: usize) -> Outcome<Self> {
        let mut tokens = Vec::new();
        for user in 0..users {
            ground.issuer.join(&name(user), SPACE);
            tokens.push(ground.tokens()?.of(&name(user)).await?);
        }
        let stage = Self {
            entrance: entrance.clone(),
            ledger: RefCell::new(Ledger::new(&[(0..users).collect()], users)),
            pushed: RefCell::default(),
            tokens,
            phase: Cell::new(Phase::WarmUp),
            figures: RefCell::default(),
            open: Cell::new(0),
            over: CancellationToken::new(),
            deadline: Cell::new(None),
        };
        // The first request of a user makes the node ask which spaces are theirs.
        for user in 0..users {
            let path = format!("/sync/{APP}/pull?collection=tasks&since=2999-01-01");
            let mut connection = stage.entrance.connect().await?;
            let answer = connection.get(&path, stage.token(user), "prologue").await?;
            if answer.status != 200 {
                return Err(format!("the first pull was answered {}", answer.status).into());
            }
        }
        Ok(stage)
    }

    pub(super) fn token(&self, user: usize) -> &str {
        self.tokens.get(user).map_or("", String::as_str)
    }

    /// From now on, figures belong to this phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
    }

    /// Notes a change that is about to be pushed.
    pub(super) fn make(&self, made: Made) -> Number {
        self.pushed.borrow_mut().push(Instant::now());
        self.ledger.borrow_mut().make(made)
    }

    /// Notes that a push was acknowledged, so long after it was begun.
    pub(super) fn acknowledge(&self, number: Number, took: Duration) {
        self.ledger.borrow_mut().acknowledge(number, false);
        let mut figures = self.figures.borrow_mut();
        figures.acknowledged += 1;
        self.record(&mut figures.pushes, took);
    }

    /// Takes an event into a line.
    pub(super) fn see(&self, line: &mut Line, turn: &mut Turn, page: &Page) {
        let sighting = |change: &Seen| Sighting {
            app: None,
            number: number_of(&change.id),
            event: Uuid::parse_str(&change.event).ok().map(|event| event.as_u128()),
            digest: 0,
        };
        let sightings: Vec<_> = page.changes.iter().map(sighting).collect();
        let (pushed, mut figures) = (self.pushed.borrow(), self.figures.borrow_mut());
        for number in sightings.iter().filter_map(|one| one.number) {
            if let Some(pushed) = pushed.get(number as usize) {
                self.record(&mut figures.deliveries, pushed.elapsed());
            }
        }
        line.take(&self.ledger.borrow(), turn, &sightings, &page.synced_until);
    }

    fn record(&self, latencies: &mut [Latencies; 2], took: Duration) {
        let [before, during] = latencies;
        match self.phase.get() {
            Phase::WarmUp => {}
            Phase::Before => record(before, took),
            Phase::During => record(during, took),
        }
    }

    /// The last push was answered.
    pub(super) fn pushes_are_over(&self) {
        self.deadline.set(Some(Instant::now() + SETTLE));
    }

    /// Whether a reader has seen all that it is to see, or has had its time.
    pub(super) fn is_over(&self, line: &Line) -> bool {
        self.deadline.get().is_some_and(|deadline| {
            Instant::now() >= deadline || self.ledger.borrow().missing(line).is_empty()
        })
    }

    /// Notes why something was refused.
    pub(super) fn refused(&self, what: &str, why: &impl ToString) {
        let why = format!("{what}: {}", why.to_string());
        *self.figures.borrow_mut().why.entry(why).or_default() += 1;
    }
}

fn name(user: usize) -> String {
    format!("rollout-user-{user}")
}

/// The record of a change.
pub(super) fn record_of(number: Number) -> String {
    format!("r-{number}")
}

fn number_of(record: &str) -> Option<Number> {
    record.strip_prefix("r-")?.parse().ok()
}
