//! An embedded Postgres: a private server on a free loopback port.
//!
//! `mana-sync dev` keeps its data in a lasting folder, each run of the tests has a temporary one.
//! The binaries are those of the machine; nothing is downloaded. Run as root, the server becomes
//! the user `postgres`, since Postgres refuses to be root.
//!
//! Invariant: the server ends with the process that started it, and what a killed run leaves in
//! the temporary folder is swept by the next one.

mod account;
mod admin;
mod install;
mod nest;
mod plan;
mod programs;
mod server;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub use self::install::find_bindir;
use self::plan::Plan;
use self::server::Server;

/// The bootstrap superuser. It bypasses row-level security: a node must not run as it.
pub const SUPERUSER: &str = "postgres";

/// What stands in a URL's user and path as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of the server's processes, but not of the machine: nothing is flushed to disk.
    Fast,
    /// The death of the machine too.
    #[default]
    Durable,
}

/// What an embedded Postgres is to be like.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The folder of Postgres' binaries; `None` looks in the usual places.
    pub bindir: Option<PathBuf>,
    /// The data folder, made where it is missing; `None` is a temporary one, removed at the end.
    /// Where this process is root, user `postgres` must be able to reach it.
    pub data: Option<PathBuf>,
    /// What a commit survives.
    pub durability: Durability,
    /// Further settings of the server (`-c name=value`); they win over the ones made here.
    pub extra: Vec<(String, String)>,
}

/// Why there is no Postgres.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No folder holds the binaries.
    #[error("no Postgres server found in {}", list(.looked_in))]
    NotFound {
        /// Where they were looked for.
        looked_in: Vec<PathBuf>,
    },
    /// The process is root, and there is no user to run Postgres as.
    #[error("Postgres does not run as root, and there is no user `postgres` or `nobody`")]
    NoAccount,
    /// A folder or file could not be read, made or given to the server's user.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The data folder could not be made.
    #[error("initdb failed: {said}")]
    Initdb {
        /// What initdb wrote.
        said: String,
    },
    /// The server ended while it was starting.
    #[error("Postgres ended while starting: {log}")]
    Ended {
        /// The last lines of its log.
        log: String,
    },
    /// The server was not ready in time.
    #[error("Postgres was not ready after {waited:?}: {log}")]
    NotReady {
        /// How long it was given.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// A process or thread could not be started.
    #[error("starting Postgres: {0}")]
    Start(#[source] io::Error),
    /// A statement failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl PostgresError {
    /// Names the path at which an operation failed.
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Folder { path: path.to_owned(), source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A running Postgres. Dropping it ends the server at once, as a crash would ([`Self::stop`]
/// lets it finish), and removes the data folder if that is a temporary one.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    /// `None` after [`Self::kill_hard`]. Stands before the plan, so that it is dropped first: the
    /// server ends before its folder is removed.
    server: Option<Server>,
    plan: Arc<Plan>,
    port: u16,
    pid: u32,
}

impl EmbeddedPostgres {
    /// Starts a server, and waits until it takes connections.
    ///
    /// # Errors
    /// [`PostgresError`] where Postgres is not found, can't be started, or is not ready in time.
    pub async fn start(settings: Settings) -> Result<Self, PostgresError> {
        blocking(move || {
            let plan = Arc::new(Plan::make(settings)?);
            let (server, port) = plan.launch(None)?;
            Ok(Self { pid: server.pid(), server: Some(server), plan, port })
        })
        .await
    }

    /// The address of `database` for `user`.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        let user = utf8_percent_encode(user, ESCAPED);
        let database = utf8_percent_encode(database, ESCAPED);
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process that started last, which listens and parents all others of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.plan.data()
    }

    /// The folder of the binaries.
    #[must_use]
    pub fn bindir(&self) -> &Path {
        self.plan.bindir()
    }

    /// A program of the same installation, to be run as the server's user: `pg_basebackup`, say.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.plan.command(program)
    }

    /// Ends the server in good order: clients are cut off, everything is written.
    pub async fn stop(mut self) {
        let stopped = blocking(move || {
            if let Some(server) = self.server.take() {
                server.stop();
            }
            drop(self);
            Ok(())
        });
        if let Err(error) = stopped.await {
            tracing::warn!(%error, "Postgres was not stopped in good order");
        }
    }

    /// Kills the server as a crash would: no clean-up, no last write. Its processes for single
    /// connections notice it a moment later.
    pub fn kill_hard(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Kills the server hard, unless that was done, and starts it on the same port and data.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), PostgresError> {
        self.kill_hard();
        let (plan, port) = (Arc::clone(&self.plan), self.port);
        let (server, _) = blocking(move || plan.launch(Some(port))).await?;
        self.pid = server.pid();
        self.server = Some(server);
        Ok(())
    }
}

/// Runs `work` where it may block. If the caller gives up, `work` still runs to its end, and what
/// it started is dropped then.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PostgresError> + Send + 'static,
) -> Result<T, PostgresError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(gone) => Err(PostgresError::Start(gone.into())),
    }
}

#[cfg(test)]
mod tests;
