use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::doorbell::{FeedId, Owner};
use crate::id::{AppId, UserId};

fn at(micros: i64) -> Stamp {
    Stamp::from_micros(micros)
}

fn moved(name: i64) -> Move {
    let owner = Owner::User(UserId::new(&format!("u{name}")).unwrap());
    Move::Feed(FeedId { owner, app: AppId::new("app").unwrap() }, None)
}

fn ring(prev: i64, last: i64) -> Ring {
    Ring { prev: at(prev), last: at(last), more: false, moves: vec![moved(last)] }
}

/// What the rings named that a step passed.
fn moves(step: &Step) -> Vec<Move> {
    step.rings.iter().flat_map(|ring| ring.moves.clone()).collect()
}

#[test]
fn an_early_ring_waits_for_its_predecessor() {
    let now = Instant::now();
    let mut mark = Watermark::new(at(10));
    assert_eq!(mark.ring(ring(20, 30), now), None);
    assert_eq!((mark.at(), mark.stuck_since()), (at(10), Some(now)));
    let step = mark.ring(ring(10, 20), now).unwrap();
    assert_eq!((step.to, step.unnamed), (at(30), None));
    assert_eq!(moves(&step), [moved(20), moved(30)]);
    assert_eq!(mark.stuck_since(), None);
}

#[test]
fn a_lost_ring_is_bridged_by_the_horizon_alone() {
    let now = Instant::now();
    let mut mark = Watermark::new(at(10));
    mark.clock(at(30), now);
    assert_eq!(mark.at(), at(10), "a heartbeat announces a gap and never bridges one");
    assert_eq!(mark.ring(ring(20, 30), now), None);
    assert_eq!(mark.horizon(at(10), now), None);
    let step = mark.horizon(at(20), now).unwrap();
    assert_eq!((step.to, step.unnamed), (at(30), Some((at(10), at(20)))));
    assert_eq!(moves(&step), [moved(30)]);
}

#[test]
fn a_ring_too_long_to_remember_is_as_good_as_lost() {
    let now = Instant::now();
    let mut mark = Watermark::new(at(0));
    for part in 0..=MAX_MOVES {
        let more = part < MAX_MOVES;
        assert_eq!(mark.ring(Ring { more, ..ring(0, 10) }, now), None);
        assert!(mark.parts.len() <= MAX_MOVES);
    }
    assert_eq!((mark.at(), mark.stuck_since()), (at(0), Some(now)));
    let step = mark.horizon(at(10), now).unwrap();
    assert_eq!((step.to, step.unnamed), (at(10), Some((at(0), at(10)))));
    assert_eq!(moves(&mark.ring(ring(10, 20), now).unwrap()), [moved(20)]);
}

#[test]
fn early_rings_are_bounded_by_their_moves() {
    let now = Instant::now();
    let mut mark = Watermark::new(at(0));
    let long = |prev| Ring { moves: vec![moved(1); MAX_MOVES / 2], ..ring(prev, prev + 1) };
    for n in 1..=5 {
        assert_eq!(mark.ring(long(n * 10), now), None);
        let held: usize = mark.early.values().map(|ring| ring.moves.len()).sum();
        assert!(held == mark.early_moves && held <= MAX_MOVES, "{held} moves are held");
    }
    let step = mark.horizon(at(100), now).unwrap();
    assert_eq!((step.unnamed, mark.early_moves), (Some((at(0), at(100))), 0));
}

#[test]
fn the_chain_moves_with_the_last_part() {
    let now = Instant::now();
    let mut mark = Watermark::new(at(0));
    assert_eq!(mark.ring(Ring { more: true, ..ring(0, 5) }, now), None);
    let step = mark.ring(ring(0, 5), now).unwrap();
    assert_eq!(moves(&step), [moved(5), moved(5)]);
}

/// What happens to each ring on its way.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Heard,
    Doubled,
    Split,
    Lost,
    /// It comes so many events later, maybe after the horizon has passed its run.
    Late(usize),
    /// It is split, and its last part never comes.
    Half,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Heard),
        1 => Just(Fate::Doubled),
        1 => Just(Fate::Split),
        1 => Just(Fate::Lost),
        2 => (1_usize..20).prop_map(Fate::Late),
        1 => Just(Fate::Half),
    ]
}

impl Fate {
    /// What is delivered of a ring, and how many events later. A first part names something else.
    fn delivered(self, ring: &Ring) -> (usize, Vec<Ring>) {
        let part = Ring { more: true, moves: vec![moved(0)], ..*ring };
        match self {
            Self::Lost => (0, vec![]),
            Self::Heard => (0, vec![ring.clone()]),
            Self::Doubled => (0, vec![ring.clone(), ring.clone()]),
            Self::Split => (0, vec![part, ring.clone()]),
            Self::Late(events) => (events, vec![ring.clone()]),
            Self::Half => (0, vec![part]),
        }
    }
}

/// A watermark, and what must hold of it.
struct Watched {
    mark: Watermark,
    /// All runs, in their order.
    runs: Vec<(i64, i64)>,
    /// The last stamps of those that have ended.
    ended: BTreeSet<i64>,
    /// Up to where the watermark stood when a move was named, the furthest.
    named: HashMap<Move, Stamp>,
    unnamed: Vec<(Stamp, Stamp)>,
}

impl Watched {
    /// Where the horizon lies: before the first run that is open.
    fn horizon(&self) -> Stamp {
        let open = self.runs.iter().find(|(_, last)| !self.ended.contains(last));
        at(open.map_or(self.runs[self.runs.len() - 1].1, |&(prev, _)| prev))
    }

    /// Lets the watermark take something. It never goes back and passes no run that is open; each
    /// run it has passed was named, by then or later, or is left to ask for.
    fn take(
        &mut self,
        give: impl FnOnce(&mut Watermark) -> Option<Step>,
    ) -> Result<(), TestCaseError> {
        let before = self.mark.at();
        let step = give(&mut self.mark);
        let now = self.mark.at();
        prop_assert_eq!(step.is_some(), now > before, "from {:?} to {:?}", before, now);
        let Some(step) = step else { return Ok(()) };
        prop_assert_eq!(step.to, now);
        self.named.extend(moves(&step).into_iter().map(|m| (m, now)));
        self.unnamed.extend(step.unnamed);
        for &(_, last) in self.runs.iter().filter(|&&(prev, _)| now > at(prev)) {
            prop_assert!(self.ended.contains(&last) && now >= at(last), "passed an open run");
            let told = self.named.get(&moved(last)).is_some_and(|to| *to >= at(last));
            let asked = self.unnamed.iter().any(|&(from, to)| from < at(last) && to >= at(last));
            prop_assert!(told || asked, "run up to {} was passed without a name", last);
        }
        Ok(())
    }
}

proptest! {
    /// Runs are drawn in order and end in any order; rings come late, early, doubled, split, in
    /// part or not at all.
    #[test]
    fn the_watermark_passes_what_has_ended_and_names_it(
        runs in prop::collection::vec((1_i64..4, fate(), any::<u32>()), 1..40),
        asks in prop::collection::vec(any::<bool>(), 60),
    ) {
        let now = Instant::now();
        let mut last = 100;
        let mut ends = Vec::new();
        for (n, fate, when) in runs {
            ends.push((when, last, last + n, fate));
            last += n;
        }
        let mut watched = Watched {
            mark: Watermark::new(at(100)),
            runs: ends.iter().map(|&(_, prev, last, _)| (prev, last)).collect(),
            ended: BTreeSet::new(),
            named: HashMap::new(),
            unnamed: Vec::new(),
        };
        ends.sort_by_key(|&(when, ..)| when);
        let mut ends = ends.into_iter();
        let mut due: BTreeMap<usize, Vec<Ring>> = BTreeMap::new();
        for (event, ask) in asks.into_iter().enumerate() {
            if let Some((_, prev, last, fate)) = ends.next() {
                watched.ended.insert(last);
                let (later, rings) = fate.delivered(&ring(prev, last));
                due.entry(event + later).or_default().extend(rings);
            }
            for ring in due.remove(&event).unwrap_or_default() {
                watched.take(|mark| mark.ring(ring, now))?;
            }
            if ask {
                let horizon = watched.horizon();
                watched.take(|mark| mark.horizon(horizon, now))?;
            }
        }
        let horizon = watched.horizon();
        watched.take(|mark| mark.horizon(horizon, now))?;
        prop_assert_eq!(watched.mark.at(), at(last), "in the end all is passed");
        prop_assert_eq!(watched.mark.stuck_since(), None);
    }
}
