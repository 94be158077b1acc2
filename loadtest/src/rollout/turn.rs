//! A node's turn: told to leave, gone, and another in its place; and who came back when.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::stage::Stage;
use crate::Outcome;
use crate::fleet::NodeProcess;
use crate::signals::{self, Signal};
use crate::stats::float;

/// How often is looked whether a node has ended.
const LOOK: Duration = Duration::from_millis(20);
/// It has, after this.
const LEAVES: Duration = Duration::from_mins(2);
/// Streams that come back within a second are a storm where they are so many times what would come
/// if they were spread evenly, and more than a few.
const STORM: f64 = 3.0;
const FEW: f64 = 5.0;
/// The width of a bar.
const BAR: u64 = 60;

/// A node's turn.
#[derive(Debug, Serialize)]
pub(super) struct Turn {
    #[serde(skip)]
    begun: Instant,
    /// From SIGTERM to its end.
    left_seconds: f64,
    /// To the moment at which the next one was ready.
    back_seconds: f64,
    exit_code: Option<i32>,
    /// Streams that came back, by second.
    pub(super) reconnects: Vec<u64>,
}

impl Turn {
    /// Has a node leave, and waits until it has.
    pub(super) async fn begin(node: &mut NodeProcess, stage: &Stage) -> Outcome<Self> {
        let begun = Instant::now();
        signals::send(node.pid, Signal::TERM)?;
        let status = loop {
            if let Some(status) = node.ended() {
                break status;
            }
            if begun.elapsed() > LEAVES || stage.over.is_cancelled() {
                return Err(format!("a node has not left after {:?}", begun.elapsed()).into());
            }
            sleep(LOOK).await;
        };
        Ok(Self {
            begun,
            left_seconds: begun.elapsed().as_secs_f64(),
            back_seconds: 0.0,
            exit_code: status.code(),
            reconnects: Vec::new(),
        })
    }

    /// The next one is ready.
    pub(super) fn is_back(&mut self) {
        self.back_seconds = self.begun.elapsed().as_secs_f64();
    }

    /// Counts who came back between this turn's beginning and the next one's.
    pub(super) fn count(&mut self, reconnects: &[Instant], until: Option<Instant>) {
        for at in reconnects {
            let is_here = *at >= self.begun && until.is_none_or(|until| *at < until);
            let second = usize::try_from((*at - self.begun).as_secs()).unwrap_or(usize::MAX);
            if is_here && second < usize::from(u16::MAX) {
                if self.reconnects.len() <= second {
                    self.reconnects.resize(second + 1, 0);
                }
                self.reconnects.iter_mut().skip(second).take(1).for_each(|count| *count += 1);
            }
        }
    }

    /// When it began.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    fn busiest(&self) -> u64 {
        self.reconnects.iter().copied().max().unwrap_or_default()
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        format!(
            "left after {:.1} s with {}, replaced after {:.1} s; {} streams came back, at most {} \
             in a second",
            self.left_seconds,
            self.exit_code
                .map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}")),
            self.back_seconds,
            self.reconnects.iter().sum::<u64>(),
            self.busiest()
        )
    }

    /// Whether all went in order.
    pub(super) fn judge(&self, spread: Duration) -> Outcome {
        if self.exit_code != Some(0) {
            return Err(format!("a node ended with {:?}", self.exit_code).into());
        }
        let all = float(self.reconnects.iter().sum());
        let evenly = all / spread.as_secs_f64().max(1.0);
        if float(self.busiest()) > STORM * evenly + FEW {
            let busiest = self.busiest();
            return Err(format!("{busiest} of {all} streams came back in one second").into());
        }
        Ok(())
    }
}

/// Who came back when, a line a second.
pub(super) fn histogram(turns: &[Turn]) -> Vec<String> {
    let seconds = turns.iter().map(|turn| turn.reconnects.len()).max().unwrap_or_default();
    let at = |turn: &Turn, second: usize| turn.reconnects.get(second).copied().unwrap_or_default();
    let sum = |second: usize| turns.iter().map(|turn| at(turn, second)).sum::<u64>();
    let most = (0..seconds).map(sum).max().unwrap_or_default().max(1);
    let mut lines = vec!["streams that came back, by seconds since SIGTERM (node 1, 2, 3):".into()];
    for second in 0..seconds {
        let each: Vec<_> = turns.iter().map(|turn| format!("{:>4}", at(turn, second))).collect();
        let each = each.join(" ");
        let bar = usize::try_from(sum(second) * BAR / most).unwrap_or_default();
        lines.push(format!("{second:>4} s {each}  {}", "#".repeat(bar)).trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(reconnects: &[u64]) -> Turn {
        let (begun, reconnects) = (Instant::now(), reconnects.to_vec());
        let (left_seconds, back_seconds) = (1.0, 2.0);
        Turn { begun, left_seconds, back_seconds, exit_code: Some(0), reconnects }
    }

    #[test]
    fn all_in_one_second_is_a_storm() {
        let spread = Duration::from_secs(15);
        turn(&[0, 0, 10, 14, 9, 12, 11, 10, 13, 12, 9, 10, 20, 11, 10, 9, 8])
            .judge(spread)
            .unwrap();
        assert!(turn(&[0, 0, 10, 100, 20, 30]).judge(spread).is_err());
        assert!(Turn { exit_code: Some(1), ..turn(&[]) }.judge(spread).is_err());
    }

    #[test]
    fn each_reconnect_is_counted_in_its_second_of_its_turn() {
        let mut turn = turn(&[]);
        let after = |ms| turn.begun + Duration::from_millis(ms);
        let (all, next) = ([after(100), after(2_100), after(2_900), after(9_000)], after(8_000));
        turn.count(&all, Some(next));
        assert_eq!(turn.reconnects, [1, 0, 2]);
        let lines = histogram(&[turn]);
        assert_eq!(lines.last().unwrap().as_str(), format!("   2 s    2  {}", "#".repeat(60)));
    }
}
