//! The cursor: a place in the one order of all changes, as clients keep it.
//!
//! Clients in the field treat a cursor as a time: they store it as text, compare it as text, and
//! send it back to any endpoint of any node. So it is printed as a time of fixed width, whose
//! order as text is the order of the stamps, and whatever looks like a time is understood.
//!
//! A reader who joins a space after the cursor gets the space's whole history, which lies before
//! the cursor. While a page stands inside such a history the cursor says, after a `~`, how far
//! that was read. The invariant: a cursor that goes on from another sorts after it, suffix
//! included, and is nothing but a time once the history lies behind it.

use std::fmt;

use jiff::civil::Date;
use jiff::fmt::temporal::Pieces;

use super::tables::Tables;
use crate::id::Stamp;

/// Everything up to its stamp was offered to the client; where it has a history, that of the
/// spaces joined since is still being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Up to where the changes were offered.
    pub stamp: Stamp,
    /// How far the history of spaces joined after the stamp was read.
    pub history: Option<History>,
}

/// How far the history of newly joined spaces was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct History {
    /// How often it was begun anew, because a further space was joined or other tables were
    /// asked for. Counted only so that the cursor sorts after the one before all the same.
    pub restarts: u32,
    /// Up to where.
    pub read_to: Stamp,
    /// Of the spaces joined up to here: of one joined later nothing was read.
    pub upto: Stamp,
    /// For which tables: their [`Tables::digest`].
    pub tables: u64,
}

/// What is known of a page when its cursor is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageEnd {
    /// The stamp of the last change on the page.
    pub last: Option<Stamp>,
    /// Whether there is more to come below the bound.
    pub more: bool,
    /// Up to where the page was read.
    pub bound: Stamp,
    /// The last joining after the cursor the page was read from, up to the bound.
    pub pending: Option<Stamp>,
}

/// The cursor of a page that was read from `since` for `tables`.
#[must_use]
pub fn page_end(since: Cursor, tables: &Tables, page: PageEnd) -> Cursor {
    if !page.more {
        return Cursor::at(page.bound);
    }
    // A page that has more to come and no change on it has offered nothing.
    let Some(last) = page.last else { return since };
    let tables = tables.digest();
    let history = page.pending.map(|upto| {
        let restarts = since.history.map_or(0, |before| before.restarts_for(tables, upto));
        History { restarts, read_to: last, upto, tables }
    });
    if last <= since.stamp {
        return Cursor { stamp: since.stamp, history };
    }
    Cursor { stamp: last, history: history.filter(|history| history.upto > last) }
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// The last stamp that a time of four-digit years can name.
const LAST_MICROS: i64 = 253_402_300_799_999_999;
/// Between 0000-03-01, where the calendar's arithmetic begins, and 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

impl Cursor {
    /// Reads from the start.
    pub const START: Self = Self::at(Stamp::START);

    /// A cursor that is nothing but a time.
    #[must_use]
    pub const fn at(stamp: Stamp) -> Self {
        Self { stamp, history: None }
    }

    /// Reads what a client sends as its cursor: one of ours, or any ISO time with an offset. What
    /// is no time reads from the start, which is never wrong.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (time, suffix) = match text.trim().split_once('~') {
            Some((time, suffix)) => (time, Some(suffix)),
            None => (text.trim(), None),
        };
        match stamp_of(time) {
            Some(stamp) => Self { stamp, history: suffix.and_then(History::parse) },
            None => Self::START,
        }
    }

    /// The history a request for `tables` goes on from: how far it was read, and of the spaces
    /// joined up to where. None where the cursor has none, or one of other tables.
    #[must_use]
    pub fn history_for(&self, tables: &Tables) -> Option<(Stamp, Stamp)> {
        let history = self.history.filter(|history| history.tables == tables.digest())?;
        Some((history.read_to, history.upto))
    }
}

impl History {
    /// The restarts of the history that goes on from this one, for `tables` and the spaces joined
    /// up to `upto`: one more where this one is of no use for them.
    fn restarts_for(&self, tables: u64, upto: Stamp) -> u32 {
        let fits = self.tables == tables && upto <= self.upto;
        if fits { self.restarts } else { self.restarts.saturating_add(1) }
    }

    /// Reads the numbers as they are printed; anything else is damaged.
    fn parse(suffix: &str) -> Option<Self> {
        let stamp = |text| {
            let micros = i64::try_from(hex(text, 16)?).ok()?;
            (micros <= LAST_MICROS).then_some(Stamp::from_micros(micros))
        };
        let mut parts = suffix.split('.');
        let history = Self {
            restarts: u32::try_from(hex(parts.next()?, 8)?).ok()?,
            read_to: stamp(parts.next()?)?,
            upto: stamp(parts.next()?)?,
            tables: hex(parts.next()?, 16)?,
        };
        parts.next().is_none().then_some(history)
    }
}

/// The number of `digits` hexadecimal digits, as they are printed.
fn hex(text: &str, digits: usize) -> Option<u64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let whole = text.len() == digits && text.bytes().all(is_digit);
    whole.then(|| u64::from_str_radix(text, 16).ok())?
}

/// The stamp at an ISO time with an offset; before 1970 that is the start.
fn stamp_of(time: &str) -> Option<Stamp> {
    // A query string turns the plus of an offset into a space.
    let with_plus = time.rsplit_once(' ').map(|(left, offset)| format!("{left}+{offset}"));
    let pieces = Pieces::parse(with_plus.as_deref().unwrap_or(time)).ok()?;
    let (time, offset) = (pieces.time()?, pieces.to_numeric_offset()?);
    // Counted here and not by jiff, whose instants end in the year 9999 a day too early.
    let seconds = days_since_1970(pieces.date()) * SECONDS_PER_DAY
        + i64::from(time.hour()) * 3600
        + i64::from(time.minute()) * 60
        + i64::from(time.second())
        - i64::from(offset.seconds());
    let micros = seconds * MICROS_PER_SECOND + i64::from(time.subsec_nanosecond()) / 1000;
    Some(Stamp::from_micros(micros.clamp(0, LAST_MICROS)))
}

/// Days from 1970-01-01 to `date`, which [`civil`] turns back. Years begin in March, so that the
/// leap day is a year's last.
fn days_since_1970(date: Date) -> i64 {
    let month = i64::from(date.month());
    let year = i64::from(date.year()) - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(date.day()) - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - DAYS_TO_1970
}

/// Year, month and day, `days` after 1970-01-01: arithmetic on cycles of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

/// Writes `value` as decimal digits that fill `place`.
fn digits(place: &mut [u8], mut value: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(value % 10).unwrap_or(0)];
        value /= 10;
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On the way of every event: a fixed form filled with digits, instead of a formatter.
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let micros = self.stamp.micros().clamp(0, LAST_MICROS);
        let seconds = micros / MICROS_PER_SECOND;
        let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], seconds / 3600 % 24);
        digits(&mut text[14..16], seconds / 60 % 60);
        digits(&mut text[17..19], seconds % 60);
        digits(&mut text[20..26], micros % MICROS_PER_SECOND);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)?;
        match &self.history {
            Some(history) => write!(f, "~{history}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of fixed width, so that the text's order is that of the numbers.
        let (read_to, upto) = (self.read_to.micros().max(0), self.upto.micros().max(0));
        let Self { restarts, tables, .. } = self;
        write!(f, "{restarts:08x}.{read_to:016x}.{upto:016x}.{tables:016x}")
    }
}

#[cfg(test)]
mod tests;
