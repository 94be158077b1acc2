//! The usual life of a fleet: devices that mostly ask whether there is anything new, some that
//! push a few changes, streams that come and go, and a few spaces with many members.
//!
//! All is due at fixed times and each latency is counted from then, so that a slow answer hides
//! no waiting. A device goes on from its cursor, whatever answer it came with.

use std::time::Duration;

use fastrand::Rng;
use futures::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use crate::Outcome;
use crate::aim::Aim;
use crate::client::{Connection, Target};
use crate::events::Events;
use crate::page::cursor;
use crate::push::user;
use crate::stats::{self, float};

/// A stream stays no longer than this.
const LONGEST_STREAM: Duration = Duration::from_secs(5);
/// One device in so many has a user who is a member of a space.
const MEMBER: usize = 4;
/// A member pushes into the space once in so many pushes.
const INTO_SPACE: u32 = 20;

/// Who lives there, and how.
#[derive(Debug, Clone, clap::Args, Serialize)]
#[command(next_help_heading = "Life")]
pub(crate) struct LifeArgs {
    /// Devices that pull and push, each with a user of its own.
    #[arg(long, default_value_t = 256)]
    devices: usize,
    /// Further devices of these users that hold streams.
    #[arg(long, default_value_t = 64)]
    streams: usize,
    /// Spaces; a quarter of the users are members of one.
    #[arg(long, default_value_t = 3)]
    spaces: usize,
    /// Pushes among a hundred requests; the others are pulls.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(0..=100))]
    pushes: u32,
    /// App in which they live.
    #[arg(long, default_value = "life")]
    app: String,
    /// Seed of all that is drawn [default: a random one]
    #[arg(long)]
    #[serde(skip)]
    seed: Option<u64>,
}

impl LifeArgs {
    /// The seed, drawn where none is given.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| fastrand::u64(..))
    }
}

/// All devices.
pub(crate) struct Life {
    devices: Vec<Device>,
    watchers: Vec<Watcher>,
}

/// What both kinds of devices know.
struct Identity {
    target: Target,
    app: String,
    token: String,
    client: String,
    cursor: String,
}

struct Device {
    me: Identity,
    connection: Option<Connection>,
    space: Option<String>,
    pushes: u32,
    made: u64,
    rng: Rng,
}

struct Watcher(Identity);

/// When things are due: the first, and the time between two.
#[derive(Debug, Clone, Copy)]
struct Pace {
    due: Instant,
    every: Duration,
    end: Instant,
}

impl Life {
    /// Connects all devices, spread over the nodes.
    pub(crate) async fn begin(aim: &Aim, args: &LifeArgs, seed: u64) -> Outcome<Self> {
        let mut rng = Rng::with_seed(seed);
        let mut life = Self { devices: Vec::new(), watchers: Vec::new() };
        for number in 0..args.devices {
            let space = (args.spaces > 0 && number % MEMBER == 0)
                .then(|| format!("life-space-{}", (number / MEMBER) % args.spaces));
            if let Some(space) = &space {
                aim.join(&user(number), space);
            }
            let me = Identity::new(aim, args, number, "device").await?;
            life.devices.push(Device {
                connection: Some(me.target.connect().await?),
                me,
                space,
                pushes: args.pushes,
                made: 0,
                rng: rng.fork(),
            });
        }
        for number in 0..args.streams {
            life.watchers.push(Watcher(Identity::new(aim, args, number, "watcher").await?));
        }
        Ok(life)
    }

    /// Lives for a time, at so many requests a second.
    pub(crate) async fn run(
        &mut self,
        rate: f64,
        time: Duration,
        stop: &CancellationToken,
    ) -> Figures {
        let begun = Instant::now();
        let devices = self.devices.len().max(1);
        let every = Duration::from_secs_f64(float(devices as u64) / rate);
        let watchers = self.watchers.len().max(1);
        // A hundredth of the requests, or as many as it takes.
        let stay = Duration::from_secs_f64(float(watchers as u64) / (rate / 100.0));
        let stay = stay.min(LONGEST_STREAM);
        let pace = |number: usize, count: usize, every: Duration| Pace {
            due: begun + every.mul_f64(float(number as u64) / float(count as u64)),
            every,
            end: begun + time,
        };
        let offered_streams = float(self.watchers.len() as u64) / stay.as_secs_f64();
        let acting = self.devices.iter_mut().enumerate();
        let acting = acting.map(|(number, one)| one.live(pace(number, devices, every)));
        let watching = self.watchers.iter_mut().enumerate();
        let watching = watching.map(|(number, one)| one.live(pace(number, watchers, stay)));
        let both = async { tokio::join!(join_all(acting), join_all(watching)) };
        // Whoever stops it early does not want its figures to be whole.
        let (acted, watched) =
            stop.run_until_cancelled(both).await.unwrap_or((Vec::new(), Vec::new()));
        let mut all = Figures::none();
        acted.iter().chain(&watched).for_each(|one| all.add(one));
        all.took = begun.elapsed();
        all.offered = rate + offered_streams;
        all
    }
}

impl Identity {
    async fn new(aim: &Aim, args: &LifeArgs, number: usize, kind: &str) -> Outcome<Self> {
        Ok(Self {
            target: aim.target(number)?.clone(),
            app: args.app.clone(),
            token: aim.tokens.of(&user(number % args.devices.max(1))).await?,
            client: format!("{kind}-{number}"),
            cursor: format!("{:.6}", jiff::Timestamp::now()),
        })
    }
}

impl Device {
    async fn live(&mut self, mut pace: Pace) -> Figures {
        let mut mine = Figures::none();
        // Ends with its time: what is due lies ever further ahead.
        loop {
            sleep_until(pace.due.min(pace.end)).await;
            if Instant::now() >= pace.end {
                return mine;
            }
            if self.act(pace.due, &mut mine).await.is_err() {
                mine.failures += 1;
                self.connection = self.me.target.connect().await.ok();
            }
            pace.due += pace.every;
        }
    }

    async fn act(&mut self, due: Instant, mine: &mut Figures) -> Outcome {
        let pushes = self.rng.u32(0..100) < self.pushes;
        let body = if pushes { self.changes() } else { Vec::new() };
        let me = &mut self.me;
        // A connection that breaks down half way is not used again.
        let mut connection = self.connection.take().ok_or("no connection")?;
        let answer = if pushes {
            connection.push(&me.app, &me.token, &me.client, &body).await?
        } else {
            let path = format!("/sync/{}/pull?collection=tasks&since={}", me.app, me.cursor);
            connection.get(&path, &me.token, &me.client).await?
        };
        self.connection = Some(connection);
        if answer.status != 200 {
            return Err(format!("status {}", answer.status).into());
        }
        cursor(&answer.body).ok_or("no cursor")?.clone_into(&mut me.cursor);
        if pushes {
            stats::record(&mut mine.pushes, due.elapsed());
        } else {
            stats::record(&mut mine.pulls, due.elapsed());
            let empty = memchr::memmem::find(&answer.body, b"\"serverChanges\":[]").is_some();
            mine.nothing_new += u64::from(empty);
        }
        Ok(())
    }

    /// A changeset of 1 to 10 changes.
    fn changes(&mut self) -> Vec<u8> {
        let space = self.space.as_ref().filter(|_| self.rng.u32(0..INTO_SPACE) == 0);
        let space = space.map_or_else(String::new, |space| format!(",\"spaceId\":\"{space}\""));
        let changes: Vec<String> = (0..self.rng.u32(1..=10))
            .map(|place| {
                self.made += 1;
                format!(
                    "{{\"table\":\"tasks\",\"id\":\"{}-{}\",\"op\":\"insert\",\
                     \"data\":{{\"title\":\"Buy milk and bread\",\"done\":false,\
                     \"order\":{place}}}{space}}}",
                    self.me.client, self.made
                )
            })
            .collect();
        let (since, changes) = (&self.me.cursor, changes.join(","));
        format!("{{\"since\":\"{since}\",\"changes\":[{changes}]}}").into_bytes()
    }
}

impl Watcher {
    async fn live(&mut self, mut pace: Pace) -> Figures {
        let mut mine = Figures::none();
        loop {
            sleep_until(pace.due.min(pace.end)).await;
            if Instant::now() >= pace.end {
                return mine;
            }
            let due = pace.due;
            pace.due += pace.every;
            if self.watch(due, pace.due.min(pace.end), &mut mine).await.is_err() {
                mine.failures += 1;
            }
        }
    }

    /// Opens a stream and reads it until then.
    async fn watch(&mut self, due: Instant, until: Instant, mine: &mut Figures) -> Outcome {
        let me = &mut self.0;
        let path = format!("/sync/{}/stream?collections=tasks&since={}", me.app, me.cursor);
        let mut events = Events::open(&me.target, &path, &me.token, &me.client).await?;
        stats::record(&mut mine.streams, due.elapsed());
        while let Ok(event) = timeout_at(until, events.next()).await {
            let event = event?.ok_or("the stream ended")?;
            if let Some(cursor) = cursor(&event.data) {
                cursor.clone_into(&mut me.cursor);
            }
        }
        Ok(())
    }
}
