//! The oracle: what was acknowledged, what each reader saw, and whether the two agree.
//!
//! Changes are numbered in the order in which they are made; a writer makes one changeset after
//! another, each acknowledged before the next is begun, so its numbers rise in every feed. A
//! [`Line`] is all that one reader saw going on from its own cursors; what is wrong in it is seen at
//! once where it can be, and whether it is whole when all is quiet. A writer makes changes in one
//! app; a line reads one, or all of them by one stream ([`Reach`]).
//!
//! Users who come to spaces and leave them are guests: nothing may reach them that was made after
//! they were out, and they read a history again whenever they are back, so that neither order
//! nor number is asked of what they see in spaces.

mod line;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use self::line::{Line, Reach, Sighting, Turn};
pub(crate) use self::verdict::Verdict;

/// A change's number.
pub(crate) type Number = u32;

/// What is known of all changes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    changes: Vec<Change>,
    /// The changes of each writer, in order.
    writers: Vec<Vec<Number>>,
    /// How each user stands to each space, by space.
    spaces: Vec<Vec<Standing>>,
    /// Who has ever moved.
    guests: Vec<bool>,
    /// Whether it was looked up what is stored.
    looked_up: bool,
    /// Whether the database may lose what it had: then it may also store it again, elsewhere in
    /// the order.
    forgetful: bool,
}

/// A change as it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// Its event id; none where the client leaves it to the node, and so may be stored twice when
    /// it is pushed twice.
    pub(crate) event: Option<u128>,
    pub(crate) writer: usize,
    pub(crate) user: usize,
    /// The one app of its writer.
    pub(crate) app: usize,
    pub(crate) space: Option<usize>,
    pub(crate) table: usize,
    /// Of all that readers are to see of it.
    pub(crate) digest: u64,
}

/// What the database holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Changes that nobody made, or with another event id.
    pub(crate) strange: u64,
    /// Changes without event ids that are there more than once: they were pushed twice.
    pub(crate) again: u64,
}

impl Made {
    /// Whether an event may be of this change.
    fn is_event(&self, event: u128) -> bool {
        self.event.is_none_or(|made| made == event)
    }
}

#[derive(Debug, Clone, Copy)]
struct Change {
    made: Made,
    /// Its place among its writer's.
    place: usize,
    answered: Answered,
    kept: Kept,
}

/// What its client was told of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    Never,
    Acknowledged,
    /// Acknowledged, and kept for its author alone at first: it may be offered again once it is
    /// published.
    Unpublished,
}

/// Where the database has a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    Nowhere,
    /// In its author's feed.
    Stored,
    /// In its space's, too.
    Published,
}

impl Change {
    fn is_acknowledged(&self) -> bool {
        self.answered != Answered::Never
    }

    fn is_unpublished(&self) -> bool {
        self.answered == Answered::Unpublished
    }
}

/// How a user stands to a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// Never was a member.
    #[default]
    Stranger,
    /// May see all of it.
    Member,
    /// Is coming or going: both is right.
    Moving,
    /// Is out, as the fleet knows, since before the change of this number was made.
    Gone(Number),
}

impl Ledger {
    /// A ledger for spaces with these members, who stay.
    pub(crate) fn new(members: &[Vec<usize>], users: usize) -> Self {
        let standings = |members: &Vec<usize>| {
            let standing = |user| {
                if members.contains(&user) { Standing::Member } else { Standing::Stranger }
            };
            (0..users).map(standing).collect()
        };
        Self {
            spaces: members.iter().map(standings).collect(),
            guests: vec![false; users],
            ..Self::default()
        }
    }

    /// The database may lose what it acknowledged, as one whose standby lags behind. Then all that
    /// is asked is that readers see what it has in the end.
    pub(crate) fn expect_losses(&mut self) {
        self.forgetful = true;
    }

    /// Notes how a user stands to a space from now on.
    pub(crate) fn moves(&mut self, user: usize, space: usize, standing: Standing) {
        if let Some(guest) = self.guests.get_mut(user) {
            *guest = true;
        }
        if let Some(here) = self.spaces.get_mut(space).and_then(|users| users.get_mut(user)) {
            *here = standing;
        }
    }

    /// How a user stands to a space.
    pub(crate) fn standing(&self, user: usize, space: usize) -> Standing {
        self.spaces.get(space).and_then(|users| users.get(user)).copied().unwrap_or_default()
    }

    /// Notes a change that is about to be pushed.
    pub(crate) fn make(&mut self, made: Made) -> Number {
        let number = Number::try_from(self.changes.len()).unwrap_or(Number::MAX);
        if self.writers.len() <= made.writer {
            self.writers.resize_with(made.writer + 1, Vec::new);
        }
        let place = self.writers.get_mut(made.writer).map_or(0, |numbers| {
            numbers.push(number);
            numbers.len() - 1
        });
        let (answered, kept) = (Answered::Never, Kept::Nowhere);
        self.changes.push(Change { made, place, answered, kept });
        number
    }

    /// The number that the next change will have.
    pub(crate) fn next(&self) -> Number {
        Number::try_from(self.changes.len()).unwrap_or(Number::MAX)
    }

    /// Notes that a change was acknowledged, and whether as unpublished.
    pub(crate) fn acknowledge(&mut self, number: Number, unpublished: bool) {
        if let Some(change) = self.changes.get_mut(number as usize) {
            let answered = [Answered::Acknowledged, Answered::Unpublished];
            change.answered = answered[usize::from(unpublished)];
        }
    }

    /// Notes all that is stored: from now on that is what readers are to see.
    pub(crate) fn stored(&mut self, rows: &[(Option<Number>, u128, bool)]) -> Stored {
        self.looked_up = true;
        let mut stored = Stored::default();
        let mut found = vec![false; self.changes.len()];
        for (number, event, published) in rows {
            let place = number.map_or(usize::MAX, |number| number as usize);
            match (self.changes.get_mut(place), found.get_mut(place)) {
                (Some(change), Some(found)) if change.made.is_event(*event) => {
                    let kept = if *published { Kept::Published } else { Kept::Stored };
                    change.kept = change.kept.max(kept);
                    stored.again += u64::from(std::mem::replace(found, true));
                }
                _ => stored.strange += 1,
            }
        }
        stored
    }

    /// Whether the database may lose what it had.
    pub(crate) fn expects_losses(&self) -> bool {
        self.forgetful
    }

    /// What members wrote in spaces, and is not published yet.
    pub(crate) fn awaits_publishing(&self) -> usize {
        let waits = |change: &&Change| {
            let space = change.made.space.filter(|_| change.kept == Kept::Stored);
            space.is_some_and(|s| self.standing(change.made.user, s) == Standing::Member)
        };
        self.changes.iter().filter(waits).count()
    }

    fn get(&self, number: Number) -> Option<&Change> {
        self.changes.get(number as usize)
    }

    fn is_guest(&self, user: usize) -> bool {
        self.guests.get(user).copied().unwrap_or(false)
    }

    /// Whether a change may come to this user more than once.
    fn may_come_again(&self, user: usize, change: &Change) -> bool {
        self.forgetful
            || change.is_unpublished()
            || (change.made.space.is_some() && self.is_guest(user))
    }

    /// Whether no order is asked of a change where this user sees it.
    fn has_no_order(&self, user: usize, change: &Change) -> bool {
        let by_guest = change.made.space.is_some() && self.is_guest(change.made.user);
        by_guest || self.may_come_again(user, change)
    }

    /// Whether a line may hold a change at this moment.
    fn may_see(&self, line: &Line, number: Number, change: &Change) -> bool {
        let may_in = |space| match self.standing(line.user, space) {
            Standing::Stranger => false,
            Standing::Member | Standing::Moving => true,
            Standing::Gone(since) => number < since,
        };
        let is_for_user = change.made.user == line.user || change.made.space.is_some_and(may_in);
        is_for_user && line.reach.reads(change.made.app)
    }

    /// Whether a line is to hold a change in the end.
    fn must_see(&self, line: &Line, change: &Change) -> bool {
        let is_there =
            if self.looked_up { change.kept != Kept::Nowhere } else { change.is_acknowledged() };
        let is_published = !self.looked_up || change.kept == Kept::Published;
        let space = change.made.space.filter(|_| is_published);
        let is_member = || space.is_some_and(|s| self.standing(line.user, s) == Standing::Member);
        is_there
            && line.reach.reads(change.made.app)
            && line.own != Some(change.made.writer)
            && (change.made.user == line.user || is_member())
    }

    /// The changes that a line is to hold and lacks.
    pub(crate) fn missing(&self, line: &Line) -> Vec<Number> {
        let changes = self.changes.iter().zip(0..);
        let missing =
            changes.filter(|(change, number)| self.must_see(line, change) && !line.holds(*number));
        missing.map(|(_, number)| number).collect()
    }
}
