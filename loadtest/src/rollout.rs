//! `rollout`: each node of a fleet is replaced in turn, behind nginx as the project ships it, while
//! clients push and follow. None of them may notice more than a reconnect: exits with 1 where a
//! push fails although it was repeated once, where a change is lost, or where streams come back all
//! at once.

mod reader;
mod stage;
mod turn;
mod writer;

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::stage::{Figures, Phase, Stage};
use self::turn::Turn;
use crate::Outcome;
use crate::fleet::{Ground, NodeProcess, lasting_port};
use crate::host::Host;
use crate::nginx::{Nginx, shipped};
use crate::oracle::Verdict;
use crate::plot::{Plot, Scale};
use crate::progress::Progress;
use crate::report::{Output, Report, percentiles};
use crate::stats::{float, quantile};

/// As many as the shipped configuration names.
const NODES: usize = 3;
/// Life goes on this long before it counts.
const WARM_UP: Duration = Duration::from_secs(2);
/// All streams are open within this.
const OPENS: Duration = Duration::from_mins(1);
/// Streams of a user.
const STREAMS_EACH: usize = 25;

/// The flags.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Args {
    /// Streams that follow; nginx lets an address have 1,000 connections.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(3..=900))]
    streams: u16,
    /// Pushes a second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pushes: u32,
    /// Seconds before the first node is replaced, and after each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rest: u32,
    /// `DRAIN_DELAY_SECONDS` of the nodes.
    #[arg(long, default_value_t = 5)]
    drain_delay: u32,
    /// `DRAIN_SPREAD_SECONDS` of the nodes.
    #[arg(long, default_value_t = 15)]
    drain_spread: u32,
    /// `DRAIN_DEADLINE_SECONDS` of the nodes.
    #[arg(long, default_value_t = 30)]
    drain_deadline: u32,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

impl Args {
    fn flags(&self) -> [String; 3] {
        [
            format!("--drain-delay-seconds={}", self.drain_delay),
            format!("--drain-spread-seconds={}", self.drain_spread),
            format!("--drain-deadline-seconds={}", self.drain_deadline),
        ]
    }

    fn users(&self) -> usize {
        usize::from(self.streams).div_ceil(STREAMS_EACH)
    }
}

/// A fleet on ports of its own, which stay its own while a node is away.
struct Fleet {
    // Ends first: its connections are the ground's.
    nodes: Vec<NodeProcess>,
    nginx: Nginx,
    ground: Ground,
    database: String,
    flags: [String; 3],
}

impl Fleet {
    async fn start(args: &Args) -> Outcome<Self> {
        let (ground, flags) = (Ground::start().await?, args.flags());
        let database = ground.database("rollout").await?;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let flags = flags.each_ref().map(String::as_str);
            nodes.push(ground.node_at(lasting_port()?, &database, &flags).await?);
        }
        let ports: Vec<u16> = nodes.iter().map(|node| node.port).collect();
        let nginx = Nginx::start("", |port| shipped(port, &ports)).await?;
        Ok(Self { nodes, nginx, ground, database, flags })
    }

    /// Replaces a node by a new process on the same port.
    async fn replace(&mut self, number: usize, stage: &Stage) -> Outcome<Turn> {
        let node = self.nodes.get_mut(number).ok_or("there is no such node")?;
        let mut turn = Turn::begin(node, stage).await?;
        let flags = self.flags.each_ref().map(String::as_str);
        *node = self.ground.node_at(node.port, &self.database, &flags).await?;
        turn.is_back();
        Ok(turn)
    }

    /// How many streams each node has.
    async fn streams(&self) -> Outcome<Vec<u64>> {
        let mut streams = Vec::new();
        for node in &self.nodes {
            let figures = node.target.connect().await?.get("/metrics", "", "").await?;
            let figures = String::from_utf8_lossy(&figures.body).into_owned();
            let mut lines = figures.lines();
            let count = lines.find_map(|line| line.strip_prefix("mana_sync_streams_active "));
            streams.push(count.ok_or("a node does not count its streams")?.parse()?);
        }
        Ok(streams)
    }
}

/// What is left when all is done.
struct Rolled {
    turns: Vec<Turn>,
    figures: Figures,
    verdict: Verdict,
    /// Streams of each node, at first and in the end.
    streams: [Vec<u64>; 2],
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut report = Report::begin("rollout", &args);
    let mut fleet = Fleet::start(&args).await?;
    report.environment(Host::look(Some(&fleet.database), None).await);
    let stage = Stage::set(&fleet.ground, &fleet.nginx.target, args.users()).await?;
    let rolled = Box::pin(play(&args, &mut fleet, &stage)).await?;
    rolled.print(&args.output);
    rolled.fill(&mut report);
    report.finish(&args.output)?;
    rolled.judge(Duration::from_secs(u64::from(args.drain_spread)))
}

/// All at the same time: who pushes, who follows, and who replaces the nodes.
async fn play(args: &Args, fleet: &mut Fleet, stage: &Stage) -> Outcome<Rolled> {
    let users = args.users();
    let every = Duration::from_secs(1) * u32::try_from(users)? / args.pushes;
    let writing = async {
        join_all((0..users).map(|user| writer::push(stage, user, every))).await;
        stage.pushes_are_over();
    };
    let reading = (0..usize::from(args.streams)).map(|n| reader::follow(stage, n, n % users));
    let replacing = async {
        let replaced = replace(args, fleet, stage).await;
        stage.over.cancel();
        replaced
    };
    let bar = Progress::time("replacing the nodes", length(args));
    let all = async { tokio::join!(replacing, writing, join_all(reading)) };
    let (replaced, (), lines) = bar.beside(Box::pin(all)).await;
    let (turns, streams) = replaced?;
    let verdict = stage.ledger.borrow().judge(&lines);
    Ok(Rolled { turns, streams, verdict, figures: stage.figures.take() })
}

/// About how long it takes.
fn length(args: &Args) -> Duration {
    let a_node = args.rest + args.drain_delay + args.drain_spread;
    WARM_UP + Duration::from_secs(u64::from(args.rest + 3 * a_node))
}

async fn replace(
    args: &Args,
    fleet: &mut Fleet,
    stage: &Stage,
) -> Outcome<(Vec<Turn>, [Vec<u64>; 2])> {
    let rest = Duration::from_secs(u64::from(args.rest));
    let deadline = Instant::now() + OPENS;
    while stage.open.get() < usize::from(args.streams) {
        if Instant::now() > deadline {
            return Err(format!("{} streams are open after {OPENS:?}", stage.open.get()).into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    sleep(WARM_UP).await;
    stage.enter(Phase::Before);
    let first = fleet.streams().await?;
    sleep(rest).await;
    stage.enter(Phase::During);
    let mut turns = Vec::new();
    for number in 0..NODES {
        turns.push(fleet.replace(number, stage).await?);
        sleep(rest).await;
    }
    let last = fleet.streams().await?;
    let mut until = None;
    for turn in turns.iter_mut().rev() {
        turn.count(&stage.figures.borrow().reconnects, until);
        until = Some(turn.begun());
    }
    Ok((turns, [first, last]))
}

impl Rolled {
    fn print(&self, output: &Output) {
        let Self { turns, figures, verdict, streams: [first, last] } = self;
        let say = |line: &str| output.say(line);
        say(&format!(
            "{} pushes acknowledged, {} repeated, {} failed even then; {} changes, {} deliveries: \
             lost {}, duplicated {}, out of order {}, cursors back {}; {} streams ended without a \
             word or were not opened",
            figures.acknowledged,
            figures.repeated,
            figures.failed,
            verdict.acknowledged,
            verdict.seen,
            verdict.lost,
            verdict.duplicated,
            verdict.out_of_order,
            verdict.cursors_back,
            figures.broken
        ));
        for (why, times) in &figures.why {
            say(&format!("  {times} × {why}"));
        }
        for example in &verdict.examples {
            say(&format!("  {example}"));
        }
        say(&format!("streams of each node: {first:?} at first, {last:?} in the end"));
        for (number, turn) in (1..).zip(turns) {
            say(&format!("node {number}: {}", turn.line()));
        }
        for line in turn::histogram(turns) {
            say(&line);
        }
        for (name, before, during) in figures.latencies() {
            let ms = |l, q| quantile(l, q).as_secs_f64() * 1000.0;
            let row = |l| format!("{:.1} / {:.1} / {:.1}", ms(l, 0.5), ms(l, 0.99), ms(l, 1.0));
            let (before, during) = (row(before), row(during));
            say(&format!("{name}, p50 / p99 / most, ms: {before} before, {during} meanwhile"));
        }
    }

    fn fill(&self, report: &mut Report) {
        let Self { turns, figures, verdict, streams } = self;
        report.figure("verdict", verdict);
        report.figure(
            "pushes",
            json!({ "acknowledged": figures.acknowledged, "repeated": figures.repeated,
                    "failed": figures.failed, "broken_streams": figures.broken, "why": figures.why }),
        );
        report.figure("turns", turns);
        report.figure("streams_at_first_and_in_the_end", streams);
        for (name, before, during) in figures.latencies() {
            let both = json!({ "before": percentiles(before), "during": percentiles(during) });
            report.figure(name, both);
        }
        let plot = Plot::new(
            "Streams that come back while a node leaves",
            ("seconds since SIGTERM", Scale::Linear),
            ("reconnects a second", Scale::Linear),
        );
        let points = |turn: &Turn| {
            turn.reconnects.iter().zip(0..).map(|(n, s)| (f64::from(s), float(*n))).collect()
        };
        let plot = (1..)
            .zip(turns)
            .fold(plot, |plot, (number, turn)| plot.curve(&format!("node {number}"), points(turn)));
        report.plot("reconnects", plot);
    }

    fn judge(&self, spread: Duration) -> Outcome {
        let Self { turns, figures, verdict, .. } = self;
        if figures.failed > 0 {
            return Err(format!("{} pushes failed twice", figures.failed).into());
        }
        if !verdict.is_clean() || verdict.acknowledged == 0 {
            return Err("the oracle found something wrong".into());
        }
        if figures.broken > 0 {
            return Err(format!("{} streams broke or were not opened", figures.broken).into());
        }
        turns.iter().try_for_each(|turn| turn.judge(spread))
    }
}
