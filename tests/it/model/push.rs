//! Pushes: planned with the dice, sent, and what became of them told to the model.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::line::{Keeps, Line};
use super::log::Change;
use super::play::{Play, SPACES, TABLES, USERS};
use crate::support::Client;

/// The cursor of a device that wants to read nothing.
pub const NEVER: &str = "2999-01-01T00:00:00Z";

/// When a record was deleted, where it was: each at a time of its own.
pub fn deleted_at(record: &str) -> String {
    let number: u32 = record.trim_start_matches(|c: char| c.is_alphabetic()).parse().unwrap();
    format!("2026-01-01T10:05:00.{number:06}Z")
}

/// A push that is ready to be sent, maybe again.
#[derive(Clone)]
pub struct Plan {
    pub client: Client,
    pub node: String,
    pub since: String,
    pub user: usize,
    /// The line that takes the answer; none where it is read from the start, by nobody.
    pub line: Option<usize>,
    pub changes: Vec<Value>,
    /// Their places in the log.
    pub places: Vec<usize>,
}

impl Plan {
    /// The same, without wanting to read anything.
    pub fn blind(self) -> Self {
        Self { since: NEVER.to_owned(), line: None, ..self }
    }

    /// Sends it, and expects that it is taken.
    pub async fn send(&self) -> Value {
        self.client.push_since(&self.node, &self.since, &self.changes).await
    }
}

impl Play {
    /// A push of up to `most` changes through the line `n`, which reads all tables.
    pub fn plan(&mut self, n: usize, most: usize) -> Plan {
        let (user, app, device) =
            (self.lines[n].user, self.lines[n].app, self.lines[n].client.clone());
        let goes_on = self.lines[n].stream.is_none() && self.dice.u8(..4) > 0;
        let repeatable = self.dice.bool();
        let count = self.dice.usize(1..=most);
        let mut plan = Plan {
            client: self.client(user, &device, app),
            node: self.node(),
            since: if goes_on { self.lines[n].since() } else { String::new() },
            user,
            line: goes_on.then_some(n),
            changes: Vec::new(),
            places: Vec::new(),
        };
        self.pushes += 1;
        for _ in 0..count {
            let table = self.dice.usize(..TABLES.len());
            let space = self.dice.choice([None, Some(0), Some(0), Some(1)]).flatten();
            let record = format!("r{}", self.log.changes.len());
            plan.changes.push(self.wire(table, space, &record, repeatable));
            plan.places.push(self.log.push(Change {
                record,
                user,
                client: device.clone(),
                app,
                table,
                space,
                at: self.step,
                published: None,
                late: false,
                event: None,
            }));
        }
        let named: Vec<_> = plan.places.iter().map(|p| &self.log.changes[*p]).collect();
        let named: Vec<_> = named.iter().map(|c| format!("{}{:?}", c.record, c.space)).collect();
        self.note(&format!("push {device} app {app} at {} {}", plan.node, named.join(" ")));
        if repeatable {
            self.repeat = Some(plan.clone());
        }
        plan
    }

    fn wire(&mut self, table: usize, space: Option<usize>, record: &str, event: bool) -> Value {
        let mut wire = json!({ "table": TABLES[table], "id": record });
        match self.dice.u8(..5) {
            0..2 => {
                wire["op"] = json!("insert");
                wire["data"] = json!({ "n": record });
            }
            2..4 => {
                wire["op"] = json!("update");
                wire["fields"] = json!({ "n": { "value": record, "at": "2026-01-01T10:05:00Z" } });
            }
            _ => {
                wire["op"] = json!("delete");
                wire["deletedAt"] = json!(deleted_at(record));
            }
        }
        if let Some(space) = space {
            wire["spaceId"] = json!(SPACES[space]);
        }
        if event {
            wire["eventId"] = json!(Uuid::from_u128(self.dice.u128(..)));
        }
        wire
    }

    /// What the answer says of publishing, told to the model. `exactly`: the model knew before.
    pub fn stored(&mut self, plan: &Plan, answer: &Value, exactly: bool) {
        let left: BTreeSet<&str> = answer["unpublished"]
            .as_array()
            .map(|all| all.iter().map(|one| one["id"].as_str().unwrap()).collect())
            .unwrap_or_default();
        let none = BTreeSet::new();
        let member_of = self.log.spaces(plan.user).unwrap_or(&none).clone();
        for place in &plan.places {
            let now = self.step;
            let change = &mut self.log.changes[*place];
            let Some(space) = change.space else { continue };
            let open = member_of.contains(&space) || change.published.is_some();
            let entered = !left.contains(change.record.as_str());
            assert!(!exactly || entered == open, "unpublished in {answer}, {change:?}");
            // Joining in this very step publishes what was left before.
            if entered || member_of.contains(&space) {
                change.published.get_or_insert(now);
            }
        }
    }

    /// The line that pushed takes the answer's changes; or somebody beside it.
    pub fn read_answer(&mut self, plan: &Plan, n: usize, answer: &Value) {
        if plan.since == NEVER {
            return assert_eq!(answer["serverChanges"], json!([]));
        }
        let mut aside = self.lines[n].aside(&plan.since);
        let line = plan.line.map_or(&mut aside, |n| &mut self.lines[n]);
        line.take_page(&mut self.log, &plan.since, answer, self.step);
    }

    /// One push, with nothing beside it.
    pub async fn push(&mut self, n: usize, most: usize) {
        let plan = self.plan(n, most);
        self.asked(plan.user);
        let answer = plan.send().await;
        self.published().await;
        self.judge_spaces(plan.user, &answer);
        self.stored(&plan, &answer, true);
        self.read_answer(&plan, n, &answer);
    }

    /// An empty push: reads all tables.
    pub async fn poll(&mut self, n: usize) -> bool {
        let (user, since) = (self.lines[n].user, self.lines[n].since());
        let client = self.client_of(n);
        let node = self.node();
        self.note(&format!("poll {} at {node}", self.lines[n]));
        self.asked(user);
        let answer = client.push_since(&node, &since, &[]).await;
        self.published().await;
        self.judge_spaces(user, &answer);
        self.lines[n].take_page(&mut self.log, &since, &answer, self.step)
    }

    /// The same push again, with the same event ids, whatever has happened since.
    pub async fn push_again(&mut self) {
        let Some(mut plan) = self.repeat.clone() else { return };
        plan.node = self.node();
        self.note(&format!("push again at {}", plan.node));
        self.asked(plan.user);
        NEVER.clone_into(&mut plan.since);
        let answer = plan.send().await;
        assert_eq!(answer["serverChanges"], json!([]));
        self.published().await;
        self.stored(&plan, &answer, true);
    }

    /// A changeset with one bad change is refused whole: its good ones are never seen.
    pub async fn push_badly(&mut self) {
        let Some(n) = self.line(|line| line.all) else { return };
        let (client, node) = (self.client_of(n), self.node());
        let good = self.wire(0, Some(0), &format!("bad{}", self.step), true);
        let bad = json!({ "table": "tasks", "id": "", "op": "delete" });
        let body = json!({ "changes": [good, bad] }).to_string();
        assert_eq!(client.post(&node, body).await.status(), 400);
    }

    /// A line that reads all tables, so that pushes may answer it.
    pub fn pusher(&mut self) -> usize {
        let all = |line: &Line| line.all && line.keeps() == Keeps::One;
        let lines: Vec<usize> = (0..self.lines.len()).filter(|n| all(&self.lines[*n])).collect();
        self.dice.choice(lines).unwrap()
    }

    /// A change by which a line's stream shows how far it has come: another device of its user
    /// wrote it, in one of the line's tables.
    pub fn marker(&mut self, n: usize, node: String) -> Plan {
        let Line { user, app, .. } = self.lines[n];
        let table = self.lines[n].tables[0];
        let record = format!("r{}", self.log.changes.len());
        let wire = self.wire(table, None, &record, false);
        self.pushes += 1;
        self.note(&format!("marker {record} of {} for {}", USERS[user], self.lines[n]));
        let place = self.log.push(Change {
            record,
            user,
            client: "marker".to_owned(),
            app,
            table,
            space: None,
            at: self.step,
            published: None,
            late: false,
            event: None,
        });
        let client = self.client(user, "marker", app);
        let (changes, places) = (vec![wire], vec![place]);
        Plan { client, node, since: NEVER.to_owned(), user, line: None, changes, places }
    }
}
