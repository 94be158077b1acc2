//! `mixed`: the usual life of a fleet at rates that rise step by step, until it is saturated. The
//! knee is the last step at which pulls were quick and nearly all that was due was done.

pub(crate) mod figures;
pub(crate) mod life;

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::figures::Figures;
use self::life::{Life, LifeArgs};
use crate::Outcome;
use crate::aim::{Aim, AimArgs};
use crate::plot::{Plot, Scale};
use crate::progress::Progress;
use crate::report::{Output, Report, percentiles};
use crate::stats::{Latencies, float, quantile};

/// Life goes on this long before it counts.
const WARM_UP: Duration = Duration::from_secs(3);
/// A step holds where so much of what was due was done.
const DONE: f64 = 0.95;
/// So many steps that don't hold, one after another, are saturation.
const BEYOND: usize = 2;

/// The flags.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Args {
    #[command(flatten)]
    aim: AimArgs,
    #[command(flatten)]
    life: LifeArgs,
    /// Requests a second of the first step.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    from: u32,
    /// How much the rate rises from a step to the next, in percent.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rise: u32,
    /// Steps at most.
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=100))]
    steps: u16,
    /// Seconds of a step.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Milliseconds within which 99 of 100 pulls are to be answered.
    #[arg(long, default_value_t = 100)]
    bound_ms: u64,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

/// A step of the ramp.
struct Step {
    figures: Figures,
    /// Processors that the nodes kept busy.
    node_cpus: Option<f64>,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut report = Report::begin("mixed", &args);
    let aim = Aim::take(&args.aim).await?;
    report.environment(aim.host().await);
    let seed = args.life.seed();
    args.output.say(&format!("seed {seed}"));
    report.figure("seed", seed.to_string());
    let mut life = Life::begin(&aim, &args.life, seed).await?;

    // The nodes ask who everybody is, once: that is not what is measured.
    life.run(f64::from(args.from), WARM_UP, &CancellationToken::new()).await;

    args.output.say(HEAD);
    let (mut steps, mut beyond, mut rate) = (Vec::new(), 0, f64::from(args.from));
    let bar = Progress::count("steps", u64::from(args.steps));
    for _ in 0..args.steps {
        let step = Step::run(&mut life, &aim, rate, Duration::from_secs(args.seconds)).await;
        bar.add(1);
        bar.aside(|| args.output.say(&step.row()));
        beyond = if step.holds(&args) { 0 } else { beyond + 1 };
        steps.push(step);
        if beyond == BEYOND {
            break;
        }
        rate *= 1.0 + f64::from(args.rise) / 100.0;
    }
    drop(bar);
    finish(&args, &steps, report)
}

const HEAD: &str = "offered/s    done/s |  pull p50     p99 |  push p50     p99 | stream p50     p99 | \
                    node CPUs  nothing new  failed\n\
                    (latencies in ms)";

impl Step {
    async fn run(life: &mut Life, aim: &Aim, rate: f64, time: Duration) -> Self {
        let before = aim.node_cpu();
        let figures = life.run(rate, time, &CancellationToken::new()).await;
        let used = aim.node_cpu().zip(before).map(|(after, before)| after - before);
        Self { node_cpus: used.map(|used| used / figures.took.as_secs_f64()), figures }
    }

    fn holds(&self, args: &Args) -> bool {
        let quick = quantile(&self.figures.pulls, 0.99) < Duration::from_millis(args.bound_ms);
        quick && self.figures.done() >= DONE * self.figures.offered
    }

    fn nothing_new(&self) -> f64 {
        float(self.figures.nothing_new) / float(self.figures.pulls.len().max(1))
    }

    fn row(&self) -> String {
        let one = &self.figures;
        let pair = |all: &Latencies| format!("{:>9.1} {:>7.1}", ms(all, 0.5), ms(all, 0.99));
        let cpus = self.node_cpus.map_or_else(|| "–".to_owned(), |cpus| format!("{cpus:.2}"));
        format!(
            "{:>9.0} {:>9.0} | {} | {} | {:>11.1} {:>7.1} | {cpus:>9} {:>11.0}% {:>7}",
            one.offered,
            one.done(),
            pair(&one.pulls),
            pair(&one.pushes),
            ms(&one.streams, 0.5),
            ms(&one.streams, 0.99),
            self.nothing_new() * 100.0,
            one.failures
        )
    }

    fn figures(&self) -> Value {
        let one = &self.figures;
        json!({
            "offered_a_second": one.offered, "done_a_second": one.done(),
            "pull": percentiles(&one.pulls), "push": percentiles(&one.pushes),
            "first_stream_byte": percentiles(&one.streams),
            "node_cpus": self.node_cpus, "nothing_new": self.nothing_new(),
            "failures": one.failures,
        })
    }
}

fn finish(args: &Args, steps: &[Step], mut report: Report) -> Outcome {
    let knee = steps.iter().rfind(|step| step.holds(args));
    args.output.say(&match knee {
        Some(knee) => format!(
            "knee: {:.0} requests/s (pull p99 {:.1} ms < {} ms, {:.0} % of what was offered done)",
            knee.figures.done(),
            ms(&knee.figures.pulls, 0.99),
            args.bound_ms,
            100.0 * knee.figures.done() / knee.figures.offered
        ),
        None => "knee: below the first step".to_owned(),
    });
    report.figure("knee", knee.map(Step::figures));
    report.figure("steps", steps.iter().map(Step::figures).collect::<Vec<_>>());
    let line = |value: &dyn Fn(&Figures) -> f64| {
        steps.iter().map(|step| (step.figures.offered, value(&step.figures))).collect::<Vec<_>>()
    };
    let offered = ("offered, requests/s", Scale::Log);
    let plot = Plot::new("Requests done against offered", offered, ("requests/s", Scale::Linear));
    report.plot("throughput", plot.line("done", line(&Figures::done)));
    let plot = Plot::new("Latency, p99, against load", offered, ("latency, ms", Scale::Log));
    let plot = plot
        .line("pull", line(&|one| ms(&one.pulls, 0.99)))
        .line("push", line(&|one| ms(&one.pushes, 0.99)))
        .line("first stream byte", line(&|one| ms(&one.streams, 0.99)));
    report.plot("latency", plot);
    if let Some(knee) = knee {
        let one = &knee.figures;
        let all =
            [("pull", &one.pulls), ("push", &one.pushes), ("first stream byte", &one.streams)];
        report.plot("percentiles", Plot::percentiles("Latency at the knee", &all));
    }
    report.finish(&args.output)
}

fn ms(latencies: &Latencies, q: f64) -> f64 {
    quantile(latencies, q).as_secs_f64() * 1000.0
}
