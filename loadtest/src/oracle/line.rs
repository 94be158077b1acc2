//! What one reader saw, and what is wrong with it at first sight.

use std::collections::HashMap;

use super::{Change, Ledger, Number};

/// As many offences of a line are told in words.
const TOLD: usize = 3;

/// What one reader saw.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its name, for people.
    pub(crate) name: String,
    /// Whose device it is.
    pub(crate) user: usize,
    /// The writer that is this same client: its changes are not told to it.
    pub(crate) own: Option<usize>,
    /// What it has one cursor for.
    pub(crate) reach: Reach,
    /// Whether it is to be whole in the end: a tab that was closed is not.
    pub(crate) open: bool,
    /// The numbers, in the order of their first sightings.
    pub(super) seen: Vec<Number>,
    holds: Vec<bool>,
    /// Sightings that were not the first.
    again: u64,
    /// When each event was seen last.
    events: HashMap<u128, Sight>,
    /// The place of the latest change of each writer, by table where there is a cursor for each.
    latest: HashMap<(usize, usize), usize>,
    /// Acknowledged changes that were passed by, each with the change that passed it.
    pub(super) passed: Vec<(Number, Number)>,
    turns: u32,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    pub(super) cursors_back: u64,
    pub(super) leaked: u64,
    pub(super) unknown: u64,
    pub(super) told: Vec<String>,
}

/// What a reader has one cursor for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Each table of this app: it reads them one by one, so that order holds within each alone.
    Table(usize),
    /// All of this app.
    App(usize),
    /// All apps: it is the least of theirs, so that what lies behind it may come again.
    Apps,
}

impl Reach {
    /// Its app, where it has but one.
    pub(crate) fn app(self) -> Option<usize> {
        match self {
            Self::Table(app) | Self::App(app) => Some(app),
            Self::Apps => None,
        }
    }

    /// Whether it reads this app.
    pub(crate) fn reads(self, app: usize) -> bool {
        self.app().is_none_or(|own| own == app)
    }

    /// Whether it has one cursor for all tables.
    pub(crate) fn is_across(self) -> bool {
        !matches!(self, Self::Table(_))
    }
}

/// A change as a reader sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    /// The app that its event names: only where a stream is of several.
    pub(crate) app: Option<usize>,
    pub(crate) number: Option<Number>,
    pub(crate) event: Option<u128>,
    pub(crate) digest: u64,
}

/// When an event was seen: in which turn, and up to which stamp it brought the reader.
#[derive(Debug, Clone, Copy)]
struct Sight {
    turn: u32,
    until: Option<i64>,
}

/// A request, or a stream, with the cursor that it began from.
#[derive(Debug)]
pub(crate) struct Turn {
    number: u32,
    since: Option<i64>,
    last: String,
}

impl Line {
    /// Nothing seen yet.
    pub(crate) fn new(name: String, user: usize, own: Option<usize>, reach: Reach) -> Self {
        Self {
            name,
            user,
            own,
            reach,
            open: true,
            seen: Vec::new(),
            holds: Vec::new(),
            again: 0,
            events: HashMap::new(),
            latest: HashMap::new(),
            passed: Vec::new(),
            turns: 0,
            duplicated: 0,
            out_of_order: 0,
            cursors_back: 0,
            leaked: 0,
            unknown: 0,
            told: Vec::new(),
        }
    }

    /// Begins a request, or a stream, from this cursor.
    pub(crate) fn turn(&mut self, since: &str) -> Turn {
        self.turns += 1;
        // A time of the client's own making has another form: as text it need not sort before ours.
        let last = if is_ours(since) { since.to_owned() } else { String::new() };
        Turn { number: self.turns, since: micros(since), last }
    }

    /// Takes a page or an event that ends at the cursor `until`.
    pub(crate) fn take(
        &mut self,
        ledger: &Ledger,
        turn: &mut Turn,
        changes: &[Sighting],
        until: &str,
    ) {
        if until < turn.last.as_str() {
            self.cursors_back += 1;
            self.tell(format!("a cursor went back from {} to {until}", turn.last));
        }
        let stamp = micros(until);
        for change in changes {
            self.see(ledger, turn, *change, stamp);
        }
        until.clone_into(&mut turn.last);
    }

    fn see(&mut self, ledger: &Ledger, turn: &Turn, sighting: Sighting, until: Option<i64>) {
        let found = sighting.number.and_then(|number| Some((number, ledger.get(number)?)));
        let known = found.zip(sighting.event).filter(|((_, change), event)| {
            let named = self.reach.app().is_none().then_some(change.made.app);
            change.made.is_event(*event)
                && change.made.digest == sighting.digest
                && named == sighting.app
        });
        let Some(((number, change), event)) = known else {
            self.unknown += 1;
            let number = sighting.number;
            return self.tell(format!("{number:?} is nobody's, was altered, or is of another app"));
        };
        if !ledger.may_see(self, number, change) {
            self.leaked += 1;
            self.tell(format!("{number} is not for this user, or of an app that it does not read"));
        }
        let excused = ledger.may_come_again(self.user, change);
        if self.own == Some(change.made.writer) && !excused {
            self.duplicated += 1;
            self.tell(format!("{number} is this client's own"));
        }
        let sight = Sight { turn: turn.number, until };
        if let Some(before) = self.events.insert(event, sight) {
            self.again += 1;
            // Whoever goes on from the smallest of several cursors is told again what lies behind
            // the others. That of a stream of all apps does not say which of theirs it is.
            let was_behind =
                before.until.zip(turn.since).is_some_and(|(until, since)| until <= since);
            let is_exact = self.reach != Reach::Apps;
            if !excused && (before.turn == turn.number || (is_exact && was_behind)) {
                self.duplicated += 1;
                self.tell(format!("{number} came again"));
            }
        }
        if !self.holds(number) {
            self.first_sight(ledger, number);
        }
    }

    fn first_sight(&mut self, ledger: &Ledger, number: Number) {
        if self.holds.len() <= number as usize {
            self.holds.resize(number as usize + 1024, false);
        }
        if let Some(held) = self.holds.get_mut(number as usize) {
            *held = true;
        }
        self.seen.push(number);
        let ordered = |change: &&Change| !ledger.has_no_order(self.user, change);
        let Some(change) = ledger.get(number).filter(ordered) else { return };
        let made = change.made;
        let across = self.reach.is_across();
        let key = (made.writer, if across { usize::MAX } else { made.table });
        let before = self.latest.get(&key).copied();
        if before.is_some_and(|before| before > change.place) {
            self.out_of_order += 1;
            return self.tell(format!("{number} came behind a later one of its writer"));
        }
        self.latest.insert(key, change.place);
        let from = before.map_or(0, |before| before + 1);
        let numbers = ledger.writers.get(made.writer).and_then(|all| all.get(from..change.place));
        for earlier in numbers.unwrap_or_default() {
            let Some(change) = ledger.get(*earlier) else { continue };
            let is_here = across || change.made.table == made.table;
            let is_due = change.is_acknowledged()
                && is_here
                && !ledger.has_no_order(self.user, change)
                && self.own != Some(made.writer)
                && ledger.may_see(self, *earlier, change);
            if is_due && !self.holds(*earlier) {
                self.passed.push((*earlier, number));
            }
        }
    }

    /// Whether a change stands in it.
    pub(crate) fn holds(&self, number: Number) -> bool {
        self.holds.get(number as usize).copied().unwrap_or(false)
    }

    /// Sightings in it.
    pub(crate) fn sightings(&self) -> u64 {
        self.seen.len() as u64 + self.again
    }

    /// Whether something is wrong with it that no waiting will mend.
    pub(crate) fn is_wrong(&self) -> bool {
        let wrong = self.duplicated + self.out_of_order + self.cursors_back;
        wrong + self.leaked + self.unknown > 0
            || self.passed.iter().any(|(number, _)| !self.holds(*number))
    }

    /// The first thing that is wrong with it for good.
    pub(crate) fn offence(&self) -> Option<String> {
        let passed = self.passed.iter().find(|(number, _)| !self.holds(*number));
        let passed =
            passed.map(|(number, by)| format!("{number} was passed by: {by} came without it"));
        self.told.first().cloned().or(passed)
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD {
            self.told.push(what);
        }
    }
}

/// Whether a cursor is one that a node prints: with six digits of its second.
fn is_ours(cursor: &str) -> bool {
    const LENGTH: usize = "2026-01-01T00:00:00.000000Z".len();
    cursor.split('~').next().is_some_and(|time| time.len() == LENGTH)
}

/// The stamp of a cursor.
fn micros(cursor: &str) -> Option<i64> {
    let time = cursor.split('~').next()?;
    Some(time.parse::<jiff::Timestamp>().ok()?.as_microsecond())
}
