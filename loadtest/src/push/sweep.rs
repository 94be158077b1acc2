//! `push --sweep`: the same load with one number of clients after another.

use serde_json::json;

use super::{Args, Clients, Load, Outcomes};
use crate::Outcome;
use crate::aim::Aim;
use crate::plot::{Plot, Scale};
use crate::report::{Report, percentiles};
use crate::stats::{float, quantile};

/// Runs every number of clients and adds table and plots to the report.
pub(super) async fn run(args: &Args, aim: &Aim, report: &mut Report) -> Outcome {
    args.output.say("clients    pushes/s   changes/s      p50      p99    p99.9   failed");
    let mut runs = Vec::new();
    for clients in &args.sweep {
        let load = Load { clients: *clients, ..args.load.clone() };
        let outcomes =
            Clients::connect(&aim.targets, &aim.tokens, *clients).await?.run(&load).await;
        args.output.say(&row(*clients, &outcomes, load.changes));
        runs.push((*clients, outcomes));
    }
    let rows = runs.iter().map(|(clients, outcomes)| {
        json!({
            "clients": clients,
            "pushes_a_second": outcomes.rate(),
            "failures": outcomes.failures,
            "latency": percentiles(&outcomes.latencies),
        })
    });
    report.figure("sweep", rows.collect::<Vec<_>>());
    plots(&runs, report);
    Ok(())
}

fn row(clients: usize, outcomes: &Outcomes, changes: usize) -> String {
    let ms = |q| quantile(&outcomes.latencies, q).as_secs_f64() * 1000.0;
    format!(
        "{clients:>7} {:>11.0} {:>11.0} {:>8.1} {:>8.1} {:>8.1} {:>8}",
        outcomes.rate(),
        outcomes.rate() * float(changes as u64),
        ms(0.5),
        ms(0.99),
        ms(0.999),
        outcomes.failures
    )
}

fn plots(runs: &[(usize, Outcomes)], report: &mut Report) {
    let line = |value: &dyn Fn(&Outcomes) -> f64| {
        runs.iter().map(|(clients, run)| (float(*clients as u64), value(run))).collect::<Vec<_>>()
    };
    let throughput = Plot::throughput("Throughput against clients", "pushes");
    report.plot("throughput", throughput.line("pushes", line(&Outcomes::rate)));
    let mut latency = Plot::new(
        "Latency of a push against clients",
        ("clients", Scale::Log),
        ("latency, ms", Scale::Log),
    );
    for (name, q) in [("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let ms = move |run: &Outcomes| quantile(&run.latencies, q).as_secs_f64() * 1000.0;
        latency = latency.line(name, line(&ms));
    }
    report.plot("latency", latency);
    let names: Vec<_> =
        runs.iter().map(|(clients, run)| (format!("{clients}"), &run.latencies)).collect();
    let all: Vec<_> = names.iter().map(|(name, run)| (name.as_str(), *run)).collect();
    report.plot("percentiles", Plot::percentiles("Latency of a push, by number of clients", &all));
}
