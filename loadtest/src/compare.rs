//! `compare`: the budgets of the project, measured side by side on this machine.
//!
//! Everything runs on one private Postgres, durable, with `synchronous_commit` on. Ours and each
//! baseline take turns, round by round, so that what else the machine does hits both; what counts
//! is the median of the rounds' ratios.

mod baseline;
mod flush;
mod listeners;
mod nchan;
mod pull;
mod push;
pub(crate) mod row;
mod size;
mod statements;
mod streams;
mod wake;

use serde::Serialize;

use crate::Outcome;
use crate::fleet::Ground;
use crate::host::Host;
use crate::report::{Output, Report};

use self::flush::Flush;
use self::row::{Row, Verdict, table};

/// Flushes that are timed.
const FLUSHES: usize = 200;

/// The flags.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Args {
    /// Interleaved rounds of each measurement.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement in a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only these sections; all of them if none is named.
    #[arg(long, value_enum)]
    only: Vec<Section>,
    /// Install what is compared with and missing: nginx with nchan, by apt-get.
    #[arg(long)]
    install_peers: bool,
    /// A tenth of the stored changes, where there are many.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

/// Rows that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Section {
    /// Single changes against one transaction a push, with and without notification.
    Push,
    /// Pushes of a hundred changes.
    Batch,
    /// All clients into one space.
    OneSpace,
    /// A hundred idle listeners.
    Listeners,
    /// Memory of idle streams, deliveries a CPU second, reads of feeds.
    Streams,
    /// From a push on one node to its event on another.
    Wake,
    /// What a pull with nothing new asks of Postgres.
    Pull,
    /// A page of a large log.
    Size,
    /// A single client.
    OneClient,
}

impl Section {
    /// The databases that it makes.
    fn databases(self) -> &'static [&'static str] {
        match self {
            Self::Push => &["single"],
            Self::Batch => &["batch"],
            Self::OneSpace => &["one_space"],
            Self::Listeners => &["listeners"],
            Self::OneClient => &["one_client"],
            Self::Streams => &["streams"],
            Self::Wake => &["wake"],
            Self::Pull => &["pull"],
            Self::Size => &["large", "small"],
        }
    }

    async fn run(self, bench: &Bench) -> Outcome<Vec<Row>> {
        match self {
            Self::Push => push::single(bench).await,
            Self::Batch => push::batch(bench).await,
            Self::OneSpace => push::one_space(bench).await,
            Self::Listeners => push::listeners(bench).await,
            Self::Streams => streams::streams(bench).await,
            Self::Wake => wake::wake(bench).await,
            Self::Pull => pull::pull(bench).await,
            Self::Size => size::size(bench).await,
            Self::OneClient => push::one_client(bench).await,
        }
    }
}

/// What the sections share.
struct Bench {
    ground: Ground,
    args: Args,
}

impl Bench {
    /// Says on stderr what goes on.
    fn say(&self, what: &str, round: usize) {
        eprintln!("{what}: round {} of {}", round + 1, self.args.rounds);
    }
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut report = Report::begin("compare", &args);
    if args.install_peers && nchan::missing().is_some() {
        nchan::install().await?;
    }
    let ground = Ground::start().await?;
    let flush = Flush::beside(ground.postgres.data())?.median(FLUSHES)?;
    report.environment(Host::look(Some(&ground.admin_url("postgres")), Some(flush)).await);
    let bench = Bench { ground, args };
    let mut rows: Vec<Row> = Vec::new();
    for section in <Section as clap::ValueEnum>::value_variants() {
        if bench.args.only.is_empty() || bench.args.only.contains(section) {
            rows.extend(section.run(&bench).await?);
            // So that nothing is left to do in it while others are measured.
            for database in section.databases() {
                bench.ground.postgres.drop_database(database).await?;
            }
        }
    }
    let Args { rounds, seconds, output, .. } = &bench.args;
    output
        .say(&format!("Flush of 8 KB: {flush:.0?}. Medians of {rounds} rounds of {seconds} s.\n"));
    output.say(&table(&rows));
    if let Some(missing) = nchan::missing() {
        output.say(&format!("left out: {missing}"));
        report.figure("left_out", missing);
    }
    let missed = rows.iter().filter(|row| row.verdict == Verdict::FallsShort).count();
    report.figure("rows", rows);
    report.finish(output)?;
    if missed > 0 {
        return Err(format!("{missed} of the gates are missed").into());
    }
    Ok(())
}
