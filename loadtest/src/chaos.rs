//! `chaos`: everything goes wrong, and nothing may be lost. Clients as those in the field push and
//! read in two apps, through nginx and three nodes on a durable Postgres, while faults drawn from a
//! seed strike, alone and together. When all is healed and quiet the oracle compares what was
//! acknowledged with what is stored and with what each reader saw. Exits with 1 where something is
//! wrong.

mod counts;
mod database;
mod device;
mod ending;
mod faults;
mod follow;
mod nodes;
mod reader;
mod schedule;
mod stage;
mod state;
mod steward;
mod tab;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::database::Disk;
use self::device::Device;
use self::faults::{Kind, Means};
use self::nodes::FAKETIME;
use self::reader::Reader;
use self::schedule::Schedule;
use self::stage::Stage;
use self::tab::{Habits, Tab};
use self::wire::APPS;
use self::world::World;
use crate::Outcome;
use crate::host::Host;
use crate::nginx::NGINX;
use crate::oracle::Reach;
use crate::report::{Output, Report};

/// The nodes.
const NODES: usize = 3;
/// At the end nothing is wrong for so long, while the clients go on: or for a third of the time.
const CALM: Duration = Duration::from_secs(10);
/// A run this short has short faults.
const SHORT: Duration = Duration::from_secs(100);

/// The flags.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Args {
    /// Minutes that it lasts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// Seconds that it lasts, instead.
    #[arg(long, value_parser = clap::value_parser!(u64).range(5..=600_000))]
    seconds: Option<u64>,
    /// Seed of all that is drawn [default: a random one]
    #[arg(long)]
    #[serde(skip)]
    seed: Option<u64>,
    /// The kinds of faults; all where none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    #[serde(skip)]
    faults: Vec<Kind>,
    /// No faults at all.
    #[arg(long, conflicts_with = "faults")]
    calm: bool,
    /// Standbys lag behind: what a failover loses is counted apart, and all that is asked is that
    /// readers see what is left.
    #[arg(long)]
    asynchronous: bool,
    /// Users, each with two tabs that push, one client that pulls and one that streams.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    users: u16,
    /// Pushes a second, of 1 to 200 changes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pushes: u32,
    /// Streams that reconnect at once.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=12_000))]
    reconnects: u32,
    /// What is wrong with the nodes.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    #[serde(skip)]
    mutant: Option<mana_sync::mutants::Mutant>,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

impl Args {
    fn time(&self) -> Duration {
        self.seconds.map_or(Duration::from_mins(self.minutes), Duration::from_secs)
    }

    #[cfg(feature = "mutants")]
    fn mutant(&self) -> Option<String> {
        self.mutant.map(|mutant| mutant.to_string())
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the same as with the feature")]
    fn mutant(&self) -> Option<String> {
        None
    }
}

/// What is left when the curtain has fallen.
struct Played {
    devices: Vec<Device>,
    /// How often each kind of fault happened.
    faults: BTreeMap<Kind, u64>,
    /// What kept it from being judged.
    broken: Option<String>,
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
        outcome = chaos(&args, &stop) => outcome,
        () = interrupted => Err("interrupted".into()),
    }
}

async fn chaos(args: &Args, stop: &CancellationToken) -> Outcome {
    if !Path::new(NGINX).exists() {
        return Err(format!("{NGINX} is missing: it stands before the nodes").into());
    }
    let mut report = Report::begin("chaos", args);
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    args.output.say(&format!("seed {seed}"));
    report.figure("seed", seed.to_string());
    let (mut kinds, disk) = means(args).await;
    kinds.retain(|kind| disk.is_some() || *kind != Kind::Disk);
    let mut world = World::start(NODES, disk, args.mutant().as_deref()).await?;
    report.environment(Host::look(Some(&world.door().url()), None).await);
    let stage = Stage::set(&world, usize::from(args.users));
    if args.asynchronous {
        stage.ledger().expect_losses();
    }
    let say = |what: &str| {
        let time = stage.begun.elapsed().as_secs_f64();
        args.output.say(&format!("[{time:>6.1} s, seed {seed}] {what}"));
    };
    let all = async {
        world.ready().await?;
        steward::introduce(&stage).await?;
        let played = Box::pin(play(args, &stage, (seed, kinds), stop, &say)).await;
        let judged = Box::pin(ending::judge(&stage, played, &say)).await;
        Ok(judged)
    };
    // The nodes are kept until the oracle has looked.
    let judged: Outcome<ending::Judged> = tokio::select! {
        judged = all => judged,
        () = world.keep(say) => Err("nobody keeps the nodes".into()),
    };
    let judged = judged?;
    judged.print(&args.output);
    judged.fill(&mut report);
    report.finish(&args.output)?;
    if judged.is_clean() {
        return Ok(());
    }
    let why = judged.why();
    if args.mutant().is_some() {
        return Err(format!("{why}; seed {seed}").into());
    }
    drop(stage);
    let logs = world.keep_logs();
    Err(format!("{why}; seed {seed}; the nodes' logs are in {}", logs.display()).into())
}

/// The kinds of faults that can be had here, and a disk that can be full.
async fn means(args: &Args) -> (Vec<Kind>, Option<Disk>) {
    let mut kinds = match (args.calm, args.faults.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => Kind::all(),
        (false, false) => args.faults.clone(),
    };
    if kinds.contains(&Kind::Clock) && !Path::new(FAKETIME).exists() {
        args.output.say(&format!("SKIPPED: no node's clock will be wrong, {FAKETIME} is missing"));
        kinds.retain(|kind| *kind != Kind::Clock);
    }
    if !kinds.contains(&Kind::Disk) {
        return (kinds, None);
    }
    match Disk::mount(args.time()).await {
        Ok(disk) => (kinds, Some(disk)),
        Err(error) => {
            args.output.say(&format!("SKIPPED: no disk will be full, {error}"));
            (kinds, None)
        }
    }
}

/// All at the same time: the cast, the faults, and whoever moves the guest.
async fn play(
    args: &Args,
    stage: &Stage<'_>,
    (seed, kinds): (u64, Vec<Kind>),
    stop: &CancellationToken,
    say: &impl Fn(&str),
) -> Played {
    let mut rng = Rng::with_seed(seed);
    let cast = cast(args, stage, &mut rng);
    // What the fleet knew of memberships may be lost too, until it is asked for anew.
    let moves = stage.guest().filter(|_| !args.asynchronous);
    let steward = steward::move_guest(stage, moves, rng.fork());
    let time = args.time();
    let calm = CALM.min(time / 3);
    let longest = Duration::from_millis(if time < SHORT { 2_500 } else { 6_000 });
    let means = Means {
        nodes: NODES,
        reconnects: args.reconnects as usize,
        asynchronous: args.asynchronous,
    };
    let schedule = Schedule::new(rng.u64(..), kinds, means, longest);
    let conducting = async {
        let conducted = conduct(stage, schedule, time.saturating_sub(calm), stop, say).await;
        stage.world.clear_ways();
        stage.healed.cancel();
        stage.calm.cancel();
        say("all is healed");
        let ends = stage.begun + time;
        let cut_short = async { tokio::join!(stop.cancelled(), sleep(calm)).1 };
        tokio::select! {
            () = sleep_until(ends.max(Instant::now() + calm)) => {}
            () = cut_short => {}
            () = stage.caught.cancelled() => {}
        }
        stage.over.cancel();
        conducted
    };
    let settling = ending::settle(stage, say);
    let (devices, (), (faults, failed), settled) =
        tokio::join!(join_all(cast), steward, conducting, settling);
    let broken = failed.or(settled.err().map(|error| error.to_string()));
    Played { devices: devices.into_iter().flatten().collect(), faults, broken }
}

/// Everybody who pushes and reads.
fn cast<'a>(
    args: &Args,
    stage: &'a Stage<'a>,
    rng: &mut Rng,
) -> Vec<LocalBoxFuture<'a, Vec<Device>>> {
    let mut cast: Vec<LocalBoxFuture<'a, Vec<Device>>> = Vec::new();
    let users = usize::from(args.users);
    // Two tabs of each user; every other one has a third, which reads by the answers alone.
    let tabs = users * 2 + users.div_ceil(2);
    let every = Duration::from_secs(1) * u32::try_from(tabs).unwrap_or(1) / args.pushes;
    for number in 0..tabs {
        let user = number % users;
        let habits =
            Habits { is_old: (number / users + user).is_multiple_of(2), reads: number < users * 2 };
        // A user's two tabs are of two apps, the third is of either.
        let app = if habits.reads { number / users } else { user } % APPS.len();
        let tab = Tab { number, user, app, habits, every, rng: rng.fork() };
        cast.push(tab.live(stage).boxed_local());
    }
    for user in 0..users {
        let app = Reach::App(user % APPS.len());
        // Most follow all apps by one stream, some one app.
        let reach = if user % 4 == 1 { app } else { Reach::Apps };
        let stream = Reader::new("stream", user, reach, rng.fork());
        cast.push(stream.stream(stage, user.is_multiple_of(2)).boxed_local());
        cast.push(Reader::new("pull", user, app, rng.fork()).pull(stage).boxed_local());
    }
    cast
}

/// Lets faults happen until the time is over; gives how often each did, and what can't be healed.
async fn conduct(
    stage: &Stage<'_>,
    mut schedule: Schedule,
    time: Duration,
    stop: &CancellationToken,
    say: &impl Fn(&str),
) -> (BTreeMap<Kind, u64>, Option<String>) {
    let (mut happened, mut broken) = (BTreeMap::new(), None);
    let over = stop.child_token();
    let ticking = async {
        tokio::select! {
            () = sleep_until(stage.begun + time) => {}
            () = stage.caught.cancelled() => {}
        }
        over.cancel();
        std::future::pending::<()>().await;
    };
    let rounds = async {
        while !over.is_cancelled() && broken.is_none() {
            let mut round = schedule.round();
            let all = round
                .faults
                .iter_mut()
                .map(|one| async { (one.kind, one.happen(stage.world, &over, say).await) });
            for (kind, outcome) in join_all(all).await {
                match outcome {
                    Ok(did) => *happened.entry(kind).or_default() += u64::from(did),
                    Err(error) => broken = Some(error.to_string()),
                }
            }
            over.run_until_cancelled(sleep(round.rest)).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        () = ticking => {}
    }
    (happened, broken)
}
