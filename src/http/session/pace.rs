//! Whether what a stream sends tells how long changes take to arrive.

use crate::id::Stamp;
use crate::metrics;

/// How a stream has got on lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// It was live, so that what comes now is new, however it is read.
    pub(super) lived: bool,
    /// Its client has not taken at once what was sent last: what comes next is late for that.
    pub(super) slow: bool,
}

impl Pace {
    /// Times what is sent by the change that has waited longest. History is not late, and what a
    /// slow client has kept waiting is late by its own doing.
    pub(super) fn delivered(&mut self, first: Option<Stamp>) {
        let slow = std::mem::take(&mut self.slow);
        if let Some(first) = first.filter(|_| self.lived && !slow) {
            metrics::delivered(first.age());
        }
    }
}
