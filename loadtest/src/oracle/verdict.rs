//! What the oracle says of all lines together.

use std::collections::HashMap;

use serde::Serialize;

use super::{Change, Kept, Ledger, Line, Number};

/// As many examples are kept.
const EXAMPLES: usize = 10;

/// What the oracle says.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) acknowledged: u64,
    pub(crate) lines: u64,
    /// Sightings that the lines hold.
    pub(crate) seen: u64,
    /// Acknowledged and not in the database, or in there and missing from a line whose user may
    /// see it.
    pub(crate) lost: u64,
    /// Acknowledged and lost with a server that was expected to lose some.
    pub(crate) forgotten: u64,
    /// In a line more than once.
    pub(crate) duplicated: u64,
    /// Behind a change of the same writer or feed that comes later, or that other readers of the
    /// feed saw later.
    pub(crate) out_of_order: u64,
    /// Cursors that sort before the one they go on from.
    pub(crate) cursors_back: u64,
    /// In a line whose user may not see it.
    pub(crate) leaked: u64,
    /// Changes that nobody made, or with another event id or content.
    pub(crate) unknown: u64,
    /// Said to be unpublished: they are not asked to be in order, nor to come once.
    pub(crate) unpublished: u64,
    /// The first lines that something is wrong with.
    pub(crate) examples: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Feed {
    User(usize),
    Space(usize),
}

/// A feed of this app, in all tables or in one.
type Sequence = (usize, Feed, Option<usize>);

/// Where each change stands.
type Order = HashMap<Number, usize>;

impl Ledger {
    /// Compares everything.
    pub(crate) fn judge<'a>(&self, lines: impl IntoIterator<Item = &'a Line>) -> Verdict {
        let count = |of: &dyn Fn(&Change) -> bool| {
            self.changes.iter().filter(|change| of(change)).count() as u64
        };
        let mut verdict = Verdict {
            acknowledged: count(&Change::is_acknowledged),
            unpublished: count(&Change::is_unpublished),
            ..Verdict::default()
        };
        self.judge_database(&mut verdict);
        // Feeds in the order of the first reader that saw each.
        let mut orders = HashMap::new();
        for line in lines {
            let lost = if line.open { self.missing(line) } else { passed_by(line) };
            let mut one = Verdict {
                lost: lost.len() as u64,
                seen: line.sightings(),
                duplicated: line.duplicated,
                out_of_order: line.out_of_order + self.compare(line, &mut orders),
                cursors_back: line.cursors_back,
                leaked: line.leaked + self.unpublished_to_others(line),
                unknown: line.unknown,
                ..Verdict::default()
            };
            if let Some(first) = lost.first() {
                one.examples.push(format!("the first that is lost is {}", self.describe(*first)));
            }
            one.examples.extend(line.told.iter().cloned());
            verdict.add(&line.name, &one);
        }
        verdict
    }

    /// Acknowledged changes that the database lacks, or has kept from a space.
    fn judge_database(&self, verdict: &mut Verdict) {
        let gone = |change: &&Change| change.is_acknowledged() && change.kept == Kept::Nowhere;
        if self.looked_up && self.forgetful {
            verdict.forgotten = self.changes.iter().filter(gone).count() as u64;
            return;
        }
        let is_lost = |change: &Change| {
            change.is_acknowledged()
                && match change.kept {
                    Kept::Nowhere => true,
                    Kept::Stored => change.made.space.is_some() && !change.is_unpublished(),
                    Kept::Published => false,
                }
        };
        let numbers = (0..).zip(&self.changes).filter(|(_, change)| is_lost(change));
        let lost: Vec<Number> = numbers.map(|(number, _)| number).collect();
        if let Some(first) = lost.first().filter(|_| self.looked_up) {
            verdict.lost += lost.len() as u64;
            verdict.examples.push(format!(
                "{} were acknowledged and are not in the database, the first is {}",
                lost.len(),
                self.describe(*first)
            ));
        }
    }

    /// Sightings of changes that never entered their space, by others than their author.
    fn unpublished_to_others(&self, line: &Line) -> u64 {
        let changes = line.seen.iter().filter_map(|number| self.get(*number));
        let strange = changes.filter(|c| c.made.user != line.user && c.kept == Kept::Stored);
        if self.looked_up { strange.count() as u64 } else { 0 }
    }

    /// How often a line's order is another than that of the lines before it.
    fn compare(&self, line: &Line, orders: &mut HashMap<Sequence, Order>) -> u64 {
        let mut places: HashMap<Sequence, usize> = HashMap::new();
        let mut here: HashMap<Sequence, Order> = HashMap::new();
        let mut wrong = 0;
        for number in &line.seen {
            let Some(change) = self.get(*number) else { continue };
            if self.has_no_order(line.user, change) {
                continue;
            }
            let mut is_behind = false;
            for feed in change.feeds(line.user) {
                for table in [None, Some(change.made.table)] {
                    if table.is_none() && !line.reach.is_across() {
                        continue;
                    }
                    let sequence = (change.made.app, feed, table);
                    let order = here.entry(sequence).or_default();
                    order.insert(*number, order.len());
                    let known = orders.get(&sequence).and_then(|order| order.get(number));
                    if let Some(place) = known {
                        let before = places.insert(sequence, *place);
                        is_behind |= before.is_some_and(|before| before > *place);
                    }
                }
            }
            wrong += u64::from(is_behind);
        }
        for (sequence, order) in here {
            orders.entry(sequence).or_insert(order);
        }
        wrong
    }

    /// A change, for people.
    fn describe(&self, number: Number) -> String {
        let Some(change) = self.get(number) else { return number.to_string() };
        let made = change.made;
        let space = made.space.map_or_else(String::new, |space| format!(" in space {space}"));
        let said = if change.is_acknowledged() { "acknowledged" } else { "unanswered" };
        let there = match change.kept {
            _ if !self.looked_up => "",
            Kept::Nowhere => ", not stored",
            Kept::Stored if made.space.is_some() => ", stored, not published",
            _ => ", stored",
        };
        let (user, writer, app) = (made.user, made.writer, made.app);
        format!("{number} (user {user}, writer {writer}, app {app}{space}, {said}{there})")
    }
}

/// What a line has passed by for good.
fn passed_by(line: &Line) -> Vec<Number> {
    let passed = line.passed.iter().map(|(number, _)| *number);
    passed.filter(|number| !line.holds(*number)).collect()
}

impl Change {
    /// The feeds of a user that the change stands in.
    fn feeds(&self, user: usize) -> impl Iterator<Item = Feed> {
        let own = (self.made.user == user).then_some(Feed::User(user));
        own.into_iter().chain(self.made.space.map(Feed::Space))
    }
}

impl Verdict {
    /// Whether all is as promised.
    pub(crate) fn is_clean(&self) -> bool {
        let wrong = self.lost + self.duplicated + self.out_of_order + self.cursors_back;
        wrong + self.leaked + self.unknown == 0
    }

    fn add(&mut self, name: &str, one: &Self) {
        self.lines += 1;
        self.seen += one.seen;
        self.lost += one.lost;
        self.duplicated += one.duplicated;
        self.out_of_order += one.out_of_order;
        self.cursors_back += one.cursors_back;
        self.leaked += one.leaked;
        self.unknown += one.unknown;
        if !one.is_clean() && self.examples.len() < EXAMPLES {
            self.examples.push(format!(
                "{name}: lost {}, duplicated {}, out of order {}, cursors back {}, leaked {}, \
                 unknown {}: {}",
                one.lost,
                one.duplicated,
                one.out_of_order,
                one.cursors_back,
                one.leaked,
                one.unknown,
                one.examples.join("; ")
            ));
        }
    }
}
