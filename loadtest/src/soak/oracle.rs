//! The oracle: what was acknowledged, what each reader saw, and whether the two agree.
//!
//! Changes are numbered in the order in which they are made; a writer makes one changeset after
//! another, each acknowledged before the next is begun, so its numbers rise in every feed. A
//! [`Line`] is all that one reader saw going on from its own cursors: no change may stand in it
//! twice, and its cursors never go back.

use std::collections::HashMap;

use serde::Serialize;

/// A change's number.
pub(super) type Number = u32;

/// What is known of all changes.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    changes: Vec<Change>,
    /// The members of each space, by user.
    members: Vec<Vec<usize>>,
}

/// A change.
#[derive(Debug, Clone, Copy)]
struct Change {
    event: u128,
    writer: usize,
    user: usize,
    space: Option<usize>,
    acknowledged: bool,
    /// Kept for its author alone at first: it may be offered again once it is published.
    unpublished: bool,
}

/// What one reader saw.
#[derive(Debug)]
pub(super) struct Line {
    /// Its name, for people.
    pub(super) name: String,
    /// Whose device it is.
    pub(super) user: usize,
    seen: Vec<Number>,
    cursor: String,
    went_back: u64,
    /// Changes that nobody made, or with another event id.
    unknown: u64,
}

/// What the oracle says.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) acknowledged: u64,
    pub(super) lines: u64,
    /// Sightings that the lines hold.
    pub(super) seen: u64,
    /// Acknowledged and missing from a line whose user may see it.
    pub(super) lost: u64,
    /// In a line more than once.
    pub(super) duplicated: u64,
    /// Behind a change of the same writer or feed that comes later, or that other readers of the
    /// feed saw later.
    pub(super) out_of_order: u64,
    /// Cursors that sort before the one they go on from.
    pub(super) cursors_back: u64,
    /// In a line whose user may not see it.
    pub(super) leaked: u64,
    /// Changes that nobody made, or with another event id.
    pub(super) unknown: u64,
    /// Said to be unpublished: they are not asked to be in order, nor to come once.
    pub(super) unpublished: u64,
    /// The first lines that something is wrong with.
    pub(super) examples: Vec<String>,
}

/// As many examples are kept.
const EXAMPLES: usize = 10;

impl Ledger {
    /// A ledger for spaces with these members.
    pub(super) fn new(members: Vec<Vec<usize>>) -> Self {
        Self { changes: Vec::new(), members }
    }

    /// Notes a change that is about to be pushed.
    pub(super) fn make(
        &mut self,
        event: u128,
        writer: usize,
        user: usize,
        space: Option<usize>,
    ) -> Number {
        let number = Number::try_from(self.changes.len()).unwrap_or(Number::MAX);
        let (acknowledged, unpublished) = (false, false);
        self.changes.push(Change { event, writer, user, space, acknowledged, unpublished });
        number
    }

    /// How many were made.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Notes that a change was acknowledged, and whether as unpublished.
    pub(super) fn acknowledge(&mut self, number: Number, unpublished: bool) {
        if let Some(change) = self.changes.get_mut(number as usize) {
            change.acknowledged = true;
            change.unpublished = unpublished;
        }
    }

    fn get(&self, number: Number) -> Option<&Change> {
        self.changes.get(number as usize)
    }

    fn may_see(&self, user: usize, change: &Change) -> bool {
        let members = change.space.and_then(|space| self.members.get(space));
        change.user == user || members.is_some_and(|members| members.contains(&user))
    }

    /// The acknowledged changes that a line lacks.
    pub(super) fn missing(&self, line: &Line) -> Vec<Number> {
        let mut seen = vec![false; self.changes.len()];
        for number in &line.seen {
            if let Some(seen) = seen.get_mut(*number as usize) {
                *seen = true;
            }
        }
        let changes = self.changes.iter().zip(seen).zip(0..);
        let missing = changes.filter(|((change, seen), _)| {
            change.acknowledged && !seen && self.may_see(line.user, change)
        });
        missing.map(|(_, number)| number).collect()
    }

    /// Compares everything.
    pub(super) fn judge(&self, lines: &[Line]) -> Verdict {
        let count = |of: &dyn Fn(&Change) -> bool| {
            self.changes.iter().filter(|change| of(change)).count() as u64
        };
        let mut verdict = Verdict {
            acknowledged: count(&|change| change.acknowledged),
            unpublished: count(&|change| change.unpublished),
            lines: lines.len() as u64,
            ..Verdict::default()
        };
        // Feeds in the order of the first reader that saw each.
        let mut orders: HashMap<Feed, Order> = HashMap::new();
        for line in lines {
            let lost = self.missing(line);
            let mut one = Verdict {
                lost: lost.len() as u64,
                seen: line.seen.len() as u64,
                cursors_back: line.went_back,
                unknown: line.unknown,
                ..Verdict::default()
            };
            self.judge_line(line, &mut orders, &mut one);
            verdict.add(&line.name, &one, lost.first());
        }
        verdict
    }

    fn judge_line(&self, line: &Line, orders: &mut HashMap<Feed, Order>, one: &mut Verdict) {
        let mut times = vec![0_u8; self.changes.len()];
        // The last of each writer; the feeds' own orders, and where this line stands in them.
        let mut last: HashMap<usize, Number> = HashMap::new();
        let mut places: HashMap<Feed, usize> = HashMap::new();
        let mut here: HashMap<Feed, Order> = HashMap::new();
        for number in &line.seen {
            let Some(change) = self.get(*number) else { continue };
            one.leaked += u64::from(!self.may_see(line.user, change));
            if change.unpublished {
                continue;
            }
            if let Some(times) = times.get_mut(*number as usize) {
                *times = times.saturating_add(1);
                if *times > 1 {
                    one.duplicated += 1;
                    continue;
                }
            }
            let before = last.insert(change.writer, *number);
            one.out_of_order += u64::from(before.is_some_and(|before| before > *number));
            for feed in change.feeds(line.user) {
                let order = here.entry(feed).or_default();
                order.insert(*number, order.len());
                let place = orders.get(&feed).and_then(|order| order.get(number));
                if let Some(place) = place {
                    let before = places.insert(feed, *place);
                    one.out_of_order += u64::from(before.is_some_and(|before| before > *place));
                }
            }
        }
        for (feed, order) in here {
            orders.entry(feed).or_insert(order);
        }
    }
}

impl Change {
    /// The feeds of a user that the change stands in.
    fn feeds(&self, user: usize) -> impl Iterator<Item = Feed> {
        let own = (self.user == user).then_some(Feed::User(user));
        own.into_iter().chain(self.space.map(Feed::Space))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Feed {
    User(usize),
    Space(usize),
}

/// Where each change stands.
type Order = HashMap<Number, usize>;

impl Verdict {
    /// Whether all is as promised.
    pub(super) fn is_clean(&self) -> bool {
        let wrong = self.lost + self.duplicated + self.out_of_order + self.cursors_back;
        wrong + self.leaked + self.unknown == 0
    }

    fn add(&mut self, name: &str, one: &Self, lost: Option<&Number>) {
        self.seen += one.seen;
        self.lost += one.lost;
        self.duplicated += one.duplicated;
        self.out_of_order += one.out_of_order;
        self.cursors_back += one.cursors_back;
        self.leaked += one.leaked;
        self.unknown += one.unknown;
        if !one.is_clean() && self.examples.len() < EXAMPLES {
            let first = lost.map_or_else(String::new, |number| format!(", the first is {number}"));
            self.examples.push(format!(
                "{name}: lost {}{first}, duplicated {}, out of order {}, cursors back {}, leaked {}, \
                 unknown {}",
                one.lost, one.duplicated, one.out_of_order, one.cursors_back, one.leaked, one.unknown
            ));
        }
    }
}

impl Line {
    /// Nothing seen yet.
    pub(super) fn new(name: String, user: usize) -> Self {
        let (seen, cursor) = (Vec::new(), String::new());
        Self { name, user, seen, cursor, went_back: 0, unknown: 0 }
    }

    /// The cursor to go on from.
    pub(super) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Takes a change.
    pub(super) fn see(&mut self, ledger: &Ledger, number: Option<Number>, event: Option<u128>) {
        let known = number.filter(|number| ledger.get(*number).map(|change| change.event) == event);
        match known.filter(|_| event.is_some()) {
            Some(number) => self.seen.push(number),
            None => self.unknown += 1,
        }
    }

    /// Takes a cursor.
    pub(super) fn go_on(&mut self, cursor: &str) {
        self.went_back += u64::from(cursor < self.cursor.as_str());
        cursor.clone_into(&mut self.cursor);
    }
}

#[cfg(test)]
mod tests;
