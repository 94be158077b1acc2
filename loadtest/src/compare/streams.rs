//! Streams, against nginx with nchan: memory, deliveries a CPU second, and what they ask of
//! Postgres.

use std::time::Duration;

use tokio::time::sleep;

use crate::Outcome;
use crate::fleet::NodeProcess;
use crate::procfs;
use crate::push::{self, Clients, Load};
use crate::stats::float;
use crate::subscribe::{self, STREAMS_EACH};
use crate::swarm::{Follow, Swarm};

use super::Bench;
use super::nchan::{self, Nchan};
use super::row::{Bound, Row};
use super::statements::Statements;

/// Streams on one space.
const STREAMS: usize = 5_000;
/// Writers, and pushes a second of all together, for deliveries.
const WRITERS: usize = 4;
const RATE: f64 = 10.0;
/// Writers that push as fast as they are answered.
const MANY_WRITERS: usize = 64;
/// What was opened or pushed has arrived after this.
const SETTLE: Duration = Duration::from_secs(2);
/// What the opening of so many took for a moment is given back after this, by either server.
const REST: Duration = Duration::from_secs(5);
const SPACE: &str = "everybody";
const DATABASE: &str = "streams";

/// Streams of one server.
struct Side {
    swarm: Swarm,
    pid: u32,
    /// Private memory per idle stream.
    bytes: f64,
}

impl Side {
    async fn open(url: &url::Url, pid: u32, follow: &Follow) -> Outcome<Self> {
        let before = procfs::memory(pid)?;
        let swarm = Swarm::open(std::slice::from_ref(url), follow, STREAMS).await?;
        if swarm.failed > 0 {
            return Err(format!("{} of {STREAMS} streams failed", swarm.failed).into());
        }
        sleep(REST).await;
        let after = procfs::memory(pid)?;
        let more = after.private.saturating_sub(before.private);
        Ok(Self { swarm, pid, bytes: float(more) / float(swarm_size()) })
    }

    /// What came, and the CPU seconds used since.
    async fn since(&mut self, cpu: f64) -> Outcome<(u64, f64)> {
        sleep(SETTLE).await;
        let used = procfs::cpu(self.pid)? - cpu;
        Ok((self.swarm.report().await?.events, used))
    }
}

fn swarm_size() -> u64 {
    STREAMS as u64
}

/// Our node, with those who push.
struct Ours {
    side: Side,
    writers: Clients,
    many: Clients,
    statements: Statements,
    _node: NodeProcess,
}

impl Ours {
    async fn start(bench: &Bench) -> Outcome<Self> {
        let ground = &bench.ground;
        (0..MANY_WRITERS).for_each(|number| ground.issuer.join(&push::user(number), SPACE));
        for number in (0..STREAMS).step_by(STREAMS_EACH) {
            ground.issuer.join(&subscribe::user(number), SPACE);
        }
        let database = ground.database(DATABASE).await?;
        let node = ground.node(&database, &[]).await?;
        let (tokens, targets) = (ground.tokens()?, [node.target.clone()]);
        let mut writers = Clients::connect(&targets, &tokens, WRITERS).await?;
        let mut many = Clients::connect(&targets, &tokens, MANY_WRITERS).await?;
        // So that what a node holds anyhow is not counted for the streams; not into the space,
        // whose history those who join it would read.
        many.run(&Load { space: None, ..load(1, None) }).await;
        writers.run(&Load { space: None, ..load(1, None) }).await;
        let token_url = tokens.url().to_owned();
        let follow = Follow::App { name: "loadtest".to_owned(), token_url };
        let side = Side::open(&node.url, node.pid, &follow).await?;
        let statements = Statements::of(ground, DATABASE).await?;
        Ok(Self { side, writers, many, statements, _node: node })
    }

    /// Deliveries a CPU second, and reads of feeds a change.
    async fn deliver(&mut self, seconds: u64) -> Outcome<(f64, f64)> {
        self.side.swarm.report().await?;
        self.statements.reset().await?;
        let cpu = procfs::cpu(self.side.pid)?;
        let outcomes = self.writers.run(&load(seconds, Some(RATE))).await;
        let (events, used) = self.side.since(cpu).await?;
        let expected = outcomes.pushes * swarm_size();
        if outcomes.failures > 0 || events < expected {
            eprintln!("streams: {events} of {expected} deliveries in time");
        }
        let reads = float(self.statements.calls("sync_feeds").await?.unsigned_abs());
        Ok((float(events) / used, reads / float(outcomes.pushes)))
    }

    /// Reads of feeds a change, while many push as fast as they can.
    async fn under_load(&mut self, seconds: u64) -> Outcome<f64> {
        self.statements.reset().await?;
        let outcomes = self.many.run(&load(seconds, None)).await;
        let reads = float(self.statements.calls("sync_feeds").await?.unsigned_abs());
        let pages = self.statements.calls("sync_page").await?;
        eprintln!(
            "streams under load: {:.0} pushes/s, {} failed, {reads:.0} reads of feeds, {pages} pages \
             of streams that fell behind",
            outcomes.rate(),
            outcomes.failures
        );
        Ok(reads / float(outcomes.pushes.max(1)))
    }
}

fn load(seconds: u64, rate: Option<f64>) -> Load {
    Load {
        clients: 0,
        changes: 1,
        seconds,
        rate,
        space: Some(SPACE.to_owned()),
        app: "loadtest".to_owned(),
    }
}

/// nchan, where it is installed.
struct Theirs {
    side: Side,
    nchan: Nchan,
}

impl Theirs {
    async fn start() -> Outcome<Option<Self>> {
        if nchan::missing().is_some() {
            return Ok(None);
        }
        let nchan = Nchan::start().await?;
        nchan.publish(WRITERS, RATE, Duration::from_secs(1)).await?;
        let follow = Follow::Path(nchan::STREAM.to_owned());
        let side = Side::open(nchan.url(), nchan.pid(), &follow).await?;
        Ok(Some(Self { side, nchan }))
    }

    async fn deliver(&mut self, seconds: u64) -> Outcome<f64> {
        self.side.swarm.report().await?;
        let cpu = procfs::cpu(self.side.pid)?;
        let published = self.nchan.publish(WRITERS, RATE, Duration::from_secs(seconds)).await?;
        let (events, used) = self.side.since(cpu).await?;
        let expected = published * swarm_size();
        if events < expected {
            eprintln!("streams: nchan brought {events} of {expected} in time");
        }
        Ok(float(events) / used)
    }
}

/// All rows about streams.
pub(super) async fn streams(bench: &Bench) -> Outcome<Vec<Row>> {
    bench.say("streams: opening", 0);
    let mut ours = Ours::start(bench).await?;
    let mut theirs = Theirs::start().await?;
    let (mut delivered, mut reads, mut theirs_delivered) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.args.rounds {
        bench.say("streams", round);
        let (each, read) = ours.deliver(bench.args.seconds).await?;
        delivered.push(each);
        reads.push(read);
        if let Some(theirs) = &mut theirs {
            theirs_delivered.push(theirs.deliver(bench.args.seconds).await?);
        }
    }
    let bytes: Vec<f64> = theirs.iter().map(|theirs| theirs.side.bytes).collect();
    drop(theirs);
    let mut loaded = Vec::new();
    for _ in 0..bench.args.rounds.min(2) {
        loaded.push(ours.under_load(bench.args.seconds).await?);
    }
    ours.statements.close().await?;
    Ok(vec![
        Row::new("reads of feeds a change, 5,000 streams on one space", &reads, &[])
            .asked(Bound::AtMost(1.1), None),
        Row::new("the same, 64 clients push as fast as they can", &loaded, &[])
            .asked(Bound::AtMost(1.1), Some(Bound::AtMost(0.1))),
        Row::new(
            "private bytes an idle stream of 5,000, against nchan",
            &[ours.side.bytes],
            &bytes,
        )
        .asked(Bound::RatioAtMost(1.0), Some(Bound::AtMost(1024.0))),
        Row::new(
            "deliveries a CPU second, 5,000 streams, against nchan",
            &delivered,
            &theirs_delivered,
        )
        .asked(Bound::RatioAtLeast(1.2), Some(Bound::RatioAtLeast(4.0))),
    ])
}
