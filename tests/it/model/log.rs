//! The plain model: who pushed what, who is a member of what since when, and so who may and who
//! must be offered which change. Time is the number of the step.

use std::collections::{BTreeSet, HashMap};

/// The number of a step of a play. What happens within one step is not told apart.
pub type Step = usize;

/// A change that was acknowledged, or is about to be.
#[derive(Debug, Clone)]
pub struct Change {
    pub record: String,
    pub user: usize,
    /// The device; none where a program wrote it by SQL.
    pub client: String,
    pub app: usize,
    pub table: usize,
    pub space: Option<usize>,
    pub at: Step,
    /// When it entered its space's feed.
    pub published: Option<Step>,
    /// It entered the feed after it was stored, under a stamp of its own.
    pub late: bool,
    /// Its event id, once known.
    pub event: Option<String>,
}

/// A time as a member, its first and last step included.
#[derive(Debug, Clone, Copy)]
struct Stay {
    from: Step,
    to: Option<Step>,
}

#[derive(Debug, Clone, Default)]
struct User {
    /// What the fleet knows; none while unverified.
    spaces: Option<BTreeSet<usize>>,
    /// By space.
    stays: HashMap<usize, Vec<Stay>>,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub struct Log {
    pub changes: Vec<Change>,
    by_record: HashMap<String, usize>,
    users: Vec<User>,
}

impl Log {
    pub fn new(users: usize) -> Self {
        Self { users: vec![User::default(); users], ..Self::default() }
    }

    /// Notes a change that is being pushed; gives its place.
    pub fn push(&mut self, change: Change) -> usize {
        let place = self.changes.len();
        let before = self.by_record.insert(change.record.clone(), place);
        assert_eq!(before, None, "the play names each record once");
        self.changes.push(change);
        place
    }

    /// The change of a record.
    pub fn find(&self, record: &str) -> Option<usize> {
        self.by_record.get(record).copied()
    }

    /// What the fleet knows of a user's spaces.
    pub fn spaces(&self, user: usize) -> Option<&BTreeSet<usize>> {
        self.users[user].spaces.as_ref()
    }

    pub fn is_verified(&self, user: usize) -> bool {
        self.users[user].spaces.is_some()
    }

    /// The fleet forgets what it knew of a user.
    pub fn forget(&mut self, user: usize, now: Step) {
        let user = &mut self.users[user];
        user.spaces = None;
        for stay in user.stays.values_mut().flatten() {
            stay.to.get_or_insert(now);
        }
    }

    /// The fleet learns of the spaces of a user, who joins them now; what the user wrote there
    /// meanwhile is published.
    pub fn verify(&mut self, user: usize, spaces: &BTreeSet<usize>, now: Step) {
        self.forget(user, now);
        for space in spaces {
            let stays = self.users[user].stays.entry(*space).or_default();
            stays.push(Stay { from: now, to: None });
        }
        self.users[user].spaces = Some(spaces.clone());
        for change in &mut self.changes {
            if change.user == user && change.space.is_some_and(|space| spaces.contains(&space)) {
                change.late |= change.published.is_none();
                change.published.get_or_insert(now);
            }
        }
    }

    /// May this user have been offered the change, in an answer made between two steps?
    pub fn may_see(&self, user: usize, change: &Change, (first, last): (Step, Step)) -> bool {
        if change.user == user {
            return true;
        }
        let Some((space, published)) = change.space.zip(change.published) else { return false };
        let stays = self.users[user].stays.get(&space).into_iter().flatten();
        stays.into_iter().any(|stay| {
            let to = stay.to.unwrap_or(Step::MAX);
            stay.from <= last && to >= first.max(published)
        })
    }

    /// Must a device have been offered the change? If so, in which step at the earliest: whoever
    /// joins anew is offered the history again.
    pub fn must_see(&self, user: usize, client: &str, change: &Change) -> Option<Step> {
        let stay = change.space.and_then(|space| self.joined(user, space));
        if change.user == user {
            // Whose changes enter late joins anew behind them.
            let is_before = |from: &Step| {
                change.published.is_some_and(|at| at < *from || (change.late && at == *from))
            };
            return stay.filter(is_before).or((change.client != client).then_some(0));
        }
        stay.filter(|_| change.published.is_some())
    }

    /// Since when the user is a member, who is one now.
    fn joined(&self, user: usize, space: usize) -> Option<Step> {
        let stay = self.users[user].stays.get(&space)?.last()?;
        stay.to.is_none().then_some(stay.from)
    }

    /// The joinings of a user from a step to another, of one space or of any.
    pub fn joinings(
        &self,
        user: usize,
        space: Option<usize>,
        (from, to): (Step, Step),
    ) -> impl Iterator<Item = Step> {
        let stays = self.users[user].stays.iter();
        let stays = stays.filter(move |(of, _)| space.is_none_or(|space| space == **of));
        let begun = stays.flat_map(|(_, stays)| stays).map(|stay| stay.from);
        begun.filter(move |begun| (from..=to).contains(begun))
    }

    /// Do these two changes stand in this order for a reader? None where that can't be known.
    pub fn in_order(&self, reader: usize, before: usize, after: usize) -> Option<bool> {
        let (a, b) = (&self.changes[before], &self.changes[after]);
        let (at, bt) = (place(reader, a)?, place(reader, b)?);
        if at != bt {
            return Some(at < bt);
        }
        let one_feed = a.user == b.user && (a.user == reader || a.space == b.space);
        if !one_feed {
            return None;
        }
        // Within a step only what one device pushes has an order.
        let one_device = a.client == b.client && a.app == b.app;
        if a.at == b.at { one_device.then_some(before < after) } else { Some(a.at < b.at) }
    }
}

/// When the change came to a feed of the reader. The reader's own that was published late stands
/// in the one or the other place.
fn place(reader: usize, change: &Change) -> Option<Step> {
    if change.user == reader && change.late {
        return None;
    }
    Some(change.published.unwrap_or(change.at))
}
