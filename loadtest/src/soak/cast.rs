//! Who acts in front of the oracle: users, each with writers and readers, in spaces they share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Outcome;
use crate::aim::Aim;
use crate::oracle::{Ledger, Line, Number, Sighting, Turn};

/// The app in which they act.
pub(super) const APP: &str = "soak";
/// Their tables.
pub(super) const TABLES: [&str; 2] = ["tasks", "notes"];
/// The spaces; each user is a member of two of them.
const SPACES: usize = 3;
/// After the last push, readers have this long to see all.
const SETTLE: Duration = Duration::from_secs(30);

/// What all of them share.
pub(super) struct Stage<'a> {
    pub(super) aim: &'a Aim,
    ledger: Mutex<Ledger>,
    /// The token of each user.
    tokens: Vec<String>,
    /// Cancelled when the last push was answered: readers end when they have all.
    pub(super) pushed: CancellationToken,
    /// When readers are to give up.
    deadline: Mutex<Option<Instant>>,
}

/// A page or an event.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(rename = "serverChanges", alias = "changes")]
    changes: Vec<Seen>,
    #[serde(rename = "syncedUntil")]
    pub(super) synced_until: String,
    #[serde(rename = "hasMore", default)]
    pub(super) has_more: bool,
}

/// A change, as a reader sees it.
#[derive(Debug, Deserialize)]
struct Seen {
    #[serde(rename = "eventId")]
    event: String,
    id: String,
}

impl<'a> Stage<'a> {
    /// Users who are members of their spaces, and known to be by the nodes.
    pub(super) async fn set(aim: &'a Aim, users: usize) -> Outcome<Self> {
        let mut members = vec![Vec::new(); SPACES];
        let mut tokens = Vec::new();
        for user in 0..users {
            for space in aim.is_own().then_some([user, user + 1]).into_iter().flatten() {
                aim.join(&name(user), &space_name(space % SPACES));
                if let Some(members) = members.get_mut(space % SPACES) {
                    members.push(user);
                }
            }
            tokens.push(aim.tokens.of(&name(user)).await?);
        }
        let stage = Self {
            aim,
            ledger: Mutex::new(Ledger::new(&members, users)),
            tokens,
            pushed: CancellationToken::new(),
            deadline: Mutex::new(None),
        };
        // The first request of a user makes the node ask which spaces are theirs.
        for user in 0..users {
            let path = format!("/sync/{APP}/pull?collection={}&since=2999-01-01", TABLES.join(","));
            let mut connection = aim.target(user)?.connect().await?;
            let answer = connection.get(&path, stage.token(user), "prologue").await?;
            if answer.status != 200 {
                return Err(format!("the first pull was answered {}", answer.status).into());
            }
        }
        Ok(stage)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn token(&self, user: usize) -> &str {
        self.tokens.get(user).map_or("", String::as_str)
    }

    /// The last push was answered.
    pub(super) fn pushes_are_over(&self) {
        let deadline = Instant::now() + SETTLE;
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        self.pushed.cancel();
    }

    /// Whether a reader has seen all that it is to see, or has had its time.
    pub(super) fn is_over(&self, line: &Line) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|deadline| {
            Instant::now() >= deadline || self.ledger().missing(line).is_empty()
        })
    }

    /// A space of the user, or none: half of all changes are private.
    pub(super) fn draw_space(&self, user: usize, rng: &mut Rng) -> Option<usize> {
        let draw = rng.usize(0..4);
        (self.aim.is_own() && draw < 2).then(|| (user + draw) % SPACES)
    }

    /// Takes a page into a line.
    pub(super) fn see(&self, line: &mut Line, turn: &mut Turn, page: &Page) {
        let sightings = page.changes.iter().map(|change| Sighting {
            app: None,
            number: number_of(&change.id),
            event: Uuid::parse_str(&change.event).ok().map(|event| event.as_u128()),
            digest: 0,
        });
        let sightings: Vec<_> = sightings.collect();
        line.take(&self.ledger(), turn, &sightings, &page.synced_until);
    }
}

/// A user's name.
pub(super) fn name(user: usize) -> String {
    format!("soak-user-{user}")
}

/// A space's name.
pub(super) fn space_name(space: usize) -> String {
    format!("soak-space-{space}")
}

/// The record of a change.
pub(super) fn record(number: Number) -> String {
    format!("s-{number}")
}

fn number_of(record: &str) -> Option<Number> {
    record.strip_prefix("s-")?.parse().ok()
}
