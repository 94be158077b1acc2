//! The programs of an installation, and how they are run.
//!
//! The server is to die with its parent, also with one that is killed. On Linux the kernel sees to
//! that (`PR_SET_PDEATHSIG`). The signal is asked for through `setpriv`, as asking for it between
//! fork and exec would take unsafe code, and after the change of user, which would forget it.
//! Without `setpriv`, a server that outlives its parent ends within a minute of its temporary
//! folder being swept; one on a lasting folder goes on.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Account;
use super::server::QUIT;
use super::{PostgresError, SUPERUSER};

/// The programs of an installation, and whom they run as.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    bindir: PathBuf,
    account: Option<Account>,
}

impl Programs {
    pub(super) fn new(bindir: PathBuf, account: Option<Account>) -> Self {
        Self { bindir, account }
    }

    pub(super) fn bindir(&self) -> &Path {
        &self.bindir
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bindir.join(program));
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        // Where this process stands may be closed to the account.
        command.current_dir("/");
        command
    }

    /// A program that dies with the thread that starts it, where that can be had. It hears no
    /// Ctrl-C of the terminal: when the server ends is its parent's affair.
    pub(super) fn tied(&self, program: &str) -> Command {
        let mut command = if has_setpriv() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", QUIT]);
            if let Some(Account { uid, gid }) = self.account {
                command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}"));
                command.arg("--clear-groups");
            }
            command.arg(self.bindir.join(program)).current_dir("/");
            command
        } else {
            tracing::info!("no setpriv here: Postgres outlives this process if that is killed");
            self.command(program)
        };
        command.process_group(0);
        command
    }

    /// Makes a data folder: beside its place, and then moved there, so that a folder is never
    /// half made.
    pub(super) fn initdb(&self, data: &Path, lasting: bool) -> Result<(), PostgresError> {
        let mut unfinished = data.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(PostgresError::at(&unfinished))?;
        }
        fs::create_dir_all(&unfinished).map_err(PostgresError::at(&unfinished))?;
        if let Some(account) = self.account {
            account.own(&unfinished)?;
        }

        let mut command = self.command("initdb");
        command.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C"]);
        if !lasting {
            command.arg("--no-sync");
        }
        let output = command.arg("-D").arg(&unfinished).output().map_err(PostgresError::Start)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(PostgresError::Initdb { said });
        }
        fs::rename(&unfinished, data).map_err(PostgresError::at(data))
    }
}

/// Whether the machine has util-linux' `setpriv`; busybox' knows no death signal.
fn has_setpriv() -> bool {
    let probe = Command::new("setpriv").args(["--pdeathsig", QUIT, "true"]).output();
    probe.is_ok_and(|output| output.status.success())
}
