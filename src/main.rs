//! `mana-sync`: the commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mana_sync::config::{self, Config, DatabaseUrls};
use mana_sync::dev::command::{DevArgs, TokenArgs};
use mana_sync::store::{Grade, Store};
use mana_sync::{dev, node};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A stateless sync node for local-first apps: Postgres holds the log, any replica serves any
/// user.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node. It migrates the database first, where that is needed.
    Serve(Box<Config>),
    /// Migrates the database and ends.
    Migrate(DatabaseUrls),
    /// Looks at the database that a fleet shares, and says what is not as it should be.
    ///
    /// Exits with 1 where something is wrong, 2 where it could not look.
    Doctor(DatabaseUrls),
    /// Runs a fleet on this machine, with a Postgres and an issuer of its own.
    Dev(DevArgs),
    /// Prints a token of the `dev` fleet.
    Token(TokenArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match config::parse::<Cli>(std::env::args_os()) {
        Ok(cli) => cli,
        Err(stop) => return stop.exit(),
    };
    let outcome = match cli.command {
        Command::Serve(config) => node::serve(&config).await,
        Command::Migrate(database) => migrate(&database).await,
        Command::Doctor(database) => return doctor(&database).await,
        Command::Dev(args) => dev::command::run(&args).await.map_err(Into::into),
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

async fn doctor(database: &DatabaseUrls) -> ExitCode {
    let findings = match Store::examine(database.database_url.reveal()).await {
        Ok(findings) => findings,
        Err(error) => {
            eprintln!("mana-sync: {error}");
            return ExitCode::from(2);
        }
    };
    for finding in &findings {
        println!("{finding}");
    }
    let is_wrong = findings.iter().any(|finding| finding.grade == Grade::Wrong);
    ExitCode::from(u8::from(is_wrong))
}
