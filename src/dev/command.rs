//! `mana-sync dev`: a fleet on one machine, for whoever tries it or develops against it.
//!
//! One process holds the console, the issuer and all replicas; Postgres runs beside it and dies with it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures::{StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::demo::{self, DemoError};
use super::fleet::{Fleet, Order};
use super::guide;
use super::issuer::{Issuer, IssuerError};
use super::postgres::{Durability, EmbeddedPostgres, PostgresError, Settings as PostgresSettings};
use crate::config::{Origin, pg_bindir};
use crate::node::NodeError;
use crate::telemetry::{self, LogFormat};

/// The secret of the fleet's own services; it guards nothing but this machine's toys.
pub(super) const SERVICE_KEY: &str = "dev-service-key";

/// The role and the database of the fleet.
const ROLE: &str = "mana_sync";

/// Where things last, and where the account that Postgres runs under may go.
pub const FOLDER: &str = "/var/tmp/mana-sync-dev";

/// Who share a space from the start; the guide and the tour speak of them.
pub(super) const MEMBERS: [(&str, &str); 2] = [("alice", "home"), ("bob", "home")];

/// How long the tokens of the guide are good.
pub(super) const TOKEN_LIFE: Duration = Duration::from_hours(24);

/// A fleet on this machine.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// How many replicas to run.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    replicas: u16,
    /// Port of the first replica; the others follow, and the console and the issuer take the one
    /// before. 0 takes free ones.
    #[arg(long, default_value_t = 3050,
          value_parser = clap::value_parser!(u16).range(0..=65_500))]
    port: u16,
    /// Folder that keeps the database and the issuer's key between runs; remove it to begin anew.
    #[arg(long, default_value = FOLDER)]
    data: PathBuf,
    /// Further members of spaces, as user=space, beside alice and bob, who share "home".
    #[arg(long, value_name = "USER=SPACE", value_delimiter = ',', value_parser = member)]
    member: Vec<(String, String)>,
    /// Origins whose pages may call the fleet, beside the console's and <http://localhost:5173>,
    /// each exactly as a browser sends it: `scheme://host[:port]`; comma-separated.
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',')]
    cors_origins: Vec<Origin>,
    /// Takes the tour itself, prints what happened, and ends.
    #[arg(long)]
    demo: bool,
}

impl DevArgs {
    fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        let further = self.member.iter().map(|(user, space)| (user.as_str(), space.as_str()));
        MEMBERS.into_iter().chain(further)
    }
}

/// A token for the fleet.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whose token.
    #[arg(long, default_value = "alice")]
    user: String,
    /// For how many seconds it is good.
    #[arg(long, default_value_t = TOKEN_LIFE.as_secs())]
    ttl: u64,
    /// The fleet's folder.
    #[arg(long, default_value = FOLDER)]
    data: PathBuf,
}

/// Why the fleet does not run.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// No Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// A replica did not start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A port or a folder can't be had.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What came of it.
        error: io::Error,
    },
    /// The tour went wrong.
    #[error(transparent)]
    Demo(#[from] DemoError),
}

fn member(text: &str) -> Result<(String, String), &'static str> {
    let (user, space) = text.split_once('=').ok_or("is not user=space")?;
    Ok((user.to_owned(), space.to_owned()))
}

/// What it means that nobody can listen there.
pub(super) fn in_use(address: SocketAddr) -> impl Fn(io::Error) -> DevError {
    move |error| DevError::Io { what: format!("cannot listen on {address}"), error }
}

/// Makes the folder of the fleet where it is missing.
fn folder(folder: &Path) -> Result<&Path, DevError> {
    std::fs::create_dir_all(folder).map_err(|error| DevError::Io {
        what: format!("cannot make {}", folder.display()),
        error,
    })?;
    Ok(folder)
}

/// Runs a fleet until interrupted, or through the tour.
///
/// # Errors
/// [`DevError`], a sentence.
pub async fn run(args: &DevArgs) -> Result<(), DevError> {
    // What goes wrong is to be seen, and nothing else beside the guide. A second start is no error.
    let _lines = telemetry::start_logging("warn", LogFormat::Text, None);
    let stop = CancellationToken::new();
    let mut interrupt = signals()?;
    let (fleet, postgres, orders) = tokio::select! {
        started = start(args, &stop) => started?,
        () = interrupt.any() => return Ok(()),
    };
    let outcome = if args.demo {
        tokio::select! {
            outcome = demo::run(&fleet) => outcome.map_err(DevError::from),
            () = interrupt.any() => Ok(()),
        }
    } else {
        println!("{}", guide::text(&fleet, &postgres.url(ROLE, ROLE), args.members()));
        tokio::select! {
            () = obey(&fleet, orders) => {}
            () = interrupt.any() => {}
        }
        println!("\nStopping.");
        Ok(())
    };
    stop.cancel();
    fleet.stop().await;
    postgres.stop().await;
    outcome
}

/// Obeys whoever gives orders at the desk; those for different replicas at the same time.
async fn obey(fleet: &Fleet, orders: mpsc::Receiver<Order>) {
    let orders = stream::unfold(orders, async |mut orders| Some((orders.recv().await?, orders)));
    orders.for_each_concurrent(None, |order| fleet.obey(order)).await;
}

struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

impl Signals {
    async fn any(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

fn signals() -> Result<Signals, DevError> {
    let what = |error| DevError::Io { what: "cannot hear signals".to_owned(), error };
    Ok(Signals(
        signal(SignalKind::interrupt()).map_err(what)?,
        signal(SignalKind::terminate()).map_err(what)?,
    ))
}

type Started = (Fleet, EmbeddedPostgres, mpsc::Receiver<Order>);

async fn start(args: &DevArgs, stop: &CancellationToken) -> Result<Started, DevError> {
    let folder = folder(&args.data)?;
    let desk = if args.port == 0 { 0 } else { args.port - 1 };
    let key = folder.join("issuer.key");
    let (fleet, orders) = Fleet::open(&key, desk, &args.cors_origins, stop.clone()).await?;
    for (user, space) in args.members() {
        fleet.tokens.join(user, space);
    }
    let postgres = EmbeddedPostgres::start(PostgresSettings {
        bindir: pg_bindir(),
        data: Some(folder.join("postgres")),
        durability: Durability::Durable,
        extra: Vec::new(),
    })
    .await?;
    postgres.create_role(ROLE).await?;
    postgres.create_database(ROLE, ROLE, None).await?;
    let port = |number| if args.port == 0 { 0 } else { args.port.saturating_add(number) };
    fleet.start(&postgres.url(ROLE, ROLE), (0..args.replicas).map(port)).await?;
    Ok((fleet, postgres, orders))
}

/// Prints a token of the fleet.
///
/// # Errors
/// [`DevError`] where the fleet's key can't be read or made.
pub fn token(args: &TokenArgs) -> Result<(), DevError> {
    println!("{}", sign(folder(&args.data)?, &args.user, Duration::from_secs(args.ttl))?);
    Ok(())
}

/// A token of the fleet in `folder`.
fn sign(folder: &Path, user: &str, life: Duration) -> Result<String, DevError> {
    let issuer = Issuer::with_key_file(SERVICE_KEY, &folder.join("issuer.key"))?;
    Ok(issuer.token(user, life))
}

/// A token of the fleet whose folder is `data`; none where no fleet ever ran there.
///
/// # Errors
/// [`DevError`] where the fleet's key can't be read.
pub fn token_of(data: &Path, user: &str) -> Result<Option<String>, DevError> {
    let there = data.join("issuer.key").exists();
    there.then(|| sign(data, user, TOKEN_LIFE)).transpose()
}
