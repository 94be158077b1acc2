//! A cursor's line: one device that reads some tables of an app, goes on from where it stood, and
//! keeps what it was offered. It judges every answer against the model.

use std::collections::HashMap;

use serde_json::Value;

use super::log::{Change, Log, Step};
use super::play::{SPACES, TABLES};
use super::push::deleted_at;
use super::watch::Watch;

/// How a device keeps its cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// One for all its tables.
    One,
    /// One a table, as clients in the field do: of an event's table only. They ask with the
    /// smallest, and so may be offered things twice.
    Each,
}

#[derive(Debug)]
pub struct Line {
    pub user: usize,
    pub client: String,
    pub app: usize,
    pub tables: Vec<usize>,
    /// Whether its requests name no tables.
    pub all: bool,
    keeps: Keeps,
    /// By table, in the order of `tables`.
    cursors: Vec<String>,
    /// What it was offered last between which steps.
    offered: HashMap<usize, (Step, Step)>,
    /// All joinings before this step lie behind its cursor.
    settled: Step,
    last: Option<usize>,
    pub stream: Option<Watch>,
}

impl Line {
    pub fn new(user: usize, client: &str, app: usize, tables: Vec<usize>, keeps: Keeps) -> Self {
        Self {
            user,
            client: client.to_owned(),
            app,
            all: tables.len() == TABLES.len(),
            cursors: vec![String::new(); tables.len()],
            tables,
            keeps,
            offered: HashMap::new(),
            settled: 0,
            last: None,
            stream: None,
        }
    }

    /// A line of the same device and tables that begins at `since`, wherever that is.
    pub fn aside(&self, since: &str) -> Self {
        let mut line =
            Self::new(self.user, &self.client, self.app, self.tables.clone(), Keeps::Each);
        line.cursors.fill(since.to_owned());
        line
    }

    /// The cursor to go on from.
    pub fn since(&self) -> String {
        self.cursors.iter().min().unwrap().clone()
    }

    /// The tables as a list of names; empty where it means all.
    pub fn list(&self) -> String {
        if self.all {
            return String::new();
        }
        self.tables.iter().map(|table| TABLES[*table]).collect::<Vec<_>>().join(",")
    }

    pub fn keeps(&self) -> Keeps {
        self.keeps
    }

    /// Its stream told it of spaces.
    pub fn told(&mut self, spaces: &Value) {
        let names = spaces.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        if let Some(watch) = &mut self.stream {
            watch.spaces = Some(names.collect());
        }
    }

    pub fn was_offered(&self, place: usize) -> bool {
        self.offered.contains_key(&place)
    }

    /// Takes an answer to a request that went on from `since`, made in this step. Says whether
    /// there is more.
    pub fn take_page(&mut self, log: &mut Log, since: &str, answer: &Value, now: Step) -> bool {
        let more = answer.get("hasMore") == Some(&Value::Bool(true));
        let until = answer["syncedUntil"].as_str().unwrap();
        assert!(until >= since, "{self} went from {since} back to {until}");
        self.take(log, &answer["serverChanges"], (now, now));
        for cursor in &mut self.cursors {
            // A client that keeps one a table does not go back in any of them.
            if self.keeps == Keeps::One || cursor.as_str() < until {
                until.clone_into(cursor);
            }
        }
        self.settle(until, more, now);
        more
    }

    /// Takes an event that was made between two steps.
    pub fn take_event(&mut self, log: &mut Log, data: &Value, when: (Step, Step)) {
        let until = data["syncedUntil"].as_str().unwrap();
        let table = TABLES.iter().position(|name| data["table"] == *name).unwrap();
        let changes = data["changes"].as_array().unwrap();
        assert!(changes.iter().all(|change| change["table"] == data["table"]), "{data}");
        self.take(log, &data["changes"], when);
        for (of, cursor) in self.tables.iter().zip(&mut self.cursors) {
            match self.keeps {
                Keeps::One => {
                    let back = until < cursor.as_str();
                    assert!(!back, "{}'s stream went from {cursor} back to {until}", self.client);
                    until.clone_into(cursor);
                }
                Keeps::Each if *of == table && cursor.as_str() < until => until.clone_into(cursor),
                Keeps::Each => {}
            }
        }
        self.settle(until, data["hasMore"] == Value::Bool(true), when.0);
    }

    fn settle(&mut self, until: &str, more: bool, at: Step) {
        if !more && !until.contains('~') {
            self.settled = self.settled.max(at);
        }
    }

    fn take(&mut self, log: &mut Log, changes: &Value, when: (Step, Step)) {
        let joined = log.joinings(self.user, None, (self.settled, when.1)).next().is_some();
        if joined || self.keeps == Keeps::Each {
            self.last = None;
        }
        for wire in changes.as_array().unwrap() {
            let record = wire["id"].as_str().unwrap();
            let place = log.find(record);
            let place = place.unwrap_or_else(|| panic!("{self} was offered {wire}: never stored"));
            same(&mut log.changes[place], wire);
            let change = &log.changes[place];
            assert_eq!(change.app, self.app, "{self} was offered a change of another app: {wire}");
            assert!(self.tables.contains(&change.table), "{self} did not ask for {wire}");
            let may = log.may_see(self.user, change, when);
            assert!(may, "{self} was offered {change:?} as no member");
            self.judge_repetition(log, place, when);
            if let Some(last) = self.last {
                let right = log.in_order(self.user, last, place) != Some(false);
                let last = &log.changes[last];
                assert!(right, "{self} was offered {change:?} after {last:?}");
            }
            self.last = Some(place);
            self.offered.insert(place, when);
        }
    }

    /// A change comes once, and the device's own not at all; but in the history of a space that
    /// was joined after the cursor, once more.
    fn judge_repetition(&self, log: &Log, place: usize, when: (Step, Step)) {
        let change = &log.changes[place];
        let window = (self.settled, when.1);
        let in_history = change.published.zip(change.space).is_some_and(|(published, space)| {
            log.joinings(self.user, Some(space), window).any(|joined| published <= joined)
        });
        if change.user == self.user && change.client == self.client {
            assert!(in_history, "{self} was offered its own {change:?}");
        }
        let Some((before, _)) = self.offered.get(&place).filter(|_| self.keeps == Keeps::One)
        else {
            return;
        };
        // The own that was published late has two places: where it was written, and in the history.
        let two_places = change.user == self.user && change.late;
        let anew = log.joinings(self.user, None, window).any(|joined| *before <= joined);
        assert!(
            in_history && (anew || two_places),
            "{self} was offered {change:?} twice, before in {before}"
        );
    }

    /// Nothing that its user may see is missing.
    pub fn assert_complete(&self, log: &Log) {
        for (place, change) in log.changes.iter().enumerate() {
            if change.app != self.app || !self.tables.contains(&change.table) {
                continue;
            }
            let Some(from) = log.must_see(self.user, &self.client, change) else { continue };
            let last = self.offered.get(&place).map(|(_, last)| *last);
            let seen = last.is_some_and(|last| last >= from);
            assert!(seen, "{self} lacks {change:?}: offered in {last:?}, due from {from}");
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, client, app, keeps, settled, .. } = self;
        write!(f, "{client} of user {user} in app {app} ({keeps:?} of {:?}, ", self.list())?;
        write!(f, "at {}, settled in {settled})", self.since())
    }
}

/// The change on the wire is the one that was pushed, under one event id for all.
fn same(change: &mut Change, wire: &Value) {
    assert_eq!(wire["table"], TABLES[change.table], "{wire}");
    let (n, expected) = match wire["op"].as_str() {
        Some("insert") => (&wire["data"]["n"], change.record.clone()),
        Some("update") => (&wire["fields"]["n"]["value"], change.record.clone()),
        Some("delete") => (&wire["deletedAt"], deleted_at(&change.record)),
        _ => panic!("{wire}"),
    };
    assert_eq!(*n, expected, "{wire}");
    let space = change.space.map(|space| SPACES[space]);
    assert_eq!(wire.get("spaceId").and_then(Value::as_str), space, "{wire}");
    let event = wire["eventId"].as_str().unwrap();
    let known = change.event.get_or_insert_with(|| event.to_owned());
    assert_eq!(known, event, "a change keeps its event id");
}
