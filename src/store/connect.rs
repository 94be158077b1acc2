//! How the node connects.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use super::pool::{Connector, Pool};
use super::{Store, StoreError};
use crate::id::Stamp;

/// How the node connects to Postgres.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `postgres://…`, of an ordinary role.
    pub url: String,
    /// The most connections.
    pub connections: u32,
    /// How long a request waits for a connection.
    pub acquire: Duration,
    /// How long a statement may take, for the server and for us.
    pub statement: Duration,
}

/// Options for every connection: the server ends what takes too long and drops a client that is
/// gone, so that nothing of ours can hold the horizon or a lock.
///
/// # Errors
/// Where `url` is no Postgres URL.
pub fn connect_options(url: &str, statement: Duration) -> Result<PgConnectOptions, sqlx::Error> {
    let millis = |d: Duration| d.as_millis().max(1).to_string();
    Ok(PgConnectOptions::from_str(url)?.application_name("mana-sync").options([
        ("statement_timeout", millis(statement)),
        ("lock_timeout", millis(statement)),
        ("idle_in_transaction_session_timeout", millis(statement)),
        ("tcp_user_timeout", millis(statement)),
        ("tcp_keepalives_idle", "5".to_owned()),
        ("tcp_keepalives_interval", "2".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("timezone", "UTC".to_owned()),
        // Short statements only: compiling one takes longer than running it.
        ("jit", "off".to_owned()),
        // And planning one takes longer than a plan made for its values saves.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        // A read begins after its bound is final: each statement needs a snapshot of its own.
        ("default_transaction_isolation", "read committed".to_owned()),
    ]))
}

/// The relay's connections: it asks for the horizon, reads a step, rings a heartbeat.
const RELAY_CONNECTIONS: u32 = 3;
/// None of its statements takes longer.
const RELAY_STATEMENT: Duration = Duration::from_secs(5);

/// How far the clock jumps ahead on a database that was promoted or restored: further than a
/// standby ever lags, so that no stamp is given that lies before a cursor handed out earlier.
pub(super) const MARGIN: &str = "60 s";

/// Looks which database a new connection leads to, before anything is stored there.
pub(super) async fn identify(
    connection: &mut PgConnection,
    heard: &AtomicI64,
) -> Result<(), sqlx::Error> {
    note_identity(&identity(heard).fetch_one(connection).await?)
}

/// Asks that, for a node that has heard up to here. May be asked again.
fn identity<'q>(heard: &AtomicI64) -> Query<'q, Postgres, PgArguments> {
    let heard = Stamp::from_micros(heard.load(Ordering::Relaxed));
    sqlx::query("select sync_identify($1::text::interval, $2)")
        .bind(MARGIN)
        .bind(Some(heard).filter(|heard| *heard > Stamp::START))
}

/// Says it where the database was found to be another.
fn note_identity(answer: &PgRow) -> Result<(), sqlx::Error> {
    if answer.try_get(0)? {
        tracing::warn!(
            "this database was promoted or restored: its clock jumped ahead by {MARGIN}"
        );
    }
    Ok(())
}

impl Store {
    /// Prepares a pool; connections are made when they are needed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the URL is none.
    pub fn new(settings: &Settings) -> Result<Self, StoreError> {
        Self::of_node(settings, "requests", Arc::default())
    }

    /// The relay's few connections, beside those of the same node's requests: so that it is not held
    /// up by what it is to speed up, nor for long by one that has died without a word.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub fn beside(&self, settings: &Settings) -> Result<Self, StoreError> {
        let statement = settings.statement.min(RELAY_STATEMENT);
        let settings = Settings { connections: RELAY_CONNECTIONS, statement, ..settings.clone() };
        Self::of_node(&settings, "relay", Arc::clone(&self.heard))
    }

    /// Says that the node has heard of a stamp: a connection that leads to a database in which it was
    /// never given leads to an older state of it.
    pub fn heard(&self, stamp: Stamp) {
        self.heard.fetch_max(stamp.micros(), Ordering::Relaxed);
    }

    /// Looks which database it is by now, as each new connection does: one that a pooler keeps open
    /// may have been led to another.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identify(&self) -> Result<(), StoreError> {
        let answers = self.read(|| identity(&self.heard)).await?;
        Ok(answers.iter().try_for_each(note_identity)?)
    }

    fn of_node(
        settings: &Settings,
        name: &'static str,
        heard: Arc<AtomicI64>,
    ) -> Result<Self, StoreError> {
        let options = connect_options(&settings.url, settings.statement)?;
        let connector = Connector { options, heard: Arc::clone(&heard) };
        let pool = Pool::builder(connector).max_size(settings.connections as usize).build();
        let pool = pool.map_err(|error| sqlx::Error::Configuration(Box::new(error)))?;
        // The server's own limit comes first, so that its answer is heard.
        let patience = settings.statement + Duration::from_secs(1);
        let acquire = settings.acquire;
        Ok(Self { pool, name, acquire, patience, asked_horizon: Arc::default(), heard })
    }
}
