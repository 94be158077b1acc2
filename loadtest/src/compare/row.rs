//! A line of the table: what was measured, against what, and what is asked of it.

use std::fmt;

use crate::stats::Rounds;

/// What a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// Our figure divided by theirs is at least this.
    RatioAtLeast(f64),
    /// Our figure divided by theirs is at most this.
    RatioAtMost(f64),
    /// Our figure itself is at most this.
    AtMost(f64),
}

impl Bound {
    fn holds(self, ours: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Self::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Self::AtMost(most) => Some(ours <= most),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(least) => write!(f, "≥ {least}×"),
            Self::RatioAtMost(most) => write!(f, "≤ {most}×"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

/// What became of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The gate holds, and the aim.
    Aim,
    /// The gate holds.
    Pass,
    /// It does not.
    FallsShort,
    /// Nothing is asked, or there was nothing to compare with.
    None,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aim => "pass, at the aim",
            Self::Pass => "pass",
            Self::FallsShort => "FALLS SHORT",
            Self::None => "–",
        })
    }
}

/// A line of the table.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) ours: Rounds,
    pub(crate) theirs: Option<Rounds>,
    /// Ours divided by theirs, round by round.
    pub(crate) ratio: Option<Rounds>,
    pub(crate) gate: Option<Bound>,
    pub(crate) aim: Option<Bound>,
    pub(crate) verdict: Verdict,
}

impl Row {
    /// Figures of interleaved rounds; `theirs` may be empty.
    pub(crate) fn new(name: &str, ours: &[f64], theirs: &[f64]) -> Self {
        let ratios: Vec<f64> =
            ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Self {
            name: name.to_owned(),
            ours: Rounds::of(ours),
            theirs: (!theirs.is_empty()).then(|| Rounds::of(theirs)),
            ratio: (!ratios.is_empty()).then(|| Rounds::of(&ratios)),
            gate: None,
            aim: None,
            verdict: Verdict::None,
        }
    }

    /// Says what is asked of it.
    pub(crate) fn asked(mut self, gate: Bound, aim: Option<Bound>) -> Self {
        let ratio = self.ratio.map(|ratio| ratio.median);
        let holds = |bound: Bound| bound.holds(self.ours.median, ratio);
        self.verdict = match (holds(gate), aim.and_then(holds)) {
            (Some(false), _) => Verdict::FallsShort,
            (Some(true), Some(true)) => Verdict::Aim,
            (Some(true), _) => Verdict::Pass,
            (None, _) => Verdict::None,
        };
        self.gate = Some(gate);
        self.aim = aim;
        self
    }

    fn cells(&self) -> [String; 7] {
        let shown =
            |bound: Option<Bound>| bound.map_or("–".to_owned(), |bound| bound.to_string());
        let ratio =
            self.ratio.map_or("–".to_owned(), |ratio| format!("{}×", short(ratio.median)));
        [
            self.name.clone(),
            range(&self.ours),
            self.theirs.as_ref().map_or("–".to_owned(), range),
            ratio,
            shown(self.gate),
            shown(self.aim),
            self.verdict.to_string(),
        ]
    }
}

fn range(rounds: &Rounds) -> String {
    format!("{} [{}–{}]", short(rounds.median), short(rounds.min), short(rounds.max))
}

/// Three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The table, as Markdown whose columns stand in line.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["what", "ours [range]", "baseline [range]", "ratio", "gate", "aim", ""];
    let lines: Vec<[String; 7]> =
        std::iter::once(head.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    aligned(&lines)
}

/// Cells under each other; the first line is the head.
pub(crate) fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let show = |line: &[String; N]| {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text: Vec<String> = lines.iter().map(show).collect();
    let rule = widths.map(|width| "-".repeat(width + 2)).join("|");
    text.insert(text.len().min(1), format!("|{rule}|\n"));
    text.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_met_or_missed_by_the_median_of_the_ratios() {
        let row = |ours: &[f64]| {
            Row::new("x", ours, &[1.0, 1.0, 1.0])
                .asked(Bound::RatioAtLeast(2.0), Some(Bound::RatioAtLeast(4.0)))
                .verdict
        };
        assert_eq!(row(&[1.0, 1.5, 9.0]), Verdict::FallsShort);
        assert_eq!(row(&[1.0, 2.0, 9.0]), Verdict::Pass);
        assert_eq!(row(&[1.0, 4.0, 9.0]), Verdict::Aim);
    }

    #[test]
    fn without_a_baseline_no_ratio_is_asked_for() {
        let row = Row::new("x", &[1.0], &[]);
        assert_eq!(row.clone().asked(Bound::RatioAtMost(1.0), None).verdict, Verdict::None);
        assert_eq!(row.asked(Bound::AtMost(0.5), None).verdict, Verdict::FallsShort);
    }
}
