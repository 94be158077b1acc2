//! The environment that a run was in: what a figure depends on besides the code. Nothing in it
//! names the machine or a place on it.

use std::time::Duration;

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

/// Where a run was.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Host {
    /// Model of the processor.
    pub(crate) cpu: String,
    /// Processors that this process may use.
    pub(crate) cpus: usize,
    /// Memory of the machine.
    pub(crate) memory_mib: Option<u64>,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// Version of Postgres, where its URL is known.
    pub(crate) postgres: Option<String>,
    /// The project's commit, with `+` where files differ from it.
    pub(crate) commit: Option<String>,
    /// How long a flush to disk takes, where it was measured.
    pub(crate) flush_micros: Option<f64>,
}

impl Host {
    /// Looks around. `database` is the URL of the fleet's Postgres, `flush` what was measured.
    pub(crate) async fn look(database: Option<&str>, flush: Option<Duration>) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let postgres = match database {
            Some(url) => postgres_version(url).await,
            None => None,
        };
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            cpus,
            memory_mib: memory_mib(&read("/proc/meminfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            postgres,
            commit: commit().await,
            flush_micros: flush.map(|flush| flush.as_secs_f64() * 1e6),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let mut parts = vec![format!("{} × {}", self.cpus, self.cpu)];
        parts.extend(self.memory_mib.map(|mib| format!("{} GiB", (mib + 512) / 1024)));
        parts.push(format!("Linux {}", self.kernel));
        parts.extend(self.postgres.as_ref().map(|version| format!("Postgres {version}")));
        parts.extend(self.commit.as_ref().map(|commit| format!("commit {commit}")));
        parts.extend(self.flush_micros.map(|micros| format!("flush {:.2} ms", micros / 1000.0)));
        parts.join(", ")
    }
}

/// The value of `name : value` in a text of such lines; the first one.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn memory_mib(meminfo: &str) -> Option<u64> {
    let kib: u64 = field(meminfo, "MemTotal")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

async fn postgres_version(url: &str) -> Option<String> {
    let mut connection = PgConnection::connect(url).await.ok()?;
    let version: String =
        sqlx::query_scalar("show server_version").fetch_one(&mut connection).await.ok()?;
    connection.close().await.ok();
    version.split_whitespace().next().map(str::to_owned)
}

/// The commit of the checkout that this process runs in, if it is this project's.
async fn commit() -> Option<String> {
    git(&["cat-file", "-e", "HEAD:loadtest/src/host.rs"]).await?;
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).await?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).await?;
    Some(if dirty.trim().is_empty() { commit } else { format!("{commit}+") })
}

async fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).kill_on_drop(true).output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 2 GHz: fast\nmodel name\t: another\n";
        assert_eq!(field(text, "model name"), Some("A CPU @ 2 GHz: fast"));
        assert_eq!(field(text, "absent"), None);
        assert_eq!(memory_mib("MemFree: 1 kB\nMemTotal:       24576 kB\n"), Some(24));
    }
}
