//! Pushes a second, ours against what plain servers do.

use std::time::Duration;

use mana_sync::doorbell::CHANNEL;

use crate::Outcome;
use crate::fleet::NodeProcess;
use crate::push::{Clients, Load, user};

use super::Bench;
use super::baseline::{self, Baseline, Kind};
use super::listeners::Listeners;
use super::row::{Bound, Row};

/// Clients that push single changes.
const CLIENTS: usize = 64;
/// Clients that push many at once.
const BATCH_CLIENTS: usize = 32;
/// How many those push.
const BATCH: usize = 100;
/// Idle listeners.
const LISTENERS: usize = 100;

/// What is pushed: into the user's own feed, or into a space.
fn load(clients: usize, changes: usize, seconds: u64, space: Option<&str>) -> Load {
    Load {
        clients,
        changes,
        seconds,
        rate: None,
        space: space.map(str::to_owned),
        app: "loadtest".to_owned(),
    }
}

/// A database with a node and its clients, and one with the clients of a baseline and a listener
/// to their notifications: without anybody who listens, there would be no need for them.
struct Field<'a> {
    bench: &'a Bench,
    url: String,
    _node: NodeProcess,
    ours: Clients,
    theirs: Baseline,
    _listener: Listeners,
}

impl<'a> Field<'a> {
    async fn new(bench: &'a Bench, name: &str, clients: usize) -> Outcome<Self> {
        let url = bench.ground.database(name).await?;
        let plain = bench.ground.database(&format!("{name}_plain")).await?;
        Baseline::prepare(&plain).await?;
        let node = bench.ground.node(&url, &[]).await?;
        let targets = [node.target.clone()];
        let ours = Clients::connect(&targets, &bench.ground.tokens()?, clients).await?;
        let theirs = Baseline::connect(&plain, clients).await?;
        let listener = Listeners::connect(&plain, baseline::CHANNEL, 1).await?;
        Ok(Self { bench, url, _node: node, ours, theirs, _listener: listener })
    }

    /// Our pushes a second.
    async fn ours(&mut self, load: &Load) -> Outcome<f64> {
        let outcomes = self.ours.run(load).await;
        if outcomes.failures > 0 {
            return Err(format!("{} pushes failed", outcomes.failures).into());
        }
        Ok(outcomes.rate())
    }

    /// A baseline's.
    async fn theirs(&mut self, kind: Kind) -> Outcome<f64> {
        self.theirs.run(kind, Duration::from_secs(self.bench.args.seconds)).await
    }

    /// Both, for a moment that does not count.
    async fn warm_up(&mut self, load: &Load, kind: Kind) -> Outcome {
        self.ours(&Load { seconds: 1, ..load.clone() }).await?;
        self.theirs.run(kind, Duration::from_secs(1)).await?;
        Ok(())
    }
}

/// One change a push, against one transaction a push, with and without its notification.
pub(super) async fn single(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut field = Field::new(bench, "single", CLIENTS).await?;
    let load = load(CLIENTS, 1, bench.args.seconds, None);
    let (mut ours, mut notifying, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    field.warm_up(&load, Kind::Insert).await?;
    for round in 0..bench.args.rounds {
        bench.say("push", round);
        ours.push(field.ours(&load).await?);
        notifying.push(field.theirs(Kind::InsertAndNotify).await?);
        plain.push(field.theirs(Kind::Insert).await?);
    }
    Ok(vec![
        Row::new("pushes/s, 64 clients, against insert + notify", &ours, &notifying)
            .asked(Bound::RatioAtLeast(10.0), Some(Bound::RatioAtLeast(40.0))),
        Row::new("pushes/s, 64 clients, against insert", &ours, &plain)
            .asked(Bound::RatioAtLeast(1.0), Some(Bound::RatioAtLeast(2.0))),
    ])
}

/// A hundred changes a push, against an insert of a hundred rows.
pub(super) async fn batch(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut field = Field::new(bench, "batch", BATCH_CLIENTS).await?;
    let load = load(BATCH_CLIENTS, BATCH, bench.args.seconds, None);
    let kind = Kind::InsertMany(BATCH);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    field.warm_up(&load, kind).await?;
    for round in 0..bench.args.rounds {
        bench.say("batch", round);
        ours.push(field.ours(&load).await? * 100.0);
        theirs.push(field.theirs(kind).await? * 100.0);
    }
    Ok(vec![
        Row::new("changes/s, 32 clients, 100 a push, against unnest insert", &ours, &theirs)
            .asked(Bound::RatioAtLeast(0.5), Some(Bound::RatioAtLeast(0.8))),
    ])
}

/// All clients into one space, against each into its own.
pub(super) async fn one_space(bench: &Bench) -> Outcome<Vec<Row>> {
    for number in 0..CLIENTS {
        bench.ground.issuer.join(&user(number), "all");
        bench.ground.issuer.join(&user(number), &format!("of-client-{number}"));
    }
    let mut field = Field::new(bench, "one_space", CLIENTS).await?;
    let seconds = bench.args.seconds;
    let one = load(CLIENTS, 1, seconds, Some("all"));
    let many = load(CLIENTS, 1, seconds, Some("of-{client}"));
    let (mut in_one, mut in_many) = (Vec::new(), Vec::new());
    field.warm_up(&one, Kind::Insert).await?;
    for round in 0..bench.args.rounds {
        bench.say("one space", round);
        in_one.push(field.ours(&one).await?);
        in_many.push(field.ours(&many).await?);
    }
    Ok(vec![
        Row::new("pushes/s into one space, against many spaces", &in_one, &in_many)
            .asked(Bound::RatioAtLeast(0.9), Some(Bound::RatioAtLeast(1.0))),
    ])
}

/// With a hundred listeners besides the node, against without.
pub(super) async fn listeners(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut field = Field::new(bench, "listeners", CLIENTS).await?;
    let load = load(CLIENTS, 1, bench.args.seconds, None);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    field.warm_up(&load, Kind::Insert).await?;
    for round in 0..bench.args.rounds {
        bench.say("listeners", round);
        let listeners = Listeners::connect(&field.url, CHANNEL, LISTENERS).await?;
        with.push(field.ours(&load).await?);
        listeners.close().await;
        without.push(field.ours(&load).await?);
    }
    Ok(vec![
        Row::new("pushes/s with 100 idle listeners, against without", &with, &without)
            .asked(Bound::RatioAtLeast(0.9), Some(Bound::RatioAtLeast(1.0))),
    ])
}

/// Where group commit helps nobody: a single client. Nothing is asked, but it is told.
pub(super) async fn one_client(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut field = Field::new(bench, "one_client", 1).await?;
    let load = load(1, 1, bench.args.seconds, None);
    let (mut ours, mut plain, mut notifying) = (Vec::new(), Vec::new(), Vec::new());
    field.warm_up(&load, Kind::Insert).await?;
    for round in 0..bench.args.rounds {
        bench.say("one client", round);
        ours.push(field.ours(&load).await?);
        plain.push(field.theirs(Kind::Insert).await?);
        notifying.push(field.theirs(Kind::InsertAndNotify).await?);
    }
    Ok(vec![
        Row::new("weak: pushes/s, one client, against insert", &ours, &plain),
        Row::new("weak: pushes/s, one client, against insert + notify", &ours, &notifying),
    ])
}
