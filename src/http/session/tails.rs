//! What a stream takes from the tails, for the apps that have caught up with them.

use super::frames::{self, Telling};
use super::reading::{Reading, Unsaid};
use super::{EVENT_BYTES, Look, NotNow, Session};
use crate::feed::{Behind, Caught, Taken};
use crate::http::answer;
use crate::http::presence::State;
use crate::http::room::Flow;
use crate::id::Stamp;
use crate::metrics;
use crate::protocol::Cursor;
use crate::protocol::wire::Framed;

impl Session {
    /// Takes from the tails.
    pub(super) fn take(&mut self) -> Result<(), NotNow> {
        let caught_up = self.readings.iter().filter(|reading| !reading.behind);
        let apps = caught_up.map(|reading| (&reading.feeds, reading.cursor));
        match self.following.take(apps, &self.tables, EVENT_BYTES) {
            Caught::Behind(behind) => {
                metrics::tail_miss();
                self.fall_behind(behind);
                self.look = Look::Database;
            }
            Caught::Up(taken) => {
                if !taken.entries.is_empty() {
                    let bytes = taken.entries.iter().map(|entry| entry.json.len()).sum();
                    self.room = answer::room(&self.share, Flow::Events, bytes)?.map(Box::new);
                    metrics::tail_hits(1);
                }
                self.reach(taken.until);
                self.look = match self.is_live() {
                    false => Look::Database,
                    true if taken.more => Look::Tails,
                    true => Look::Later,
                };
                self.send_taken(&taken);
            }
        }
        Ok(())
    }

    /// Whether all apps have caught up; then what comes is new.
    fn is_live(&mut self) -> bool {
        let is_live = !self.readings.iter().any(|reading| reading.behind);
        if is_live {
            self.pace.lived = true;
            self.present.does(State::Live);
        }
        is_live
    }

    /// What is behind reads the database again.
    fn fall_behind(&mut self, behind: Behind) {
        match behind {
            Behind::App(place) => {
                let caught_up = self.readings.iter_mut().filter(|reading| !reading.behind);
                caught_up.skip(place).take(1).for_each(|reading| reading.fall_behind(None));
            }
            Behind::All(from) => {
                let is_back = |reading: &Reading| from.is_some_and(|at| at < reading.cursor.stamp);
                self.pace.lived &= !self.readings.iter().any(is_back);
                // Before the readings: what moves from now on is told once more.
                self.following.asking_members();
                self.readings.iter_mut().for_each(|reading| reading.fall_behind(from));
            }
        }
    }

    /// Nothing up to here is left to be sent of the apps that have caught up.
    fn reach(&mut self, until: Stamp) {
        let caught_up = self.readings.iter_mut().filter(|reading| !reading.behind);
        caught_up.for_each(|reading| reading.reach(until));
    }

    /// Sends what the tails held.
    fn send_taken(&mut self, taken: &Taken) {
        let least = self.readings.iter().filter(|reading| reading.behind);
        let least = least.map(|reading| reading.cursor.stamp).min();
        let telling = Telling {
            named: self.named,
            least: least.unwrap_or(Stamp::LAST),
            more: least.is_some(),
        };
        if let Some(last) = taken.entries.last() {
            self.ready = frames::taken(taken, telling);
            self.unsaid = Unsaid::of((&last.app, &last.table), taken.until, telling);
        } else if least.is_none()
            && let Some(unsaid) = self.unsaid.take()
        {
            let until = Cursor::at(taken.until);
            self.ready = Framed::new(|out| {
                frames::moved_on(&unsaid.app, [&unsaid.table], until, telling, out);
            });
        }
        self.pace.delivered(taken.entries.first().map(|first| first.stamp));
    }
}
