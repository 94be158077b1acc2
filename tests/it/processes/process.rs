//! A process of the built binary, killed when it is dropped.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::support::eventually;

/// A process that runs, or has ended.
pub struct Process {
    child: Child,
    output: TempDir,
    /// `http://127.0.0.1:port`, for a node.
    pub url: String,
}

impl Process {
    /// Starts a subcommand. The environment has none of the node's variables.
    pub fn start(command: &str, flags: &[&str]) -> Self {
        Self::start_with(command, flags, &[])
    }

    /// Starts a subcommand with variables of its own.
    pub fn start_with(command: &str, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let kept = std::env::vars_os().filter(|(name, _)| {
            ["PATH", "HOME", "TMPDIR", "PG_BINDIR"].iter().any(|kept| name == *kept)
        });
        let mut program = Command::new(env!("CARGO_BIN_EXE_mana-sync"));
        program.arg(command).args(flags).env_clear().envs(kept);
        Self::spawn(program.envs(variables.iter().copied()))
    }

    /// Starts a line of shell, which the shell becomes.
    pub fn shell(line: &str) -> Self {
        Self::spawn(Command::new("sh").args(["-c", &format!("exec {line}")]))
    }

    /// Starts a program.
    pub fn spawn(program: &mut Command) -> Self {
        let output = tempfile::tempdir().unwrap();
        let file = |name: &str| Stdio::from(fs::File::create(output.path().join(name)).unwrap());
        program.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        Self { child: program.spawn().unwrap(), output, url: String::new() }
    }

    /// What it wrote to its standard output so far.
    pub fn out(&self) -> String {
        fs::read_to_string(self.output.path().join("out")).unwrap()
    }

    /// What it wrote to its standard error so far: its log.
    pub fn err(&self) -> String {
        fs::read_to_string(self.output.path().join("err")).unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it end as SIGTERM does, and waits for that.
    pub fn terminate(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal("TERM");
            self.child.wait().unwrap();
        }
    }

    /// Waits until it has written `what` to its standard output.
    pub async fn says(&self, what: &str) {
        eventually(what, async || self.out().contains(what).then_some(())).await;
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the end of the process", async || self.child.try_wait().unwrap()).await
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self) {
        eventually("a node that is ready", async || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended at once: {}", self.err());
            (self.status("/health/ready").await == Some(200)).then_some(())
        })
        .await;
    }

    /// The status that a GET is answered with; `None` where it is not.
    pub async fn status(&self, path: &str) -> Option<u16> {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = http.get(format!("{}{path}", self.url)).send().await.ok()?;
        Some(response.status().as_u16())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A port that nobody listens on at the moment, and that stays free while whoever had it is away:
/// the system gives none of these to connections that go out.
pub fn lasting_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(20_000..30_000)).find(is_free).unwrap()
}

/// Whether a process is there (and is no zombie that nobody has waited for).
pub fn is_alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}
