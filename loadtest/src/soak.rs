//! `soak`: the usual life at a steady rate for minutes or hours, and beside it a cast whose every
//! change is journalled and looked for. At the end, when all is quiet, each reader must have seen
//! all that it may see, once and in order: what is not, is printed, and the exit code is 1. What
//! creeps is printed too.

mod cast;
mod drift;
mod reader;
mod writer;

use std::time::Duration;

use fastrand::Rng;
use futures::future::join_all;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::cast::Stage;
use self::drift::{Drift, Sample};
use self::reader::Reader;
use self::writer::{Pushes, Writer};
use crate::Outcome;
use crate::aim::{Aim, AimArgs};
use crate::mixed::figures::Figures;
use crate::mixed::life::{Life, LifeArgs};
use crate::oracle::{Line, Verdict};
use crate::plot::{Plot, Scale};
use crate::progress::Progress;
use crate::report::{Output, Report, percentiles};
use crate::stats::float;

/// Life goes on this long before it counts, or a tenth of the time.
const WARM_UP: Duration = Duration::from_secs(10);
/// Parts of the time: the first and the last are compared.
const PARTS: u32 = 4;
/// Writers of each user of the cast.
const WRITERS: usize = 2;

/// The flags.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Args {
    #[command(flatten)]
    aim: AimArgs,
    #[command(flatten)]
    life: LifeArgs,
    /// Minutes that it lasts.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Requests a second of the usual life.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Users of the cast, each with two devices that write, one that pulls, one that streams.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=100))]
    users: u16,
    /// Pushes a second of the cast, of 1 to 10 changes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    journalled: u32,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

/// What is left when the curtain has fallen.
struct Played {
    quarters: Vec<Figures>,
    pushes: Vec<Pushes>,
    readers: Vec<Reader>,
    samples: Vec<Sample>,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let stop = CancellationToken::new();
    let interrupted = async {
        crate::interrupted().await;
        stop.cancel();
        eprintln!("loadtest: ending early, then looking for what is lost; again to leave at once");
        crate::interrupted().await;
    };
    tokio::select! {
        outcome = soak(&args, &stop) => outcome,
        () = interrupted => Err("interrupted".into()),
    }
}

async fn soak(args: &Args, stop: &CancellationToken) -> Outcome {
    let mut report = Report::begin("soak", args);
    let aim = Aim::take(&args.aim).await?;
    report.environment(aim.host().await);
    let seed = args.life.seed();
    args.output.say(&format!("seed {seed}"));
    report.figure("seed", seed.to_string());
    let mut rng = Rng::with_seed(seed);
    let stage = Stage::set(&aim, usize::from(args.users)).await?;
    let life = Life::begin(&aim, &args.life, seed).await?;

    let mut played = Box::pin(play(args, &stage, life, &mut rng, stop)).await;
    let mut lines: Vec<Line> = Vec::new();
    for user in 0..usize::from(args.users) {
        // A new device, which reads all from the start; through another node each.
        let mut reader = Reader::new("fresh", user, user, rng.fork());
        reader.catch_up(&stage, user).await?;
        lines.push(reader.line);
    }
    let failures: u64 = played.readers.iter().map(|reader| reader.failures).sum();
    lines.extend(played.readers.drain(..).map(|reader| reader.line));
    let verdict = stage.ledger().judge(&lines);
    let drift = drift::compare(&played.samples, &played.quarters);
    let pushes = sum(&played.pushes);
    print(args, &verdict, &drift, pushes, failures, &played.quarters);
    fill(&mut report, &verdict, &drift, pushes, failures, &played);
    report.finish(&args.output)?;
    if verdict.is_clean() && pushes.acknowledged > 0 {
        Ok(())
    } else {
        Err(format!("the oracle found something wrong; seed {seed}").into())
    }
}

/// All at the same time: life, the cast's writers and readers, and whoever looks what creeps.
async fn play(
    args: &Args,
    stage: &Stage<'_>,
    mut life: Life,
    rng: &mut Rng,
    stop: &CancellationToken,
) -> Played {
    let time = Duration::from_mins(u64::from(args.minutes));
    let warm_up = WARM_UP.min(time / 10);
    let over = CancellationToken::new();
    let living = async {
        let rate = f64::from(args.rate);
        life.run(rate, warm_up, stop).await;
        let mut quarters = Vec::new();
        for _ in 0..PARTS {
            quarters.push(life.run(rate, time.saturating_sub(warm_up) / PARTS, stop).await);
            if stop.is_cancelled() {
                break;
            }
        }
        over.cancel();
        quarters
    };
    let users = usize::from(args.users);
    let writers = users * WRITERS;
    let every = Duration::from_secs_f64(float(writers as u64) / f64::from(args.journalled));
    let writers: Vec<_> = (0..writers)
        .map(|number| Writer { number, user: number % users, rng: rng.fork() })
        .collect();
    let writing = async {
        let all = writers.into_iter().map(|writer| writer.run(stage, every, &over));
        let pushes = join_all(all).await;
        stage.pushes_are_over();
        pushes
    };
    let mut readers = |kind| -> Vec<_> {
        (0..users).map(|user| Reader::new(kind, user, user, rng.fork())).collect()
    };
    let (streaming, pulling) = (readers("stream"), readers("pull"));
    let streaming = join_all(streaming.into_iter().map(|reader| reader.stream(stage)));
    let pulling = join_all(pulling.into_iter().map(|reader| reader.pull(stage)));
    let watching = drift::watch(stage.aim, time, &over);
    let all = async { tokio::join!(living, writing, streaming, pulling, watching) };
    let (quarters, pushes, mut readers, pulled, samples) =
        Progress::time("soaking", time).beside(Box::pin(all)).await;
    readers.extend(pulled);
    Played { quarters, pushes, readers, samples }
}

fn sum(all: &[Pushes]) -> Pushes {
    all.iter().fold(Pushes::default(), |sum, one| Pushes {
        acknowledged: sum.acknowledged + one.acknowledged,
        repeated: sum.repeated + one.repeated,
        failed: sum.failed + one.failed,
    })
}

fn print(
    args: &Args,
    verdict: &Verdict,
    drift: &[Drift],
    pushes: Pushes,
    reader_failures: u64,
    quarters: &[Figures],
) {
    let say = |line: &str| args.output.say(line);
    say(&format!(
        "journalled: {} pushes acknowledged, {} repeated, {} failed; {} changes; \
         {} lines with {} sightings, {reader_failures} readings failed",
        pushes.acknowledged,
        pushes.repeated,
        pushes.failed,
        verdict.acknowledged,
        verdict.lines,
        verdict.seen
    ));
    say(&format!(
        "lost {}, duplicated {}, out of order {}, cursors back {}, leaked {}, unknown {} \
         (unpublished at first: {})",
        verdict.lost,
        verdict.duplicated,
        verdict.out_of_order,
        verdict.cursors_back,
        verdict.leaked,
        verdict.unknown,
        verdict.unpublished
    ));
    for example in &verdict.examples {
        say(&format!("  {example}"));
    }
    let done: f64 = quarters.iter().map(Figures::done).sum::<f64>();
    let failures: u64 = quarters.iter().map(|one| one.failures).sum();
    let count = float(quarters.len().max(1) as u64);
    say(&format!("life: {:.0} requests/s done, {failures} failed", done / count));
    say("drift                        first ¼    last ¼");
    for one in drift {
        say(&one.row());
    }
}

fn fill(
    report: &mut Report,
    verdict: &Verdict,
    drift: &[Drift],
    pushes: Pushes,
    reader_failures: u64,
    played: &Played,
) {
    report.figure("verdict", verdict);
    report.figure("journalled", pushes);
    report.figure("reader_failures", reader_failures);
    report.figure("drift", drift);
    report.figure("samples", &played.samples);
    let quarters = played.quarters.iter().map(|one| {
        serde_json::json!({
            "offered_a_second": one.offered, "done_a_second": one.done(),
            "pull": percentiles(&one.pulls), "push": percentiles(&one.pushes),
            "first_stream_byte": percentiles(&one.streams), "failures": one.failures,
        })
    });
    report.figure("quarters", quarters.collect::<Vec<_>>());
    let [memory, files] = drift::points(&played.samples);
    let seconds = ("seconds", Scale::Linear);
    let plot = Plot::new("Memory of the nodes", seconds, ("MiB", Scale::Linear));
    report.plot("memory", plot.curve("resident", memory));
    let plot = Plot::new("Open files and sockets of the nodes", seconds, ("count", Scale::Linear));
    report.plot("files", plot.curve("open", files));
    if let (Some(first), Some(last)) = (played.quarters.first(), played.quarters.last()) {
        let all = [
            ("pull, first quarter", &first.pulls),
            ("pull, last quarter", &last.pulls),
            ("push, first quarter", &first.pushes),
            ("push, last quarter", &last.pushes),
        ];
        report.plot("percentiles", Plot::percentiles("Latency, first and last quarter", &all));
    }
}
