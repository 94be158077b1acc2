//! Load and claims: puts load on a fleet of mana-sync nodes, and measures what the project claims
//! of itself.
//!
//! Each command is a module: it has its flags, runs for a bounded time or count, prints a table,
//! and leaves a [`report::Report`] behind. Commands that need a fleet and are given none start one
//! ([`fleet`]): a durable Postgres, an issuer, and nodes, each a process of its own.

mod aim;
mod chaos;
mod client;
mod compare;
mod events;
mod fair;
mod fanout;
mod fleet;
mod host;
mod hydrate;
mod mixed;
mod nginx;
mod oracle;
mod page;
mod plot;
mod procfs;
mod progress;
mod proxy;
mod push;
mod report;
mod rollout;
mod scale;
mod signals;
mod soak;
mod stats;
mod stored;
mod subscribe;
mod swarm;
mod tokens;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Puts load on a fleet of mana-sync nodes, and measures it.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Clients that push, as fast as they are answered or at a fixed rate.
    Push(push::Args),
    /// The budgets of the project: ours and plain servers side by side; exits with 1 where a gate
    /// is missed.
    Compare(compare::Args),
    /// What a push and a pull cost in CPU, with more nodes and with more stored changes.
    Scale(scale::Args),
    /// One space that many streams follow: latency of delivery, deliveries a CPU second, memory.
    Fanout(fanout::Args),
    /// A process that holds streams for the other commands.
    #[command(hide = true)]
    Subscribe(subscribe::Args),
    /// The usual life of a fleet, at rates that rise until it is saturated.
    Mixed(mixed::Args),
    /// The usual life for minutes or hours, while an oracle looks for what is lost; exits with 1
    /// where it finds something.
    Soak(soak::Args),
    /// Everything goes wrong, and nothing may be lost; exits with 1 where something is.
    Chaos(chaos::Args),
    /// Each node of a fleet behind nginx is replaced under load; exits with 1 where a client would
    /// notice more than a reconnect.
    Rollout(rollout::Args),
    /// What a quiet user feels of another who pushes at full speed.
    Fair(fair::Args),
    /// A new device that reads all its user has: by pull and by stream, against `COPY`.
    Hydrate(hydrate::Args),
    /// A node, as the fleets of the other commands run it.
    #[command(hide = true)]
    Node(Box<NodeArgs>),
}

/// The flags of a node.
#[derive(Debug, clap::Args)]
struct NodeArgs {
    #[command(flatten)]
    config: mana_sync::config::Config,
    /// What is wrong with it.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutant: Option<mana_sync::mutants::Mutant>,
}

/// What a command ends with: an error is one sentence.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    // These end by themselves when they are interrupted.
    let interruptible = !matches!(command, Command::Node(_) | Command::Soak(_) | Command::Chaos(_));
    let outcome = tokio::select! {
        outcome = run(command) => outcome,
        // Dropping the command ends what it started.
        () = interrupted(), if interruptible => Err("interrupted".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C, or for being told to end.
async fn interrupted() {
    let mut told = signal(SignalKind::terminate()).ok();
    let told = async {
        match &mut told {
            Some(told) => told.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = told => {}
    }
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Push(args) => push::run(args).await,
        Command::Fair(args) => fair::run(args).await,
        Command::Compare(args) => compare::run(args).await,
        Command::Scale(args) => scale::run(args).await,
        Command::Fanout(args) => fanout::run(args).await,
        Command::Subscribe(args) => subscribe::run(args).await,
        Command::Mixed(args) => mixed::run(args).await,
        Command::Soak(args) => soak::run(args).await,
        Command::Chaos(args) => chaos::run(args).await,
        Command::Rollout(args) => rollout::run(args).await,
        Command::Hydrate(args) => hydrate::run(args).await,
        Command::Node(args) => {
            #[cfg(feature = "mutants")]
            if let Some(mutant) = args.mutant {
                mana_sync::mutants::choose(mutant);
            }
            mana_sync::node::serve(&args.config).await.map_err(|error| error.to_string().into())
        }
    }
}
