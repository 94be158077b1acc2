//! Making a data folder, and starting the server on it.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{self, Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::account::Account;
use super::install::find_bindir;
use super::nest::Nest;
use super::programs::Programs;
use super::server::Server;
use super::{Durability, PostgresError, Settings};

/// Replaying a long log after a crash takes its time.
const READY_WITHIN: Duration = Duration::from_mins(1);
const POLL_EVERY: Duration = Duration::from_millis(5);

/// How often a start is tried that failed for a reason which may pass.
const ATTEMPTS: u32 = 50;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// All that a start of the server needs, so that it can be started again.
#[derive(Debug)]
pub(super) struct Plan {
    programs: Programs,
    data: PathBuf,
    /// Holds the socket and the log, and the data if that is temporary.
    nest: Nest,
    durability: Durability,
    extra: Vec<(String, String)>,
}

impl Plan {
    /// Finds the programs, and makes the data folder unless there is one.
    pub(super) fn make(settings: Settings) -> Result<Self, PostgresError> {
        let bindir = find_bindir(settings.bindir.as_deref())?;
        Nest::sweep();
        let nest = Nest::make()?;
        let account = Account::choose(nest.path())?;
        if let Some(account) = account {
            account.own(nest.path())?;
        }
        let programs = Programs::new(bindir, account);
        let data = match &settings.data {
            Some(given) => path::absolute(given).map_err(PostgresError::at(given))?,
            None => nest.path().join("data"),
        };
        if !data.join("PG_VERSION").exists() {
            programs.initdb(&data, settings.data.is_some())?;
        } else if let Some(account) = account {
            account.own(&data)?;
        }
        let Settings { durability, extra, .. } = settings;
        Ok(Self { programs, data, nest, durability, extra })
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn bindir(&self) -> &Path {
        self.programs.bindir()
    }

    pub(super) fn command(&self, program: &str) -> Command {
        self.programs.command(program)
    }

    /// Starts the server on `port`, or on a free one.
    pub(super) fn launch(&self, port: Option<u16>) -> Result<(Server, u16), PostgresError> {
        for _ in 1..ATTEMPTS {
            match self.attempt(port) {
                Err(PostgresError::Ended { log }) if may_pass(&log) => {
                    thread::sleep(BETWEEN_ATTEMPTS);
                }
                other => return other,
            }
        }
        self.attempt(port)
    }

    fn attempt(&self, port: Option<u16>) -> Result<(Server, u16), PostgresError> {
        let port = port.map_or_else(free_port, Ok).map_err(PostgresError::Start)?;
        let path = self.nest.path().join("log");
        let said_before = fs::metadata(&path).map_or(0, |log| log.len());
        let log = || log_since(&path, said_before);

        let command = self.postgres(port, &path)?;
        let mut server = Server::spawn(command, self.programs.clone())?;
        let deadline = Instant::now() + READY_WITHIN;
        while !self.is_ready(server.pid()) {
            if server.has_ended() {
                return Err(PostgresError::Ended { log: log() });
            }
            if Instant::now() > deadline {
                return Err(PostgresError::NotReady { waited: READY_WITHIN, log: log() });
            }
            thread::sleep(POLL_EVERY);
        }
        Ok((server, port))
    }

    fn postgres(&self, port: u16, log: &Path) -> Result<Command, PostgresError> {
        let out = File::options().create(true).append(true).open(log);
        let out = out.map_err(PostgresError::at(log))?;
        let err = out.try_clone().map_err(PostgresError::at(log))?;

        let mut command = self.programs.tied("postgres");
        command.arg("-D").arg(&self.data).arg("-k").arg(self.nest.path());
        command.args(["-p", &port.to_string()]);
        let mut set = |name: &str, value: &str| {
            command.arg("-c").arg(format!("{name}={value}"));
        };
        set("listen_addresses", "127.0.0.1");
        set("max_connections", "200");
        set("lc_messages", "C");
        if self.durability == Durability::Fast {
            set("fsync", "off");
            set("full_page_writes", "off");
        }
        for (name, value) in &self.extra {
            set(name, value);
        }
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Ok(command)
    }

    /// Whether the server with this pid says in its lock file that it takes connections. The file
    /// may be one that a killed server has left.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines().map(str::trim);
        lines.next() == Some(&pid.to_string()) && matches!(lines.nth(6), Some("ready" | "standby"))
    }
}

/// A free port below those that systems give to outgoing connections: one of these could else take
/// the port while the server is down for a restart.
fn free_port() -> io::Result<u16> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut tries = (0..100).map(|_| fastrand::u16(20_000..32_000));
    tries.find(is_free).ok_or_else(|| io::ErrorKind::AddrInUse.into())
}

/// Whether the log of a failed start names something that passes: a port taken since it was
/// chosen, shared memory that the processes of old connections still hold after a crash, or a
/// predecessor on the same data that is about to end.
fn may_pass(log: &str) -> bool {
    log.contains("in use") || log.contains("lock file \"postmaster.pid\" already exists")
}

/// The end of what the log says from `start` on.
fn log_since(path: &Path, start: u64) -> String {
    const LINES: usize = 12;
    let log = fs::read(path).unwrap_or_default();
    let new = log.get(usize::try_from(start).unwrap_or(0)..).unwrap_or_default();
    let text = String::from_utf8_lossy(new);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
