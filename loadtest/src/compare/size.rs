//! Pulls of the same page from a small log and from a large one.

use std::time::Duration;

use tokio::time::Instant;

use crate::Outcome;
use crate::client::Connection;
use crate::fleet::NodeProcess;
use crate::stats::{self, quantile};
use crate::stored::{self, READER, page};

use super::Bench;
use super::row::{Bound, Row};

const FEW: u32 = 10_000;
const MANY: u32 = 10_000_000;
const QUICK: u32 = 1_000_000;
/// A page of 1,000 changes has more bytes than this.
const LEAST_BYTES: usize = 100_000;
/// Pulls before those that are timed.
const WARM_UP: usize = 20;

/// A log, a node on it, and a client that pulls.
struct Side {
    connection: Connection,
    token: String,
    path: String,
    _node: NodeProcess,
}

impl Side {
    async fn new(bench: &Bench, name: &str, rows: u32) -> Outcome<Self> {
        let stored = stored::store(&bench.ground, name, rows).await?;
        let node = bench.ground.node(&stored.url, &[]).await?;
        let token = bench.ground.tokens()?.of(READER).await?;
        let connection = node.target.connect().await?;
        Ok(Self { connection, token, path: page(&stored.middle), _node: node })
    }

    async fn pull(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        let answer = self.connection.get(&self.path, &self.token, "reading").await?;
        if answer.status != 200 || answer.body.len() < LEAST_BYTES {
            return Err(format!("no page: {} of {} bytes", answer.status, answer.body.len()).into());
        }
        Ok(begun.elapsed())
    }
}

/// The row.
pub(super) async fn size(bench: &Bench) -> Outcome<Vec<Row>> {
    let many = if bench.args.quick { QUICK } else { MANY };
    eprintln!("size: storing {many} changes");
    let mut large = Side::new(bench, "large", many).await?;
    let mut small = Side::new(bench, "small", FEW).await?;
    for _ in 0..WARM_UP {
        large.pull().await?;
        small.pull().await?;
    }
    let (mut slow, mut quick) = (Vec::new(), Vec::new());
    for round in 0..bench.args.rounds {
        bench.say("size", round);
        let (mut with_many, mut with_few) = (stats::latencies(), stats::latencies());
        let end = Instant::now() + Duration::from_secs(bench.args.seconds);
        while Instant::now() < end {
            stats::record(&mut with_many, large.pull().await?);
            stats::record(&mut with_few, small.pull().await?);
        }
        slow.push(quantile(&with_many, 0.5).as_secs_f64() * 1e3);
        quick.push(quantile(&with_few, 0.5).as_secs_f64() * 1e3);
    }
    let name =
        format!("ms to pull 1,000 of {} million changes, against 10 thousand", many / 1_000_000);
    Ok(vec![
        Row::new(&name, &slow, &quick)
            .asked(Bound::RatioAtMost(1.3), Some(Bound::RatioAtMost(1.0))),
    ])
}
