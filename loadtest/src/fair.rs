//! `fair`: what a quiet user feels of another who pushes at full speed through the same node, under
//! the limits that a node has by itself. Rounds alternate between the quiet user alone and beside
//! each kind of flood.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::Outcome;
use crate::fleet::Ground;
use crate::host::Host;
use crate::progress::Progress;
use crate::push::{Clients, Load, Outcomes, user};
use crate::report::{Output, Report, percentiles};
use crate::stats::{self, Latencies, Rounds, quantile};

/// The quiet user's p99 beside a flood is at most so many times its p99 alone.
const GATE: f64 = 5.0;
/// Pushes a second of the quiet user.
const QUIET: f64 = 50.0;
/// Floods: connections of one user, and changes of each push.
const FLOODS: [(usize, usize); 5] = [(1, 1), (64, 1), (1, 200), (8, 200), (1, 10_000)];

/// The flags.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Args {
    /// Rounds, each of the quiet user alone and beside each flood.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Seconds of each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

/// What the rounds beside one flood brought.
struct Felt {
    connections: usize,
    changes: usize,
    /// The quiet user's pushes.
    beside: Latencies,
    /// Their p99 against that alone, in the same round.
    ratios: Vec<f64>,
    pushed: u64,
    refused: u64,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut report = Report::begin("fair", &args);
    let ground = Ground::start().await?;
    let database = ground.database("load").await?;
    let node = ground.node(&database, &["--limit-user-requests=200"]).await?;
    report.environment(Host::look(Some(&database), None).await);
    let (targets, tokens) = ([node.target.clone()], ground.tokens()?);
    let load = |changes, rate| Load {
        clients: 0,
        changes,
        seconds: args.seconds,
        rate,
        space: None,
        app: "fair".to_owned(),
    };
    let mut quiet = Clients::connect(&targets, &tokens, 1).await?;
    quiet.run(&load(1, Some(QUIET))).await;
    let mut alone = stats::latencies();
    let mut all = FLOODS.map(|(connections, changes)| Felt::new(connections, changes));
    let bar = Progress::count("rounds", u64::from(args.rounds));
    for _ in 0..args.rounds {
        let before = quiet.run(&load(1, Some(QUIET))).await.latencies;
        for felt in &mut all {
            let mut flood = Clients::of_one(&targets, &tokens, &user(1), felt.connections).await?;
            let (quiet_load, flood_load) = (load(1, Some(QUIET)), load(felt.changes, None));
            let (beside, flood) = tokio::join!(quiet.run(&quiet_load), flood.run(&flood_load));
            felt.note(&before, beside, &flood);
        }
        alone.add(before)?;
        bar.add(1);
    }
    drop(bar);
    finish(&args, &alone, &all, report)
}

impl Felt {
    fn new(connections: usize, changes: usize) -> Self {
        let (beside, ratios) = (stats::latencies(), Vec::new());
        Self { connections, changes, beside, ratios, pushed: 0, refused: 0 }
    }

    fn note(&mut self, alone: &Latencies, beside: Outcomes, flood: &Outcomes) {
        let p99 = |all: &Latencies| quantile(all, 0.99).as_secs_f64();
        self.ratios.push(p99(&beside.latencies) / p99(alone));
        self.beside.add(beside.latencies).ok();
        self.pushed += flood.pushes;
        self.refused += flood.failures;
    }
}

fn finish(args: &Args, alone: &Latencies, all: &[Felt], mut report: Report) -> Outcome {
    let ms = |all: &Latencies, q| quantile(all, q).as_secs_f64() * 1000.0;
    let say = |line: &str| args.output.say(line);
    say(&format!(
        "a quiet user's pushes, alone: p50 {:.1} ms, p99 {:.1} ms",
        ms(alone, 0.5),
        ms(alone, 0.99)
    ));
    say("beside a user with         stored/s   refused/s   p50 ms   p99 ms   p99 against alone");
    let time = Duration::from_secs(args.seconds) * u32::from(args.rounds);
    let a_second = |count: u64| stats::float(count) / time.as_secs_f64();
    for felt in all {
        let ratio = Rounds::of(&felt.ratios);
        let verdict = if ratio.median <= GATE { "met" } else { "MISSED" };
        say(&format!(
            "{:>2} × pushes of {:>6}      {:>8.0}   {:>9.0}   {:>6.1}   {:>6.1}   {:.2}× ({:.2} – {:.2}), gate {GATE}×: {verdict}",
            felt.connections,
            felt.changes,
            a_second(felt.pushed),
            a_second(felt.refused),
            ms(&felt.beside, 0.5),
            ms(&felt.beside, 0.99),
            ratio.median,
            ratio.min,
            ratio.max
        ));
    }
    report.figure("alone", percentiles(alone));
    let beside = all.iter().map(|felt| {
        json!({
            "connections": felt.connections, "changes": felt.changes,
            "stored_a_second": a_second(felt.pushed), "refused_a_second": a_second(felt.refused),
            "quiet": percentiles(&felt.beside), "p99_against_alone": Rounds::of(&felt.ratios),
        })
    });
    report.figure("beside", beside.collect::<Vec<_>>());
    report.finish(&args.output)
}
