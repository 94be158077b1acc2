use std::collections::BTreeSet;

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

#[test]
fn an_early_ring_waits_for_its_predecessor() {
    let now = Instant::now();
    let mut mark = Watermark::new(at(10));
    assert_eq!(mark.ring(ring(20, 30), now), None);
    assert_eq!((mark.at(), mark.stuck_since()), (at(10), Some(now)));
    let step = mark.ring(ring(10, 20), now).unwrap();
    assert_eq!((step.to, step.unnamed), (at(30), None));
    assert_eq!(step.moves, [moved(20), moved(30)]);
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
    assert_eq!(step.moves, [moved(30)]);
}

#[test]
fn the_chain_moves_with_the_last_part() {
    let now = Instant::now();
    let mut mark = Watermark::new(at(0));
    assert_eq!(mark.ring(Ring { more: true, ..ring(0, 5) }, now), None);
    let step = mark.ring(ring(0, 5), now).unwrap();
    assert_eq!(step.moves, [moved(5), moved(5)]);
}

/// What happens to each ring on its way.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Heard,
    Doubled,
    Split,
    Lost,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Heard),
        1 => Just(Fate::Doubled),
        1 => Just(Fate::Split),
        1 => Just(Fate::Lost),
    ]
}

proptest! {
    /// Runs are drawn in order and end in any order; rings come late, early, doubled, split or
    /// not at all. The watermark never passes a run that has not ended, and every run is named
    /// once it is passed: by its ring, or by the stretch left to ask for.
    #[test]
    fn the_watermark_passes_what_has_ended_and_names_it(
        runs in prop::collection::vec((1_i64..4, fate(), any::<u32>()), 1..40),
        asks in prop::collection::vec(any::<bool>(), 80),
    ) {
        let now = Instant::now();
        let mut last = 100;
        let mut order = Vec::new();
        for (n, fate, when) in runs {
            order.push((when, last, last + n, fate));
            last += n;
        }
        let all: Vec<_> = order.iter().map(|&(_, prev, last, _)| (prev, last)).collect();
        order.sort_by_key(|&(when, ..)| when);
        let mut ended = BTreeSet::new();
        let mut mark = Watermark::new(at(100));
        let mut named = BTreeSet::new();
        let mut unnamed = Vec::new();
        let mut take = |step: Option<Step>, mark: &Watermark, ended: &BTreeSet<i64>| {
            let Some(step) = step else { return Ok(()) };
            prop_assert_eq!(step.to, mark.at());
            for m in step.moves {
                named.insert(format!("{m:?}"));
            }
            unnamed.extend(step.unnamed);
            for &(prev, last) in &all {
                prop_assert!(mark.at() <= at(prev) || ended.contains(&last), "passed an open run");
                if mark.at() >= at(last) {
                    let told = named.contains(&format!("{:?}", moved(last)));
                    let asked = unnamed.iter().any(|&(from, to)| from < at(last) && to >= at(last));
                    prop_assert!(told || asked, "run up to {last} was passed without a name");
                }
            }
            Ok(())
        };
        let mut asks = asks.into_iter();
        for (_, prev, last, fate) in order {
            ended.insert(last);
            let rings = match fate {
                Fate::Lost => vec![],
                Fate::Heard => vec![ring(prev, last)],
                Fate::Doubled => vec![ring(prev, last), ring(prev, last)],
                Fate::Split => vec![Ring { more: true, ..ring(prev, last) }, ring(prev, last)],
            };
            for ring in rings {
                let step = mark.ring(ring, now);
                take(step, &mark, &ended)?;
            }
            if asks.next() == Some(true) {
                let open = all.iter().find(|(_, last)| !ended.contains(last));
                let horizon = open.map_or(all[all.len() - 1].1, |&(prev, _)| prev);
                let step = mark.horizon(at(horizon), now);
                take(step, &mark, &ended)?;
            }
        }
        let step = mark.horizon(at(last), now);
        take(step, &mark, &ended)?;
        prop_assert_eq!(mark.at(), at(last), "in the end all is passed");
        prop_assert_eq!(mark.stuck_since(), None);
    }
}
