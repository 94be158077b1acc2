//! What a client holds in the end: its records, made of changes in whatever order they came. Of
//! two values for a field the later one wins, by the clocks of those who wrote them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::wire::{Effect, Seen};

/// The records of a client.
#[derive(Debug, Default)]
pub(super) struct State(BTreeMap<Key, Record>);

/// Its app; its space, empty where it has none; its table; its id.
type Key = (usize, String, String, String);

#[derive(Debug, Default, Hash)]
struct Record {
    /// When it was written, and the text itself.
    title: (String, String),
    deleted: String,
}

impl State {
    /// Takes a change of an app; none of one that it does not know.
    pub(super) fn apply(&mut self, app: Option<usize>, seen: &Seen) {
        let Some(app) = app else { return };
        let space = seen.space_id.clone().unwrap_or_default();
        let record = self.0.entry((app, space, seen.table.clone(), seen.id.clone())).or_default();
        match seen.effect() {
            Some(Effect::Title { at, title }) => {
                let written = (at.to_owned(), title.to_owned());
                record.title = written.max(std::mem::take(&mut record.title));
            }
            Some(Effect::Delete { at }) => {
                record.deleted = at.to_owned().max(std::mem::take(&mut record.deleted));
            }
            None => {}
        }
    }

    /// Of all records of a space in an app; of the private ones where there is none.
    pub(super) fn hash(&self, app: usize, space: Option<&str>) -> u64 {
        let mut hasher = DefaultHasher::new();
        let wanted = space.unwrap_or_default();
        for (key, record) in self.0.iter().filter(|((a, s, ..), _)| *a == app && s == wanted) {
            (key, record).hash(&mut hasher);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::chaos::wire::Draft;

    #[test]
    fn the_order_of_changes_does_not_matter_and_each_of_them_does() {
        let mut rng = fastrand::Rng::with_seed(3);
        let changes: Vec<Seen> = (0..400)
            .map(|number| Draft::draw(&mut rng, None, None, false).numbered(number))
            .map(|json| Seen::deserialize(json).unwrap())
            .collect();
        let mut forth = State::default();
        for change in &changes {
            forth.apply(Some(0), change);
        }
        let mut back = State::default();
        for change in changes.iter().rev() {
            back.apply(Some(0), change);
        }
        let nothing = State::default().hash(0, None);
        assert_eq!(forth.hash(0, None), back.hash(0, None));
        assert_ne!(forth.hash(0, None), nothing);
        assert_eq!([forth.hash(0, Some("elsewhere")), forth.hash(1, None)], [nothing; 2]);
    }
}
