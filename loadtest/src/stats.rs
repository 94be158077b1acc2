//! Numbers: latencies, medians of rounds, and how they are shown.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies in microseconds, from 1 µs to 10 minutes, to three digits.
pub(crate) type Latencies = Histogram<u64>;

/// An empty histogram of latencies.
pub(crate) fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, 600_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are allowed"))
}

/// Records a duration.
pub(crate) fn record(latencies: &mut Latencies, took: Duration) {
    latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// A quantile, 0.99 say, as a duration.
pub(crate) fn quantile(latencies: &Latencies, quantile: f64) -> Duration {
    Duration::from_micros(latencies.value_at_quantile(quantile))
}

/// The median of several rounds, and their range.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Rounds {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Rounds {
    /// Of these values; zero where there are none.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) && middle > 0 {
            f64::midpoint(at(middle - 1), at(middle))
        } else {
            at(middle)
        };
        Self { median, min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }
}

/// A count as a float: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and a figure beyond")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        assert_eq!(Rounds::of(&[3.0, 1.0, 2.0]), Rounds { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Rounds::of(&[4.0, 1.0]).median.total_cmp(&2.5), std::cmp::Ordering::Equal);
        assert_eq!(Rounds::of(&[]), Rounds { median: 0.0, min: 0.0, max: 0.0 });
    }
}
