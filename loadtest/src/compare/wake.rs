//! From a push on one node to its event on another, against a flush and a bare notification.

use std::time::Duration;

use futures::future::try_join;
use sqlx::PgConnection;
use sqlx::postgres::PgListener;
use tokio::time::{Instant, sleep, timeout};

use crate::Outcome;
use crate::client::{Connection, now_nanos, take_marks};
use crate::push::{Load, body, user};
use crate::stats::{self, Latencies, quantile};

use super::Bench;
use super::baseline::connect;
use super::flush::Flush;
use super::row::{Bound, Row};

/// Between two pushes: the load is light.
const PAUSE: Duration = Duration::from_millis(5);
/// An event that has not come after this is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that pushes on one node, and a stream of the same user on another.
struct Ours {
    pushing: Connection,
    stream: Connection,
    token: String,
    load: Load,
    pushed: u64,
}

impl Ours {
    async fn once(&mut self) -> Outcome<Duration> {
        let body = body(&self.load, "pushing", self.pushed);
        self.pushed += 1;
        let push = async {
            let answer = self.pushing.push("loadtest", &self.token, "pushing", &body).await?;
            if answer.status == 200 { Ok(()) } else { Err("a push failed".into()) }
        };
        let stream = &mut self.stream;
        let arrival = async { timeout(PATIENCE, arrival(stream)).await? };
        let (took, ()) = try_join(arrival, push).await?;
        Ok(took)
    }
}

/// The time from the making of the next change to its arrival.
async fn arrival(stream: &mut Connection) -> Outcome<Duration> {
    loop {
        let open = stream.more().await?;
        let (now, mut made) = (now_nanos(), None);
        take_marks(stream.unread(), |nanos| made = Some(nanos));
        match made {
            Some(made) => return Ok(Duration::from_nanos(now.saturating_sub(made))),
            None if open => {}
            None => return Err("the stream ended".into()),
        }
    }
}

/// A flush, then a notification from one connection to another.
struct Bare {
    flush: Flush,
    notifying: PgConnection,
    listener: PgListener,
}

impl Bare {
    async fn once(&mut self) -> Outcome<Duration> {
        let flush = self.flush.once()?;
        let begun = Instant::now();
        let notify = sqlx::query("select pg_notify('bare', $1)").bind("x".repeat(100));
        let notify = async { Ok(notify.execute(&mut self.notifying).await.map(drop)?) };
        let listener = &mut self.listener;
        let heard = async {
            timeout(PATIENCE, listener.recv()).await??;
            Outcome::Ok(begun.elapsed())
        };
        let (took, ()) = try_join(heard, notify).await?;
        Ok(flush + took)
    }
}

fn p99(latencies: &Latencies) -> f64 {
    quantile(latencies, 0.99).as_secs_f64() * 1e3
}

/// The row.
pub(super) async fn wake(bench: &Bench) -> Outcome<Vec<Row>> {
    let ground = &bench.ground;
    let url = ground.database("wake").await?;
    let (here, there) = (ground.node(&url, &[]).await?, ground.node(&url, &[]).await?);
    let token = ground.tokens()?.of(&user(0)).await?;
    let mut stream = there.target.connect().await?;
    let path = format!("/sync/loadtest/stream?since={:.6}", jiff::Timestamp::now());
    if stream.begin_stream(&path, &token, "listening").await? != 200 {
        return Err("a stream was refused".into());
    }
    let load = Load {
        clients: 1,
        changes: 1,
        seconds: 0,
        rate: None,
        space: None,
        app: "loadtest".to_owned(),
    };
    let mut ours = Ours { pushing: here.target.connect().await?, stream, token, load, pushed: 0 };
    let mut listener = PgListener::connect(&url).await?;
    listener.listen("bare").await?;
    let flush = Flush::beside(ground.postgres.data())?;
    let mut bare = Bare { flush, notifying: connect(&url).await?, listener };

    let time = Duration::from_secs(bench.args.seconds);
    let (mut pushed, mut heard) = (Vec::new(), Vec::new());
    for round in 0..=bench.args.rounds {
        let (mut mine, mut theirs) = (stats::latencies(), stats::latencies());
        let end = Instant::now() + time;
        while Instant::now() < end {
            stats::record(&mut mine, ours.once().await?);
            sleep(PAUSE).await;
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            stats::record(&mut theirs, bare.once().await?);
            sleep(PAUSE).await;
        }
        // The first is the warm-up.
        if round > 0 {
            bench.say("wake", round - 1);
            pushed.push(p99(&mine));
            heard.push(p99(&theirs));
        }
    }
    Ok(vec![
        Row::new(
            "p99 ms from push to event on another node, against flush + NOTIFY",
            &pushed,
            &heard,
        )
        .asked(Bound::RatioAtMost(2.0), Some(Bound::RatioAtMost(1.2))),
    ])
}
