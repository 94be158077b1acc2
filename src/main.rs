//! `mana-sync`: the commands.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use mana_sync::commands::completions::{self, CompletionsArgs};
use mana_sync::commands::examples;
use mana_sync::commands::import::{self, ImportArgs};
use mana_sync::commands::push::{self, PushArgs};
use mana_sync::commands::tail::{self, TailArgs};
use mana_sync::config::{self, Config, DatabaseUrls, Server};
use mana_sync::dev::command::{DevArgs, TokenArgs};
use mana_sync::doctor::{self, DoctorArgs};
use mana_sync::store::Store;
use mana_sync::{dev, node};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A stateless sync node for local-first apps: Postgres holds the log, any replica serves any
/// user.
#[derive(Debug, Parser)]
#[command(version, about, after_help = examples::PROGRAM)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node. It migrates the database first, where that is needed.
    #[command(after_help = examples::SERVE)]
    Serve(Box<Config>),
    /// Migrates the database and ends.
    #[command(after_help = examples::MIGRATE)]
    Migrate(DatabaseUrls),
    /// Takes over the changes of the server that came before, all or none, into a database that no
    /// node has served yet.
    #[command(after_help = examples::IMPORT)]
    Import(ImportArgs),
    /// Looks at everything that a node with these settings depends on, and says what is not as it
    /// should be, and how to mend it.
    ///
    /// Exits with 1 where something is to be mended.
    #[command(after_help = examples::DOCTOR)]
    Doctor(Box<DoctorArgs>),
    /// Says whether the node on this machine is ready, for an image's health check.
    ///
    /// Exits with 1 where it is not.
    #[command(after_help = examples::HEALTH)]
    Health(Server),
    /// Runs a fleet on this machine, with a Postgres and an issuer of its own.
    #[command(after_help = examples::DEV)]
    Dev(DevArgs),
    /// Prints a token of the `dev` fleet.
    #[command(after_help = examples::TOKEN)]
    Token(TokenArgs),
    /// Follows a feed in the terminal.
    #[command(after_help = examples::TAIL)]
    Tail(TailArgs),
    /// Pushes the changes of a file, a line each.
    #[command(after_help = examples::PUSH)]
    Push(PushArgs),
    /// Prints completions for a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
}

/// How long the end of the process waits for threads that can't be told to stop.
const LINGER: Duration = Duration::from_millis(100);

fn main() -> io::Result<ExitCode> {
    let runtime = Runtime::new()?;
    let code = runtime.block_on(run());
    // Without this it waits for names that are being looked up, for as long as that takes.
    runtime.shutdown_timeout(LINGER);
    Ok(code)
}

async fn run() -> ExitCode {
    let cli = match config::parse::<Cli>(std::env::args_os()) {
        Ok(cli) => cli,
        Err(stop) => return stop.exit(),
    };
    let outcome = match cli.command {
        Command::Serve(config) => node::serve(&config).await,
        Command::Migrate(database) => migrate(&database).await,
        Command::Import(args) => import::run(&args).await.map_err(Into::into),
        Command::Doctor(args) => return doctor(&args).await,
        Command::Health(server) => return health(&server).await,
        Command::Dev(args) => dev::command::run(&args).await.map_err(Into::into),
        Command::Tail(args) => tail::run(&args).await.map_err(Into::into),
        Command::Push(args) => push::run(&args).await.map_err(Into::into),
        Command::Completions(args) => return completions(&args),
        Command::Token(args) => dev::command::token(&args).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mana-sync: {error}");
            ExitCode::from(2)
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn migrate(database: &DatabaseUrls) -> Outcome {
    Store::prepare(database.listen_url().reveal()).await?;
    println!("The database is up to date.");
    Ok(())
}

async fn health(server: &Server) -> ExitCode {
    match node::probe(server).await {
        Ok(()) => {
            println!("ready");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mana-sync: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn doctor(args: &DoctorArgs) -> ExitCode {
    let found = doctor::examine(args).await;
    for finding in &found {
        println!("{finding}");
    }
    ExitCode::from(u8::from(doctor::is_ill(&found)))
}

fn completions(args: &CompletionsArgs) -> ExitCode {
    let script = completions::script(args, Cli::command());
    // Who closed the other end does not want to read it.
    let _ = io::stdout().write_all(script.as_bytes());
    ExitCode::SUCCESS
}
