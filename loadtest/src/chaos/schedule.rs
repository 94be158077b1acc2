//! Which faults come when: drawn from the seed, alone and together, each kind before any comes
//! again.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::faults::{Claim, Fault, Kind, Means};
use super::world::World;
use crate::Outcome;

/// Streams are not read for so much longer than other faults last.
const STALLED: u32 = 3;
/// Between two rounds, in milliseconds.
const REST: std::ops::Range<u64> = 200..1_800;
/// What is drawn and can't be had beside what is there already is drawn again so often.
const TRIES: usize = 8;

/// Draws the rounds of a run.
pub(super) struct Schedule {
    rng: Rng,
    kinds: Vec<Kind>,
    /// Those that have not come since the last time that all had.
    left: Vec<Kind>,
    means: Means,
    /// A fault lasts at the most so long.
    longest: Duration,
}

/// Faults that begin together.
pub(super) struct Round {
    pub(super) faults: Vec<Planned>,
    /// The rest after it.
    pub(super) rest: Duration,
}

/// A fault, and how long it lasts.
pub(super) struct Planned {
    pub(super) kind: Kind,
    pub(super) fault: Box<dyn Fault>,
    /// It begins so much after the round.
    pub(super) delay: Duration,
    pub(super) lasts: Duration,
}

impl Schedule {
    pub(super) fn new(seed: u64, kinds: Vec<Kind>, means: Means, longest: Duration) -> Self {
        Self { rng: Rng::with_seed(seed), kinds, left: Vec::new(), means, longest }
    }

    /// The next round: one fault, or two or three that don't claim the same.
    pub(super) fn round(&mut self) -> Round {
        let count = [1, 1, 1, 2, 2, 3][self.rng.usize(0..6)];
        let (mut faults, mut claimed): (Vec<Planned>, Vec<Claim>) = (Vec::new(), Vec::new());
        for _ in 0..TRIES {
            if faults.len() == count {
                break;
            }
            let kind = self.kind();
            let Some(kind) = kind else { break };
            let fault = kind.draw(&mut self.rng, self.means);
            let claims = fault.claims();
            if claims.iter().any(|claim| claimed.contains(claim)) {
                // It comes another time.
                self.left.insert(0, kind);
                continue;
            }
            claimed.extend(claims);
            let longest = u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX);
            let lasts = Duration::from_millis(self.rng.u64(300..=longest.max(300)));
            let lasts = if kind == Kind::Stall { lasts * STALLED } else { lasts };
            let delay = if faults.is_empty() { 0 } else { self.rng.u64(0..800) };
            let delay = Duration::from_millis(delay);
            faults.push(Planned { kind, fault, delay, lasts });
        }
        Round { faults, rest: Duration::from_millis(self.rng.u64(REST)) }
    }

    fn kind(&mut self) -> Option<Kind> {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
            self.rng.shuffle(&mut self.left);
        }
        self.left.pop()
    }
}

impl Planned {
    /// Lets it happen, and heals it; whether it did happen. It is cut short when told to.
    pub(super) async fn happen(
        &mut self,
        world: &World,
        stop: &CancellationToken,
        say: impl Fn(&str),
    ) -> Outcome<bool> {
        let begins = Instant::now() + self.delay;
        if stop.run_until_cancelled(sleep_until(begins)).await.is_none() {
            return Ok(false);
        }
        let name = self.fault.name();
        say(&format!("{name}: begins"));
        let begun = self.fault.begin(world).await;
        let happened = match &begun {
            Ok(()) => {
                let ends = Instant::now() + self.lasts;
                stop.run_until_cancelled(sleep_until(ends)).await;
                true
            }
            Err(error) => {
                say(&format!("{name}: did not come about, {error}"));
                false
            }
        };
        let healed = self.fault.heal(world).await;
        healed.map_err(|error| format!("{name} can't be healed: {error}"))?;
        say(&format!("{name}: ends after {:.1} s", begins.elapsed().as_secs_f64()));
        Ok(happened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(seed: u64) -> Schedule {
        let means = Means { nodes: 3, reconnects: 10, asynchronous: false };
        Schedule::new(seed, Kind::all(), means, Duration::from_secs(3))
    }

    fn names(schedule: &mut Schedule, rounds: usize) -> Vec<String> {
        let rounds = std::iter::repeat_with(|| schedule.round()).take(rounds);
        rounds.flat_map(|round| round.faults.into_iter().map(|one| one.fault.name())).collect()
    }

    #[test]
    fn a_seed_says_it_all() {
        let (one, two) = (names(&mut schedule(5), 40), names(&mut schedule(5), 40));
        assert_eq!(one, two);
        assert_ne!(one, names(&mut schedule(6), 40));
    }

    #[test]
    fn every_kind_comes_and_none_claims_what_another_has() {
        let mut schedule = schedule(11);
        let mut come = std::collections::BTreeSet::new();
        for _ in 0..60 {
            let round = schedule.round();
            assert!((1..=3).contains(&round.faults.len()));
            let claims: Vec<Claim> =
                round.faults.iter().flat_map(|one| one.fault.claims()).collect();
            for (place, claim) in claims.iter().enumerate() {
                assert!(!claims[..place].contains(claim), "{claim:?}");
            }
            come.extend(round.faults.iter().map(|one| one.kind));
        }
        assert_eq!(come.len(), Kind::all().len());
    }
}
