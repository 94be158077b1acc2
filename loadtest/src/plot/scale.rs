//! Scales of an axis: where a value stands, and which values are marked.

/// How values are spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Evenly, from zero.
    Linear,
    /// Every factor takes the same room.
    Log,
    /// Quantiles (0 to 1): every further nine takes the same room.
    Quantile,
}

/// A scale over the values it is to show.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// Values to mark, with their labels.
    pub(super) ticks: Vec<(f64, String)>,
}

/// Quantiles are shown up to here.
const TOP_QUANTILE: f64 = 0.9999;

impl Axis {
    /// Over these values; those that it can't show are left out.
    pub(super) fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let shown = values.filter(|value| scale.shows(*value));
        let (low, high) =
            shown.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low > high { (1.0, 1.0) } else { (low, high) };
        match scale {
            Scale::Linear => Self::linear(high.max(f64::MIN_POSITIVE)),
            Scale::Log => Self::log(low, high),
            Scale::Quantile => {
                let ticks = [0.0, 0.5, 0.9, 0.99, 0.999, TOP_QUANTILE];
                let label = |q: f64| format!("{}%", round(q * 100.0));
                let ticks = ticks.map(|q| (q, label(q))).into();
                Self { scale, low: 0.0, high: TOP_QUANTILE, ticks }
            }
        }
    }

    fn linear(high: f64) -> Self {
        let raw = high / 5.0;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|step| *step >= raw);
        let step = step.unwrap_or(power * 10.0);
        let ticks: Vec<_> = (0..=6_u8)
            .map(|n| f64::from(n) * step)
            .take_while(|tick| *tick < high + step)
            .map(|tick| (tick, label(tick)))
            .collect();
        let high = ticks.last().map_or(high, |(tick, _)| *tick);
        Self { scale: Scale::Linear, low: 0.0, high, ticks }
    }

    fn log(low: f64, high: f64) -> Self {
        let candidates: Vec<f64> = (-9_i32..=12)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|m| m * 10_f64.powi(power)))
            .collect();
        let begin = candidates.iter().rposition(|tick| *tick <= low * 1.000_001).unwrap_or(0);
        let end = candidates.iter().position(|tick| *tick >= high * 0.999_999);
        let end = end.unwrap_or(candidates.len() - 1).max(begin + 1);
        let chosen = candidates.get(begin..=end).unwrap_or(&[]);
        // With many decades, whole ones are marked.
        let whole = |tick: &f64| (tick.log10() - tick.log10().round()).abs() < 1e-9;
        let many = chosen.len() > 9;
        let ticks = chosen.iter().filter(|tick| !many || whole(tick));
        let ticks = ticks.map(|tick| (*tick, label(*tick))).collect();
        let (low, high) = (chosen.first().copied(), chosen.last().copied());
        Self { scale: Scale::Log, low: low.unwrap_or(1.0), high: high.unwrap_or(10.0), ticks }
    }

    /// Where a value stands, from 0 to 1; none where the scale can't show it.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if !self.scale.shows(value) {
            return None;
        }
        let bend = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Quantile => -(1.0 - value).log10(),
        };
        let (low, high) = (bend(self.low), bend(self.high));
        let place = (bend(value) - low) / (high - low);
        (-1e-6..=1.000_001).contains(&place).then_some(place.clamp(0.0, 1.0))
    }
}

impl Scale {
    fn shows(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Self::Linear => value >= 0.0,
                Self::Log => value > 0.0,
                Self::Quantile => (0.0..=TOP_QUANTILE).contains(&value),
            }
    }
}

/// A number for people: `1.5k`, `20M`, `0.05`.
pub(super) fn label(value: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let unit = units.into_iter().find(|(size, _)| value.abs() >= *size * 0.999_999);
    let (size, unit) = unit.unwrap_or((1.0, ""));
    format!("{}{unit}", round(value / size))
}

/// Four digits after the point at most, none that say nothing.
fn round(value: f64) -> String {
    let digits = if value.abs() >= 1.0 { 2 } else { 4 };
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (0.05, "0.05"), (1500.0, "1.5k"), (2e7, "20M"), (100.0, "100")];
        for (value, text) in cases {
            assert_eq!(label(value), text);
        }
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_covers_the_values() {
        let axis = Axis::over(Scale::Linear, [30.0, 41_000.0].into_iter());
        assert_eq!(labels(&axis), ["0", "10k", "20k", "30k", "40k", "50k"]);
        assert_eq!(axis.place(25_000.0), Some(0.5));
        assert_eq!(axis.place(60_000.0), None);
    }

    #[test]
    fn a_log_axis_gives_factors_the_same_room() {
        let axis = Axis::over(Scale::Log, [1.0, 256.0, 0.0].into_iter());
        assert_eq!(labels(&axis), ["1", "2", "5", "10", "20", "50", "100", "200", "500"]);
        let (a, b) = (axis.place(10.0).unwrap(), axis.place(20.0).unwrap());
        let (c, d) = (axis.place(100.0).unwrap(), axis.place(200.0).unwrap());
        assert!((b - a - (d - c)).abs() < 1e-9);
        assert_eq!(axis.place(0.0), None);
    }

    #[test]
    fn many_decades_are_marked_whole() {
        let axis = Axis::over(Scale::Log, [1e4, 1e7].into_iter());
        assert_eq!(labels(&axis), ["10k", "100k", "1M", "10M"]);
    }

    #[test]
    fn every_nine_takes_the_same_room() {
        let axis = Axis::over(Scale::Quantile, std::iter::empty());
        assert_eq!(labels(&axis), ["0%", "50%", "90%", "99%", "99.9%", "99.99%"]);
        assert!((axis.place(0.99).unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(axis.place(1.0), None);
    }

    #[test]
    fn an_axis_without_values_can_be_drawn() {
        for scale in [Scale::Linear, Scale::Log, Scale::Quantile] {
            assert!(!Axis::over(scale, std::iter::empty()).ticks.is_empty(), "{scale:?}");
        }
    }
}
