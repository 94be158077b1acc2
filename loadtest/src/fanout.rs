//! `fanout`: one space that many follow. Writers push at a rate; each change goes to every stream.
//! Tells the latency from the moment of pushing to the follower's socket, deliveries a second and
//! per CPU second of the nodes, and the memory of an idle stream.

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::Outcome;
use crate::aim::{Aim, AimArgs};
use crate::client::Target;
use crate::plot::Plot;
use crate::procfs;
use crate::push::{self, Clients, Load, Outcomes};
use crate::report::{Output, Report};
use crate::stats::{float, quantile};
use crate::subscribe;
use crate::swarm::{Brought, Follow, Swarm};

/// What was opened or pushed has arrived everywhere after this.
const SETTLE: Duration = Duration::from_secs(2);

/// The flags.
#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct Args {
    /// Who follows and pushes in another fleet (`reader-N`, `user-N`) is to be a member of the
    /// space already.
    #[command(flatten)]
    aim: AimArgs,
    /// Streams over all nodes.
    #[arg(long, default_value_t = 1_000)]
    streams: usize,
    /// Clients that push.
    #[arg(long, default_value_t = 4)]
    writers: usize,
    /// Pushes a second of all writers together.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The space that all follow and push into.
    #[arg(long, default_value = "everybody")]
    space: String,
    /// Let them push into their own feeds instead, so that the streams stay idle.
    #[arg(long)]
    idle: bool,
    #[command(flatten)]
    #[serde(skip)]
    output: Output,
}

/// What a run found.
#[derive(Debug, Serialize)]
struct Findings {
    streams: usize,
    streams_failed: usize,
    streams_lost: usize,
    pushes: u64,
    pushes_failed: u64,
    pushes_per_second: f64,
    push_p50_ms: f64,
    push_p99_ms: f64,
    deliveries: u64,
    deliveries_expected: u64,
    deliveries_per_second: f64,
    /// Of the nodes, where they are ours.
    node_cpu_seconds: Option<f64>,
    deliveries_per_cpu_second: Option<f64>,
    private_bytes_per_stream: Option<f64>,
    resident_bytes_per_stream: Option<f64>,
    delivery_p50_ms: f64,
    delivery_p90_ms: f64,
    delivery_p99_ms: f64,
    delivery_p999_ms: f64,
    delivery_max_ms: f64,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut report = Report::begin("fanout", &args);
    let aim = Aim::take(&args.aim).await?;
    report.environment(aim.host().await);
    join(&aim, &args);
    let mut writers = Clients::connect(&aim.targets, &aim.tokens, args.writers).await?;
    // So that what a node holds anyhow is not counted for the streams; not into the space, whose
    // history those who join it would read.
    let load = load(&args);
    writers.run(&Load { seconds: 1, space: None, ..load.clone() }).await;

    let pids = aim.pids();
    let before = held(&pids)?;
    let urls = aim.targets.iter().map(Target::url).collect::<Outcome<Vec<_>>>()?;
    let token_url = aim.tokens.url().to_owned();
    let follow = Follow::App { name: load.app.clone(), token_url };
    let mut swarm = Swarm::open(&urls, &follow, args.streams).await?;
    sleep(SETTLE).await;
    let after = held(&pids)?;
    swarm.report().await?;

    let cpu = procfs::cpu_of(&pids)?;
    let outcomes = writers.run(&load).await;
    sleep(SETTLE).await;
    let cpu = procfs::cpu_of(&pids)? - cpu;
    let brought = swarm.report().await?;
    let mut findings = findings(&swarm, &outcomes, &brought, &args);
    if !pids.is_empty() {
        let each = |after: u64, before: u64| {
            Some(float(after.saturating_sub(before)) / float(swarm.open as u64))
        };
        findings.node_cpu_seconds = Some(cpu);
        findings.deliveries_per_cpu_second = Some(float(brought.events) / cpu);
        findings.private_bytes_per_stream = each(after.private, before.private);
        findings.resident_bytes_per_stream = each(after.resident, before.resident);
    }
    findings.say(&args.output);
    report.figure("findings", findings);
    let lines = [("push", &outcomes.latencies), ("push to socket", &brought.latencies)];
    report.plot("latency", Plot::percentiles("Latency", &lines));
    report.finish(&args.output)
}

fn load(args: &Args) -> Load {
    Load {
        clients: args.writers,
        changes: 1,
        seconds: args.seconds,
        rate: Some(args.rate),
        space: (!args.idle).then(|| args.space.clone()),
        app: "loadtest".to_owned(),
    }
}

/// Makes all users members of the space.
fn join(aim: &Aim, args: &Args) {
    (0..args.writers).for_each(|number| aim.join(&push::user(number), &args.space));
    for number in (0..args.streams).step_by(subscribe::STREAMS_EACH) {
        aim.join(&subscribe::user(number), &args.space);
    }
}

/// What these processes hold together.
fn held(pids: &[u32]) -> Outcome<procfs::Memory> {
    let mut all = procfs::Memory { resident: 0, private: 0 };
    for pid in pids {
        let memory = procfs::memory(*pid)?;
        all.resident += memory.resident;
        all.private += memory.private;
    }
    Ok(all)
}

fn findings(swarm: &Swarm, outcomes: &Outcomes, brought: &Brought, args: &Args) -> Findings {
    let pushed = |q| quantile(&outcomes.latencies, q).as_secs_f64() * 1e3;
    let delivered = |q| quantile(&brought.latencies, q).as_secs_f64() * 1e3;
    let expected = if args.idle { 0 } else { outcomes.pushes * swarm.open as u64 };
    Findings {
        streams: swarm.open,
        streams_failed: swarm.failed,
        streams_lost: swarm.open.saturating_sub(brought.open),
        pushes: outcomes.pushes,
        pushes_failed: outcomes.failures,
        pushes_per_second: outcomes.rate(),
        push_p50_ms: pushed(0.5),
        push_p99_ms: pushed(0.99),
        deliveries: brought.events,
        deliveries_expected: expected,
        deliveries_per_second: float(brought.events) / outcomes.took.as_secs_f64(),
        node_cpu_seconds: None,
        deliveries_per_cpu_second: None,
        private_bytes_per_stream: None,
        resident_bytes_per_stream: None,
        delivery_p50_ms: delivered(0.5),
        delivery_p90_ms: delivered(0.9),
        delivery_p99_ms: delivered(0.99),
        delivery_p999_ms: delivered(0.999),
        delivery_max_ms: delivered(1.0),
    }
}

impl Findings {
    fn say(&self, output: &Output) {
        let f = self;
        let say = |line: String| output.say(&line);
        say(format!("{} streams, {} failed, {} lost", f.streams, f.streams_failed, f.streams_lost));
        say(format!(
            "{:.0} pushes/s, {} failed; p50 {:.1} ms, p99 {:.1} ms",
            f.pushes_per_second, f.pushes_failed, f.push_p50_ms, f.push_p99_ms
        ));
        say(format!(
            "{:.0} deliveries/s, {} of {} expected",
            f.deliveries_per_second, f.deliveries, f.deliveries_expected
        ));
        say(format!(
            "push to socket: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
            f.delivery_p50_ms,
            f.delivery_p90_ms,
            f.delivery_p99_ms,
            f.delivery_p999_ms,
            f.delivery_max_ms
        ));
        if let (Some(cpu), Some(each)) = (f.node_cpu_seconds, f.deliveries_per_cpu_second) {
            say(format!("{each:.0} deliveries a CPU second of the nodes ({cpu:.2} s)"));
        }
        if let (Some(private), Some(resident)) =
            (f.private_bytes_per_stream, f.resident_bytes_per_stream)
        {
            say(format!(
                "an idle stream holds {private:.0} bytes of private memory, {resident:.0} resident"
            ));
        }
    }
}
