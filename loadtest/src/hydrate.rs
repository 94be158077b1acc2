//! `hydrate`: a new device reads all that its user has, by pull and by stream, against a `COPY` of
//! the same rows, in interleaved rounds.

use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, timeout};

use crate::Outcome;
use crate::aim::{Aim, AimArgs};
use crate::client::Connection;
use crate::events::Events;
use crate::page::{count, cursor, is_there_more};
use crate::plot::Plot;
use crate::progress::Progress;
use crate::push::{self, Load};
use crate::report::{Output, Report, percentiles};
use crate::stats::{self, Latencies, Rounds, float};

/// Changes of a push that fills the user's feed.
const FILLING: usize = 500;
/// One reading has no end after this.
const PATIENCE: Duration = Duration::from_mins(5);

/// The flags.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Args {
    #[command(flatten)]
    aim: AimArgs,
    /// Changes that the new device reads.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    changes: u64,
    /// Rounds, each of a pull, a stream and a copy.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

/// What one reading brought.
#[derive(Debug, Clone, Copy)]
struct Reading {
    bytes: usize,
    took: Duration,
}

/// Changes read so far, and the milliseconds since the beginning.
type Course = Vec<(f64, f64)>;

/// What the rounds of one way of reading brought.
#[derive(Debug, Serialize)]
struct Way {
    name: &'static str,
    changes_a_second: Rounds,
    megabytes_a_second: Rounds,
    bytes_a_change: f64,
    /// Rate of changes against that of the copy of the same round.
    against_copy: Option<Rounds>,
}

/// A device, and whose it is.
struct Device<'a> {
    aim: &'a Aim,
    app: String,
    user: String,
    token: String,
    changes: u64,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut report = Report::begin("hydrate", &args);
    let aim = Aim::take(&args.aim).await?;
    report.environment(aim.host().await);
    // A user that nothing was pushed for yet.
    let user = format!("hydrate-{}", uuid::Uuid::now_v7());
    let token = aim.tokens.of(&user).await?;
    let device =
        Device { aim: &aim, app: "hydrate".to_owned(), user, token, changes: args.changes };
    device.fill().await?;

    let mut pages = stats::latencies();
    let (mut pulls, mut streams, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut pulled, mut streamed) = (Course::new(), Course::new());
    let bar = Progress::count("reading", u64::from(args.rounds));
    for _ in 0..args.rounds {
        pulls.push(timeout(PATIENCE, device.pull(&mut pages, &mut pulled)).await??);
        streams.push(timeout(PATIENCE, device.stream(&mut streamed)).await??);
        if let Some(url) = aim.admin_url() {
            copies.push(timeout(PATIENCE, device.copy(&url)).await??);
        }
        bar.add(1);
    }
    drop(bar);

    let ways = [("pull", pulls), ("stream", streams), ("copy", copies.clone())];
    let ways = ways.map(|(way, readings)| Way::of(way, &readings, &copies, args.changes));
    print(&args, &ways, &pages, aim.is_own());
    report.figure("ways", &ways);
    report.figure("page", percentiles(&pages));
    report.plot("pages", Plot::percentiles("Latency of a page of 1,000", &[("page", &pages)]));
    let plot = Plot::cost("Time to read so many changes, last round", "changes", "ms");
    report.plot("course", plot.curve("pull", pulled).curve("stream", streamed));
    report.finish(&args.output)
}

fn print(args: &Args, ways: &[Way], pages: &Latencies, has_copy: bool) {
    let say = |line: &str| args.output.say(line);
    say(&format!(
        "{} changes of one user, medians of {} rounds (lowest – highest)",
        args.changes, args.rounds
    ));
    say("way         changes/s                        MB/s   bytes/change   against COPY");
    for way in ways.iter().filter(|way| has_copy || way.name != "copy") {
        let rate = way.changes_a_second;
        let ratio = way.against_copy.map_or_else(String::new, |r| {
            format!("{:.2}× ({:.2} – {:.2})", r.median, r.min, r.max)
        });
        say(&format!(
            "{:<8} {:>9.0} ({:>8.0} – {:>8.0}) {:>8.1} {:>14.0}   {ratio}",
            way.name,
            rate.median,
            rate.min,
            rate.max,
            way.megabytes_a_second.median,
            way.bytes_a_change
        ));
    }
    let at = |q| stats::quantile(pages, q);
    say(&format!(
        "page of 1,000: median {:.1?}, p99 {:.1?}, max {:.1?}",
        at(0.5),
        at(0.99),
        at(1.0)
    ));
    if !has_copy {
        say("COPY is left out: the fleet's database is not known here.");
    }
}

impl Way {
    fn of(name: &'static str, readings: &[Reading], copies: &[Reading], changes: u64) -> Self {
        let rate = |reading: &Reading| float(changes) / reading.took.as_secs_f64();
        let size = |reading: &Reading| float(reading.bytes as u64);
        let all = |value: &dyn Fn(&Reading) -> f64| {
            Rounds::of(&readings.iter().map(value).collect::<Vec<_>>())
        };
        let pairs = readings.iter().zip(copies);
        let ratios: Vec<f64> = pairs.map(|(one, copy)| rate(one) / rate(copy)).collect();
        Self {
            name,
            changes_a_second: all(&rate),
            megabytes_a_second: all(&|reading| size(reading) / reading.took.as_secs_f64() / 1e6),
            bytes_a_change: all(&|reading| size(reading) / float(changes)).median,
            against_copy: (!ratios.is_empty()).then(|| Rounds::of(&ratios)),
        }
    }
}

impl Device<'_> {
    /// Pushes what is to be read, from another device of the user.
    async fn fill(&self) -> Outcome {
        let mut connection = self.connect().await?;
        let bar = Progress::count("pushing", self.changes);
        let mut done = 0;
        for number in 0.. {
            let left = usize::try_from(self.changes - done)?;
            let changes = left.min(FILLING);
            if changes == 0 {
                break;
            }
            let load = Load {
                clients: 1,
                changes,
                seconds: 0,
                rate: None,
                space: None,
                app: self.app.clone(),
            };
            let body = push::body(&load, "writer", number);
            let answer = connection.push(&self.app, &self.token, "writer", &body).await?;
            if answer.status != 200 {
                return Err(format!("a push was answered {}", answer.status).into());
            }
            done += changes as u64;
            bar.add(changes as u64);
        }
        Ok(())
    }

    async fn connect(&self) -> Outcome<Connection> {
        self.aim.target(0)?.connect().await
    }

    /// Reads page by page until there is no more.
    async fn pull(&self, pages: &mut Latencies, course: &mut Course) -> Outcome<Reading> {
        course.clear();
        let begun = Instant::now();
        let mut connection = self.connect().await?;
        let (mut bytes, mut changes) = (0, 0);
        let mut since = "1970-01-01T00:00:00Z".to_owned();
        // A page holds a change at least.
        for _ in 0..=self.changes {
            let asked = Instant::now();
            let path = format!("/sync/{}/pull?collection=tasks&since={since}&limit=1000", self.app);
            let answer = connection.get(&path, &self.token, "reader").await?;
            if answer.status != 200 {
                return Err(format!("a pull was answered {}", answer.status).into());
            }
            stats::record(pages, asked.elapsed());
            bytes += answer.body.len();
            changes += count(&answer.body);
            course.push(point(changes, begun));
            if !is_there_more(&answer.body) {
                break;
            }
            cursor(&answer.body).ok_or("a page without a cursor")?.clone_into(&mut since);
        }
        self.reading("pull", begun, bytes, changes)
    }

    /// Reads the backlog of a stream.
    async fn stream(&self, course: &mut Course) -> Outcome<Reading> {
        course.clear();
        let begun = Instant::now();
        let path = format!("/sync/{}/stream?collections=tasks&since=", self.app);
        let target = self.aim.target(0)?;
        let mut events = Events::open(target, &path, &self.token, "reader").await?;
        let (mut bytes, mut changes) = (0, 0);
        while changes < self.changes {
            let event = events.next().await?.ok_or("the stream ended early")?;
            bytes += event.data.len();
            changes += count(&event.data);
            course.push(point(changes, begun));
        }
        self.reading("stream", begun, bytes, changes)
    }

    /// Copies the rows out of Postgres: all that the wire tells of them, in the same order.
    async fn copy(&self, url: &str) -> Outcome<Reading> {
        let begun = Instant::now();
        let mut connection = PgConnection::connect(url).await?;
        let statement = format!(
            "copy (select id, schema_version, table_name, record_id, op, data, field_timestamps, \
             space_id, actor, origin, created_at from sync_changes \
             where user_id = '{}' and app_id = '{}' order by created_at) to stdout",
            self.user, self.app
        );
        let (mut bytes, mut changes) = (0, 0);
        let mut rows = connection.copy_out_raw(&statement).await?;
        while let Some(part) = rows.next().await {
            let part = part?;
            bytes += part.len();
            changes += memchr::memchr_iter(b'\n', &part).count() as u64;
        }
        drop(rows);
        connection.close().await?;
        self.reading("copy", begun, bytes, changes)
    }

    fn reading(&self, way: &str, begun: Instant, bytes: usize, changes: u64) -> Outcome<Reading> {
        let took = begun.elapsed();
        if changes == self.changes {
            return Ok(Reading { bytes, took });
        }
        let expected = self.changes;
        Err(json!({ "way": way, "changes": changes, "expected": expected }).to_string().into())
    }
}

fn point(changes: u64, begun: Instant) -> (f64, f64) {
    (float(changes), begun.elapsed().as_secs_f64() * 1000.0)
}
