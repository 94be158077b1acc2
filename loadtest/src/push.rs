//! `push`: clients that push, in a closed loop (each as fast as it is answered) or an open one (a
//! fixed rate, each latency counted from the moment that the push was due, so that a slow answer
//! hides no waiting).

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep_until};
use url::Url;

use crate::Outcome;
use crate::client::{Connection, Target, mark};
use crate::fleet::Ground;
use crate::stats::{self, Latencies, float};
use crate::tokens::{TokenArgs, Tokens};

/// The flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// URL of a node; repeat it for several, over which the clients are spread. Without one, a
    /// fleet is started.
    #[arg(long = "node", value_name = "URL")]
    nodes: Vec<Url>,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    load: Load,
}

/// What is pushed, by how many, for how long.
#[derive(Debug, Clone, clap::Args)]
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

pub(crate) async fn run(args: Args) -> Outcome {
    let ground = if args.nodes.is_empty() { Some(Ground::start().await?) } else { None };
    let (mut own, mut targets) = (None, Vec::new());
    for url in &args.nodes {
        targets.push(Target::resolve(url).await?);
    }
    let tokens = match (&ground, &args.tokens.token_url) {
        (Some(ground), _) => {
            let database = ground.database("push").await?;
            let node = ground.node(&database, &[]).await?;
            targets.push(node.target.clone());
            own = Some(node);
            ground.tokens()?
        }
        (None, Some(url)) => Tokens::new(url)?,
        (None, None) => return Err("--token-url says where tokens of the fleet come from".into()),
    };
    if let (Some(ground), Some(space)) = (&ground, &args.load.space) {
        (0..args.load.clients).for_each(|number| ground.issuer.join(&user(number), space));
    }
    let mut clients = Clients::connect(&targets, &tokens, args.load.clients).await?;
    let outcomes = clients.run(&args.load).await;
    print(&outcomes, args.load.changes);
    drop(own);
    Ok(())
}

fn print(outcomes: &Outcomes, changes: usize) {
    println!(
        "{:.0} pushes/s, {:.0} changes/s, {} failed",
        outcomes.rate(),
        outcomes.rate() * float(changes as u64),
        outcomes.failures
    );
    let at = |q| stats::quantile(&outcomes.latencies, q);
    println!(
        "latency: median {:.1?}, p90 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, max {:.1?}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
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
                name: format!("client-{number}"),
                pushed: 0,
            });
        }
        Ok(Self(clients))
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
        let mut all =
            Outcomes { pushes: 0, failures: 0, took: Duration::ZERO, latencies: stats::latencies() };
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
        let mut mine =
            Outcomes { pushes: 0, failures: 0, took: Duration::ZERO, latencies: stats::latencies() };
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
