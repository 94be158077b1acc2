//! A look at the database from outside: what is not as it should be, and what was lost with another.

mod measure;
mod questions;

use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection, Row};

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
        if let Err(error) = look(&mut straight, fleet, &mut found).await {
            found.push(Finding::wrong(format!("a question to the database failed: {error}")));
        }
        straight.close().await.ok();
        found
    }
}

/// Connects; `name`: of the variable that the URL comes from.
async fn connect(url: &str, name: &str, found: &mut Vec<Finding>) -> Option<PgConnection> {
    let connected = async { connect_options(url, PATIENCE)?.connect().await };
    match connected.await {
        Ok(connection) => Some(connection),
        Err(error) => {
            let error = StartError::from(error);
            found.push(Finding::wrong(format!("{name} leads to no database: {error}")));
            None
        }
    }
}

async fn look(
    connection: &mut PgConnection,
    fleet: Fleet<'_>,
    found: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    match vet(connection).await {
        Ok(()) => found.push(Finding::well("the role is an ordinary one")),
        Err(error) => found.push(Finding::wrong(error.to_string())),
    }
    found.push(measure::hearing(fleet).await);
    found.push(measure::connections(connection, fleet).await?);
    found.push(measure::flush(connection).await?);
    found.push(measure::clock(connection).await?);
    if !is_prepared(connection).await? {
        found.push(Finding::wrong("migrations are missing (mana-sync migrate)"));
        return Ok(());
    }
    found.push(Finding::well("no migration is missing"));
    for (grade, question, otherwise) in QUESTIONS {
        let rows = sqlx::raw_sql(question).fetch_all(&mut *connection).await?;
        let says: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        if says.is_empty() {
            found.push(Finding::well(otherwise));
        }
        found.extend(says.into_iter().map(|says| Finding { grade, says }));
    }
    Ok(())
}
