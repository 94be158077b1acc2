//! `push`: clients that push, in a closed loop (each as fast as it is answered) or an open one (a
//! fixed rate, each latency counted from the moment that the push was due, so that a slow answer
//! hides no waiting).

mod sweep;

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::Outcome;
use crate::aim::{Aim, AimArgs};
use crate::client::{Connection, Target, mark};
use crate::plot::Plot;
use crate::progress::Progress;
use crate::report::{Output, Report, percentiles};
use crate::stats::{self, Latencies, float};
use crate::tokens::Tokens;

/// The flags.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Args {
    #[command(flatten)]
    aim: AimArgs,
    #[command(flatten)]
    load: Load,
    /// Numbers of clients to run one after another, instead of `--clients`.
    #[arg(long, value_name = "CLIENTS,…", value_delimiter = ',', num_args = 1..=32)]
    sweep: Vec<usize>,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

/// What is pushed, by how many, for how long.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Load {
    /// Clients, each with a connection and a user of its own.
    #[arg(long, default_value_t = 64)]
    pub(crate) clients: usize,
    /// Changes of each push.
    #[arg(long, default_value_t = 1)]
    pub(crate) changes: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Pushes a second of all clients together; without it, each pushes as fast as it is answered.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Space into which all push, `{client}` in it replaced by the client's name; without it, each
    /// pushes into its user's own feed.
    #[arg(long)]
    pub(crate) space: Option<String>,
    /// App into which they push.
    #[arg(long, default_value = "loadtest")]
    pub(crate) app: String,
}

/// What a run brought.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes {
    pub(crate) pushes: u64,
    pub(crate) failures: u64,
    pub(crate) took: Duration,
    pub(crate) latencies: Latencies,
}

impl Outcomes {
    /// Pushes a second.
    pub(crate) fn rate(&self) -> f64 {
        float(self.pushes) / self.took.as_secs_f64()
    }
}

/// Clients that are connected, with their tokens.
pub(crate) struct Clients(Vec<Client>);

struct Client {
    connection: Connection,
    token: String,
    name: String,
    pushed: u64,
}

/// The user behind a client's number.
pub(crate) fn user(number: usize) -> String {
    format!("user-{number}")
}

/// The client of this number.
fn name(number: usize) -> String {
    format!("client-{number}")
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut report = Report::begin("push", &args);
    let aim = Aim::take(&args.aim).await?;
    report.environment(aim.host().await);
    let most = args.sweep.iter().copied().fold(args.load.clients, usize::max);
    if let Some(space) = &args.load.space {
        for number in 0..most {
            aim.join(&user(number), &space.replace("{client}", &name(number)));
        }
    }
    if args.sweep.is_empty() {
        once(&args, &aim, &mut report).await?;
    } else {
        sweep::run(&args, &aim, &mut report).await?;
    }
    report.finish(&args.output)
}

/// One run, with its figures.
async fn once(args: &Args, aim: &Aim, report: &mut Report) -> Outcome {
    let mut clients = Clients::connect(&aim.targets, &aim.tokens, args.load.clients).await?;
    let bar = Progress::time("pushing", Duration::from_secs(args.load.seconds));
    let outcomes = bar.beside(clients.run(&args.load)).await;
    args.output.say(&lines(&outcomes, args.load.changes));
    report.figure("pushes_a_second", outcomes.rate());
    report.figure("changes_a_second", outcomes.rate() * float(args.load.changes as u64));
    report.figure("failures", outcomes.failures);
    report.figure("latency", percentiles(&outcomes.latencies));
    let plot = Plot::percentiles("Latency of a push", &[("push", &outcomes.latencies)]);
    report.plot("percentiles", plot);
    Ok(())
}

fn lines(outcomes: &Outcomes, changes: usize) -> String {
    let at = |q| stats::quantile(&outcomes.latencies, q);
    format!(
        "{:.0} pushes/s, {:.0} changes/s, {} failed\n\
         latency: median {:.1?}, p90 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, max {:.1?}",
        outcomes.rate(),
        outcomes.rate() * float(changes as u64),
        outcomes.failures,
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}

impl Clients {
    /// Connects so many, spread over the nodes.
    pub(crate) async fn connect(
        targets: &[Target],
        tokens: &Tokens,
        count: usize,
    ) -> Outcome<Self> {
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            let target = targets.get(number % targets.len().max(1)).ok_or("no node")?;
            clients.push(Client {
                connection: target.connect().await?,
                token: tokens.of(&user(number)).await?,
                name: name(number),
                pushed: 0,
            });
        }
        Ok(Self(clients))
    }

    /// Connects so many clients of one user.
    pub(crate) async fn of_one(
        targets: &[Target],
        tokens: &Tokens,
        user: &str,
        count: usize,
    ) -> Outcome<Self> {
        let mut clients = Self::connect(targets, tokens, count).await?;
        let token = tokens.of(user).await?;
        for client in &mut clients.0 {
            client.token.clone_from(&token);
            client.name = format!("{user}-{}", client.name);
        }
        Ok(clients)
    }

    /// Puts the load on.
    pub(crate) async fn run(&mut self, load: &Load) -> Outcomes {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(load.seconds);
        let count = self.0.len();
        let runs = self.0.iter_mut().enumerate().map(|(number, client)| {
            let pace = load.rate.map(|rate| {
                let every = Duration::from_secs_f64(float(count as u64) / rate);
                // Spread over the first interval.
                (begun + every.mul_f64(float(number as u64) / float(count as u64)), every)
            });
            client.run(load, pace, end)
        });
        let mut all = Outcomes {
            pushes: 0,
            failures: 0,
            took: Duration::ZERO,
            latencies: stats::latencies(),
        };
        for one in join_all(runs).await {
            all.pushes += one.pushes;
            all.failures += one.failures;
            all.latencies.add(one.latencies).ok();
        }
        all.took = begun.elapsed();
        all
    }
}

impl Client {
    async fn run(
        &mut self,
        load: &Load,
        pace: Option<(Instant, Duration)>,
        end: Instant,
    ) -> Outcomes {
        let mut mine = Outcomes {
            pushes: 0,
            failures: 0,
            took: Duration::ZERO,
            latencies: stats::latencies(),
        };
        let mut due = pace.map(|(first, _)| first);
        loop {
            if let Some(due) = due {
                sleep_until(due.min(end)).await;
            }
            let begun = Instant::now();
            if begun >= end {
                return mine;
            }
            let body = body(load, &self.name, self.pushed);
            self.pushed += 1;
            match self.connection.push(&load.app, &self.token, &self.name, &body).await {
                Ok(answer) if answer.status == 200 => {
                    mine.pushes += 1;
                    stats::record(&mut mine.latencies, due.unwrap_or(begun).elapsed());
                }
                Ok(_) => mine.failures += 1,
                Err(_) => {
                    mine.failures += 1;
                    return mine;
                }
            }
            due = due.zip(pace).map(|(due, (_, every))| due + every);
        }
    }
}

/// A changeset of inserts that carry the moment they were made. It reads from the future, so
/// that what others pushed is not read with it.
pub(crate) fn body(load: &Load, client: &str, number: u64) -> Vec<u8> {
    let space = load.space.as_ref().map_or_else(String::new, |space| {
        format!(",\"spaceId\":{}", serde_json::Value::from(space.replace("{client}", client)))
    });
    let changes: Vec<String> = (0..load.changes)
        .map(|change| {
            format!(
                "{{\"table\":\"tasks\",\"id\":\"{client}-{number}-{change}\",\"op\":\"insert\",\
                 \"data\":{{\"title\":\"Buy milk and bread\",\"done\":false,\"order\":{change},\
                 \"at\":\"{}\"}}{space}}}",
                mark()
            )
        })
        .collect();
    format!("{{\"since\":\"2999-01-01T00:00:00Z\",\"changes\":[{}]}}", changes.join(","))
        .into_bytes()
}
