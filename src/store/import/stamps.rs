//! From the times of the old server to stamps.

use crate::id::Stamp;

/// Gives each row a stamp of its own, in the order in which they come. A row keeps its time; one
/// whose time is taken already moves to the next free microsecond.
///
/// The invariant: stamps rise, and none lies before its row's time. So the order stays, and whatever
/// a cursor of the old server had not passed it has not passed now. What moved past a cursor comes
/// once more, which does no harm.
#[derive(Debug)]
pub(super) struct Restamp {
    last: Stamp,
    first: Option<Stamp>,
    moved: u64,
}

impl Restamp {
    /// All stamps lie after `before`.
    pub(super) fn after(before: Stamp) -> Self {
        Self { last: before, first: None, moved: 0 }
    }

    /// The stamp of the next row, whose time is not before that of the row before.
    pub(super) fn next(&mut self, time: Stamp) -> Stamp {
        let stamp = time.max(Stamp::from_micros(self.last.micros() + 1));
        self.moved += u64::from(stamp > time);
        self.first.get_or_insert(stamp);
        self.last = stamp;
        stamp
    }

    /// The last stamp.
    pub(super) fn last(&self) -> Stamp {
        self.last
    }

    /// The first stamp.
    pub(super) fn first(&self) -> Stamp {
        self.first.unwrap_or(self.last)
    }

    /// How many rows lie elsewhere than at their time.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn order_stays_and_nothing_falls_behind_a_cursor(
            gaps in proptest::collection::vec(prop_oneof![Just(0_i64), 0_i64..4], 1..200),
            cursor in 1_i64..400,
        ) {
            let times: Vec<i64> = gaps
                .iter()
                .scan(1, |time, gap| { *time += gap; Some(*time) })
                .collect();
            let mut restamp = Restamp::after(Stamp::from_micros(0));
            let stamps: Vec<i64> =
                times.iter().map(|time| restamp.next(Stamp::from_micros(*time)).micros()).collect();
            prop_assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
            for (at, (&time, &stamp)) in times.iter().zip(&stamps).enumerate() {
                prop_assert!(time <= cursor || stamp > cursor, "{time} became {stamp}");
                // Moved only where its place was taken, and no further than to the next free one.
                prop_assert!(stamp == time || stamp == stamps[at - 1] + 1, "{times:?} {stamps:?}");
            }
            let moved = times.iter().zip(&stamps).filter(|(time, stamp)| time != stamp).count();
            prop_assert_eq!(restamp.moved(), u64::try_from(moved).unwrap());
            prop_assert_eq!(restamp.first().micros(), stamps[0]);
            prop_assert_eq!(Some(&restamp.last().micros()), stamps.last());
        }
    }
}
