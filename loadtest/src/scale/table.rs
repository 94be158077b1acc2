//! The costs as a table, as claims, and as plots.

use serde_json::json;

use crate::compare::row::{aligned, short};
use crate::plot::Plot;
use crate::report::Report;
use crate::stats::Rounds;

use super::{Case, Costs};

/// What is told of a round, and how it is called.
type Column = (&'static str, fn(&Costs) -> f64);

const COLUMNS: [Column; 7] = [
    ("push: Postgres µs", |costs| costs.push.postgres),
    ("push: nodes µs", |costs| costs.push.nodes),
    ("nothing new: Postgres µs", |costs| costs.idle.postgres),
    ("nothing new: nodes µs", |costs| costs.idle.nodes),
    ("page of 1,000: Postgres µs", |costs| costs.page.postgres),
    ("page of 1,000: nodes µs", |costs| costs.page.nodes),
    ("page of 1,000: ms", |costs| costs.page_ms),
];

impl Case {
    fn median(&self, column: Column) -> f64 {
        Rounds::of(&self.rounds.iter().map(column.1).collect::<Vec<_>>()).median
    }
}

/// The table, as Markdown: medians of the rounds.
pub(super) fn table(cases: &[Case]) -> String {
    let head: [String; 9] = std::array::from_fn(|index| match index {
        0 => "stored changes".to_owned(),
        1 => "nodes".to_owned(),
        _ => COLUMNS[index - 2].0.to_owned(),
    });
    let lines = cases.iter().map(|case| {
        std::array::from_fn(|index| match index {
            0 => case.stored.to_string(),
            1 => case.nodes.to_string(),
            _ => short(case.median(COLUMNS[index - 2])),
        })
    });
    aligned(&std::iter::once(head).chain(lines).collect::<Vec<_>>())
}

/// What is claimed of the costs, as far as these cases tell.
pub(super) fn claims(cases: &[Case]) -> Vec<String> {
    let find = |nodes, stored| cases.iter().find(|c| c.nodes == nodes && c.stored == stored);
    let mut lines = Vec::new();
    let (Some(least), Some(most)) =
        (cases.iter().map(|c| c.stored).min(), cases.iter().map(|c| c.stored).max())
    else {
        return lines;
    };
    let mut claim = |what: String, more: Option<&Case>, one: Option<&Case>, column, gate: f64| {
        if let (Some(more), Some(one)) = (more, one) {
            let ratio = more.median(column) / one.median(column);
            let verdict = if ratio <= gate { "pass" } else { "FALLS SHORT" };
            lines.push(format!("{what}: {ratio:.2}× (gate ≤ {gate}×) {verdict}"));
        }
    };
    let mut sizes: Vec<u32> = cases.iter().map(|case| case.stored).collect();
    sizes.dedup();
    for stored in sizes {
        let what = format!("Postgres CPU a push, 4 nodes against 1, {stored} stored");
        claim(what, find(4, stored), find(1, stored), COLUMNS[0], 1.2);
    }
    if most > least {
        let what = format!("time of a page, {most} stored against {least}");
        claim(what, find(1, most), find(1, least), COLUMNS[6], 1.3);
    }
    lines
}

/// Puts the figures and plots into the report.
pub(super) fn report(report: &mut Report, cases: &[Case]) {
    let rows: Vec<_> = cases
        .iter()
        .map(|case| {
            let costs =
                COLUMNS.map(|column| json!({ "what": column.0, "value": case.median(column) }));
            json!({ "stored": case.stored, "nodes": case.nodes, "costs": costs })
        })
        .collect();
    report.figure("cases", rows);
    report.figure("claims", claims(cases));
    let cost = "Postgres CPU, µs";
    report.plot("push", plot("What a push costs", cases, cost, COLUMNS[0]));
    report.plot("nothing-new", plot("A pull with nothing new", cases, cost, COLUMNS[2]));
    report.plot("page", plot("A page of 1,000 changes", cases, cost, COLUMNS[4]));
}

fn plot(title: &str, cases: &[Case], cost: &str, column: Column) -> Plot {
    let mut plot = Plot::cost(title, "stored changes", cost);
    let mut fleets: Vec<u8> = cases.iter().map(|case| case.nodes).collect();
    fleets.sort_unstable();
    fleets.dedup();
    for nodes in fleets {
        let points = cases.iter().filter(|case| case.nodes == nodes);
        let points = points.map(|case| (f64::from(case.stored), case.median(column))).collect();
        let name = if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
        plot = plot.line(&name, points);
    }
    plot
}
