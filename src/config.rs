//! Every setting of a node: a flag and an environment variable each.
//!
//! The environment is read here and nowhere else. What is wrong with a setting is said at the
//! start, in one sentence that names the variable; no part of the node ever meets a value that
//! it can't use. Parts receive what they use, not the [`Config`].

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

mod groups;
mod refusal;
#[cfg(test)]
mod tests;
mod values;

pub use groups::{
    Database, DatabaseUrls, Drain, Limits, Listener, Log, Server, Services, Tokens, Writer,
};
pub use refusal::{Stop, explain, parse};
pub use values::{DatabaseUrl, NO_LIMIT, Origin, Secret};

/// All settings of a node.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where it listens for requests.
    #[command(flatten)]
    pub server: Server,
    /// The Postgres that all nodes share.
    #[command(flatten)]
    pub database: Database,
    /// How it knows its users.
    #[command(flatten)]
    pub tokens: Tokens,
    /// Whom it asks about memberships and billing.
    #[command(flatten)]
    pub services: Services,
    /// How it stores pushes.
    #[command(flatten)]
    pub writer: Writer,
    /// How it hears of changes.
    #[command(flatten)]
    pub listener: Listener,
    /// What one node carries at most.
    #[command(flatten)]
    pub limits: Limits,
    /// How it leaves.
    #[command(flatten)]
    pub drain: Drain,
    /// What it says of its work.
    #[command(flatten)]
    pub log: Log,
}

/// Why settings that are right each can't go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A service is to be asked, without a key.
    #[error("MANA_SERVICE_KEY must be set, because {because} is.")]
    NoServiceKey {
        /// The variable that names the service.
        because: &'static str,
    },
    /// Reads would find no connection while pushes are stored.
    #[error(
        "DATABASE_POOL_SIZE: {size} is too few for {lanes} WRITER_LANES (at least 3 more than lanes)."
    )]
    PoolTooSmall {
        /// The pool's size.
        size: u32,
        /// The lanes.
        lanes: usize,
    },
    /// One wait is to end before another that it contains.
    #[error("{outer}: {outer_seconds} is too short (more than {inner}, {inner_seconds}).")]
    TooShort {
        /// The variable of the wait that contains the other.
        outer: &'static str,
        /// Its seconds.
        outer_seconds: u64,
        /// What it contains.
        inner: &'static str,
        /// The seconds of that.
        inner_seconds: u64,
    },
    /// Streams could take all connections.
    #[error(
        "LIMIT_STREAMS: {streams} leaves no connection to push with (fewer than LIMIT_CONNECTIONS, {connections})."
    )]
    NoConnectionLeft {
        /// The streams.
        streams: usize,
        /// The connections.
        connections: usize,
    },
}

impl Config {
    /// Whether the settings go together.
    ///
    /// # Errors
    /// [`ConfigError`], a sentence, where they do not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let services = &self.services;
        let asked = services.mana_auth_url.as_ref().map(|_| "MANA_AUTH_URL");
        let asked = asked.or(services.mana_credits_url.as_ref().map(|_| "MANA_CREDITS_URL"));
        if let (Some(because), None) = (asked, &services.mana_service_key) {
            return Err(ConfigError::NoServiceKey { because });
        }
        let (size, lanes) = (self.database.database_pool_size, self.writer.writer_lanes);
        if usize::try_from(size).is_ok_and(|size| size < lanes + 3) {
            return Err(ConfigError::PoolTooSmall { size, lanes });
        }
        let Limits { streams, connections, .. } = self.limits;
        if connections < NO_LIMIT && streams < NO_LIMIT && streams >= connections {
            return Err(ConfigError::NoConnectionLeft { streams, connections });
        }
        let push = ("PUSH_TIMEOUT_SECONDS", self.writer.push_timeout);
        let leave = ("DRAIN_DEADLINE_SECONDS", self.drain.drain_deadline);
        longer(push, ("DATABASE_TIMEOUT_SECONDS", self.database.database_timeout))?;
        longer(push, ("ACQUIRE_TIMEOUT_SECONDS", self.database.acquire_timeout))?;
        let ends = self.drain.drain_delay + self.drain.drain_spread;
        longer(leave, ("DRAIN_DELAY_SECONDS and DRAIN_SPREAD_SECONDS together", ends))
    }
}

fn longer(
    outer: (&'static str, Duration),
    inner: (&'static str, Duration),
) -> Result<(), ConfigError> {
    if outer.1 > inner.1 {
        return Ok(());
    }
    Err(ConfigError::TooShort {
        outer: outer.0,
        outer_seconds: outer.1.as_secs(),
        inner: inner.0,
        inner_seconds: inner.1.as_secs(),
    })
}

/// The folder of Postgres' server programs, where `PG_BINDIR` names one.
#[must_use]
pub fn pg_bindir() -> Option<PathBuf> {
    refusal::variable("PG_BINDIR").map(PathBuf::from)
}
