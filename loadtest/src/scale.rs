//! `scale`: what a push and a pull cost in CPU, in Postgres and in the nodes, with more nodes and
//! with more stored changes. The offered rates are fixed, so that the costs can be compared: the
//! CPU seconds used while they are on, divided by the requests.

mod pulls;
mod table;

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::Outcome;
use crate::client::Target;
use crate::fleet::{Ground, NodeProcess};
use crate::host::Host;
use crate::procfs;
use crate::progress::Progress;
use crate::push::{Clients, Load};
use crate::report::{Output, Report};
use crate::stats::float;
use crate::stored::{self, Stored};

use self::pulls::Pullers;

/// Clients that push.
const WRITERS: usize = 64;
/// Clients that pull.
const READERS: usize = 16;
/// What was begun is done after this, and nothing else is under way.
const SETTLE: Duration = Duration::from_millis(500);

/// The flags.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Args {
    /// Numbers of nodes, on one Postgres.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    nodes: Vec<u8>,
    /// Numbers of stored changes.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000, 10_000_000])]
    stored: Vec<u32>,
    /// Pushes a second of all nodes together, a change each.
    #[arg(long, default_value_t = 1_000.0)]
    pushes: f64,
    /// Pulls a second that find nothing new.
    #[arg(long, default_value_t = 1_000.0)]
    pulls: f64,
    /// Pulls a second that find a page of 1,000 changes.
    #[arg(long, default_value_t = 50.0)]
    pages: f64,
    /// Seconds of each.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; the numbers of nodes take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

/// What one request costs, in microseconds of CPU.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    postgres: f64,
    nodes: f64,
}

/// The costs of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Costs {
    push: Cost,
    idle: Cost,
    page: Cost,
    /// Median time of a page.
    page_ms: f64,
}

/// All rounds of one number of nodes on one number of stored changes.
#[derive(Debug)]
struct Case {
    nodes: u8,
    stored: u32,
    rounds: Vec<Costs>,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut report = Report::begin("scale", &args);
    let ground = Ground::start().await?;
    report.environment(Host::look(Some(&ground.admin_url("postgres")), None).await);
    let total = args.stored.len() * args.nodes.len() * args.rounds;
    let progress = Progress::count("scale", total as u64);
    let mut cases = Vec::new();
    for stored in &args.stored {
        let name = format!("stored_{stored}");
        let log = stored::store(&ground, &name, *stored).await?;
        let mut of_size: Vec<Case> = args
            .nodes
            .iter()
            .map(|nodes| Case { nodes: *nodes, stored: *stored, rounds: Vec::new() })
            .collect();
        for _ in 0..args.rounds {
            for case in &mut of_size {
                case.rounds.push(round(&ground, &log, case.nodes, &args).await?);
                progress.add(1);
            }
        }
        cases.extend(of_size);
        ground.postgres.drop_database(&name).await?;
    }
    drop(progress);
    args.output.say(&table::table(&cases));
    for line in table::claims(&cases) {
        args.output.say(&line);
    }
    table::report(&mut report, &cases);
    report.finish(&args.output)
}

/// Starts so many nodes, and puts each load on them in turn.
async fn round(ground: &Ground, log: &Stored, nodes: u8, args: &Args) -> Outcome<Costs> {
    let mut fleet = Vec::new();
    for _ in 0..nodes {
        fleet.push(ground.node(&log.url, &[]).await?);
    }
    let targets: Vec<Target> = fleet.iter().map(|node| node.target.clone()).collect();
    let tokens = ground.tokens()?;
    let mut writers = Clients::connect(&targets, &tokens, WRITERS).await?;
    let mut readers = Pullers::connect(&targets, &tokens, READERS).await?;
    let load = |seconds| Load {
        clients: WRITERS,
        changes: 1,
        seconds,
        rate: Some(args.pushes),
        space: None,
        app: "loadtest".to_owned(),
    };
    // Plans are made, and pools filled, before anything is counted.
    writers.run(&load(1)).await;
    readers.pages(&log.middle, args.pages, 1).await?;
    readers.nothing_new(args.pulls, 1).await?;
    sleep(SETTLE).await;

    let meter = Meter { ground, fleet: &fleet };
    let before = meter.read()?;
    let outcomes = writers.run(&load(args.seconds)).await;
    if outcomes.failures > 0 {
        return Err(format!("{} pushes failed", outcomes.failures).into());
    }
    let push = meter.since(before, outcomes.pushes)?;
    let before = meter.read()?;
    let pulled = readers.nothing_new(args.pulls, args.seconds).await?;
    let idle = meter.since(before, pulled.len())?;
    let before = meter.read()?;
    let pages = readers.pages(&log.middle, args.pages, args.seconds).await?;
    let page = meter.since(before, pages.len())?;
    let page_ms = float(pages.value_at_quantile(0.5)) / 1e3;
    for node in fleet {
        node.stop().await?;
    }
    Ok(Costs { push, idle, page, page_ms })
}

/// Reads what the fleet uses.
struct Meter<'a> {
    ground: &'a Ground,
    fleet: &'a [NodeProcess],
}

impl Meter<'_> {
    /// CPU seconds so far.
    fn read(&self) -> Outcome<Cost> {
        let pids: Vec<u32> = self.fleet.iter().map(|node| node.pid).collect();
        Ok(Cost {
            postgres: procfs::family_cpu(self.ground.postgres.pid())?,
            nodes: procfs::cpu_of(&pids)?,
        })
    }

    /// CPU microseconds a request since then.
    fn since(&self, before: Cost, requests: u64) -> Outcome<Cost> {
        let now = self.read()?;
        let each = |seconds: f64| seconds * 1e6 / float(requests.max(1));
        Ok(Cost {
            postgres: each(now.postgres - before.postgres),
            nodes: each(now.nodes - before.nodes),
        })
    }
}
