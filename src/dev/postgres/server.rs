//! A server's process: its start, its signals and its end.
//!
//! The kernel ties a child to the thread that started it, not to the process. So each server has a
//! thread of its own, which does nothing but outlive it.

use std::convert::Infallible;
use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::PostgresError;
use super::programs::Programs;

const STOP_WITHIN: Duration = Duration::from_secs(30);
const QUIT_WITHIN: Duration = Duration::from_secs(6);
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Immediate shutdown: no last write, but the server's processes and shared memory are gone.
pub(super) const QUIT: &str = "QUIT";
/// Fast shutdown: clients are cut off, everything is written.
const INTERRUPT: &str = "INT";

/// A server's process. Dropping it ends the server at once.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    programs: Programs,
    /// Ends the child's parent thread when it is dropped; nothing is ever sent.
    _parent: SyncSender<Infallible>,
}

impl Server {
    pub(super) fn spawn(mut command: Command, programs: Programs) -> Result<Self, PostgresError> {
        let (parent, until_dropped) = sync_channel(0);
        let (tell, told) = sync_channel(1);
        let life = move || {
            let _ = tell.send(command.spawn());
            let _ = until_dropped.recv();
        };
        let named = thread::Builder::new().name("postgres-parent".to_owned());
        named.spawn(life).map_err(PostgresError::Start)?;
        let child = told.recv().map_err(io::Error::other).flatten();
        Ok(Self { child: child.map_err(PostgresError::Start)?, programs, _parent: parent })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets the server finish.
    pub(super) fn stop(mut self) {
        self.signal(INTERRUPT);
        if !self.ends_within(STOP_WITHIN) {
            tracing::warn!(after = ?STOP_WITHIN, "Postgres does not finish, so it is cut off");
        }
    }

    /// Ends the server as a crash would.
    pub(super) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while !self.has_ended() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(POLL_EVERY);
        }
        true
    }

    /// Sends a signal; `std` can send none but KILL. The pid is still the child's, as the child
    /// is waited for by this value alone.
    fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = self.programs.command("pg_ctl").args(["kill", name, &pid]).output();
        if let Err(error) = sent {
            tracing::warn!(%error, name, "no signal could be sent to Postgres");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.signal(QUIT);
        if !self.ends_within(QUIT_WITHIN) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
