//! A look at the database from outside: what is not as it should be, and what was lost with another.

mod measure;
mod questions;

use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection, Row};

use tokio::time::timeout;

use super::migrate::{is_prepared, vet};
use super::{StartError, Store, connect_options};
pub use measure::apart;
use questions::QUESTIONS;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Well,
    /// To be known; it may be meant so.
    Note,
    /// To be mended.
    Wrong,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How well it is.
    pub grade: Grade,
    /// One sentence.
    pub says: String,
}

impl Finding {
    /// As it should be.
    pub fn well(says: impl Into<String>) -> Self {
        Self { grade: Grade::Well, says: says.into() }
    }

    /// To be known.
    pub fn note(says: impl Into<String>) -> Self {
        Self { grade: Grade::Note, says: says.into() }
    }

    /// To be mended.
    pub fn wrong(says: impl Into<String>) -> Self {
        Self { grade: Grade::Wrong, says: says.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Well => "ok   ",
            Grade::Note => "note ",
            Grade::Wrong => "WRONG",
        };
        write!(f, "{grade} {}", self.says)
    }
}

/// What uses the database.
#[derive(Debug, Clone, Copy)]
pub struct Fleet<'a> {
    /// The URL for requests.
    pub url: &'a str,
    /// The URL for notifications and migrations.
    pub listen_url: &'a str,
    /// How many nodes there are at most, those of a rolling upgrade included.
    pub nodes: u32,
    /// Connections of each for requests.
    pub pool: u32,
}

impl Store {
    /// Looks at a fleet's database, as the nodes' role: may a node start on it, will it hear
    /// notifications, is there room, is it quick, was anything lost.
    pub async fn examine(fleet: Fleet<'_>) -> Vec<Finding> {
        let (url, listen_url) = (fleet.url, fleet.listen_url);
        let mut found = Vec::new();
        let straight = connect(listen_url, "LISTEN_DATABASE_URL", &mut found).await;
        if url != listen_url && connect(url, "DATABASE_URL", &mut found).await.is_some() {
            let same = Self::vet(url, listen_url).await;
            found.extend(same.err().map(|error| Finding::wrong(error.to_string())));
        }
        let Some(mut straight) = straight else { return found };
        look(&mut straight, fleet, &mut found).await;
        timeout(PATIENCE, straight.close()).await.ok();
        found
    }
}

/// Connects; `name`: of the variable that the URL comes from.
async fn connect(url: &str, name: &str, found: &mut Vec<Finding>) -> Option<PgConnection> {
    let connected = async { connect_options(url, PATIENCE)?.connect().await };
    let why = match timeout(PATIENCE, connected).await {
        Ok(Ok(connection)) => return Some(connection),
        Ok(Err(error)) => StartError::from(error).to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    found.push(Finding::wrong(format!("{name} leads to no database: {why}")));
    None
}

/// What a question finds, or that it could not be asked.
async fn ask(what: &str, question: impl Future<Output = Result<Finding, sqlx::Error>>) -> Finding {
    match timeout(PATIENCE, question).await {
        Ok(Ok(finding)) => finding,
        Ok(Err(error)) => Finding::wrong(format!("{what} could not be found out: {error}")),
        Err(_) => {
            Finding::wrong(format!("{what} could not be found out within {} s", PATIENCE.as_secs()))
        }
    }
}

async fn look(connection: &mut PgConnection, fleet: Fleet<'_>, found: &mut Vec<Finding>) {
    let role = async {
        let ordinary = vet(&mut *connection).await.map(|()| "the role is an ordinary one");
        Ok(ordinary.map_or_else(|error| Finding::wrong(error.to_string()), Finding::well))
    };
    found.push(ask("whether the role is an ordinary one", role).await);
    found.push(ask("whether this is a primary", measure::primary(connection)).await);
    if found.last().is_some_and(|standby| standby.grade == Grade::Wrong) {
        return;
    }
    found.push(ask("which database this is", measure::identity(connection)).await);
    found.push(ask("whether notifications arrive", measure::hearing(fleet)).await);
    found.push(ask("how many may connect", measure::connections(connection, fleet)).await);
    found.push(ask("how long a commit takes", measure::flush(connection)).await);
    found.push(ask("the database's time", measure::clock(connection)).await);
    let prepared = async {
        Ok(if is_prepared(&mut *connection).await? {
            Finding::well("no migration is missing")
        } else {
            Finding::wrong("migrations are missing (mana-sync migrate)")
        })
    };
    found.push(ask("which migrations were run", prepared).await);
    if found.last().is_some_and(|missing| missing.grade == Grade::Wrong) {
        return;
    }
    for (grade, question, otherwise) in QUESTIONS {
        match timeout(PATIENCE, says(connection, question)).await {
            Ok(Ok(says)) if says.is_empty() => found.push(Finding::well(otherwise)),
            Ok(Ok(says)) => found.extend(says.into_iter().map(|says| Finding { grade, says })),
            Ok(Err(error)) => found.push(Finding::wrong(format!(
                "whether {otherwise} could not be found out: {error}"
            ))),
            Err(_) => found.push(Finding::wrong(format!(
                "whether {otherwise} could not be found out in time"
            ))),
        }
    }
}

/// The answers to a question, a text a row.
async fn says(
    connection: &mut PgConnection,
    question: &'static str,
) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::raw_sql(question).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
