//! Many streams, held by several processes ([`crate::subscribe`]), as one.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use url::Url;

use crate::Outcome;
use crate::stats::{self, Latencies};
use crate::subscribe::{Report, STREAMS_EACH};

/// Streams of a process, at most: it may hold 20,000 files.
const STREAMS_OF_A_PROCESS: usize = 9_000;
/// All streams are open within this.
const OPEN_WITHIN: Duration = Duration::from_mins(2);
/// A process reports within this, however busy the machine is.
const REPORT_WITHIN: Duration = Duration::from_secs(30);

/// What the streams follow.
#[derive(Debug, Clone)]
pub(crate) enum Follow {
    /// An app of nodes, with tokens from this URL.
    App { name: String, token_url: String },
    /// A path of a server that is no node.
    Path(String),
}

/// Streams that are open.
pub(crate) struct Swarm {
    workers: Vec<Worker>,
    pub(crate) open: usize,
    pub(crate) failed: usize,
}

struct Worker {
    // Killed when it is dropped.
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// What the streams brought.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) events: u64,
    pub(crate) open: usize,
    pub(crate) latencies: Latencies,
}

impl Swarm {
    /// Opens so many streams, spread over the nodes.
    pub(crate) async fn open(nodes: &[Url], follow: &Follow, streams: usize) -> Outcome<Self> {
        let most = STREAMS_OF_A_PROCESS / STREAMS_EACH * STREAMS_EACH;
        let mut swarm = Self { workers: Vec::new(), open: 0, failed: 0 };
        for (index, first) in (0..streams).step_by(most).enumerate() {
            let count = most.min(streams - first);
            swarm.workers.push(Worker::start(nodes, follow, (index, first, count))?);
        }
        for worker in &mut swarm.workers {
            let line = worker.line(OPEN_WITHIN).await?;
            let mut words = line.split_whitespace().skip(1);
            let mut number = || words.next()?.parse::<usize>().ok();
            let (open, failed) = number().zip(number()).ok_or("a worker is not ready")?;
            swarm.open += open;
            swarm.failed += failed;
        }
        Ok(swarm)
    }

    /// What came since the last report.
    pub(crate) async fn report(&mut self) -> Outcome<Brought> {
        for worker in &mut self.workers {
            worker.stdin.write_all(b"report\n").await?;
        }
        let mut all = Brought { events: 0, open: 0, latencies: stats::latencies() };
        for worker in &mut self.workers {
            let report: Report = serde_json::from_str(&worker.line(REPORT_WITHIN).await?)?;
            all.events += report.events;
            all.open += report.open;
            for (micros, times) in report.latencies {
                all.latencies.saturating_record_n(micros, times);
            }
        }
        Ok(all)
    }
}

impl Worker {
    fn start(
        nodes: &[Url],
        follow: &Follow,
        (index, first, count): (usize, usize, usize),
    ) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("subscribe");
        command.args(nodes.iter().map(|url| format!("--node={url}")));
        command.args([format!("--streams={count}"), format!("--first={first}")]);
        if nodes.iter().all(|url| url.host_str() == Some("127.0.0.1")) {
            // Another address has another 28,000 ports.
            let last = u8::try_from(index + 1)?;
            command.arg(format!("--local={}", Ipv4Addr::new(127, 0, 0, last)));
        }
        match follow {
            Follow::App { name, token_url } => {
                command.args([format!("--app={name}"), format!("--token-url={token_url}")])
            }
            Follow::Path(path) => command.arg(format!("--plain={path}")),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("a worker without stdin")?;
        let stdout = child.stdout.take().ok_or("a worker without stdout")?;
        Ok(Self { _child: child, stdin, stdout: BufReader::new(stdout).lines() })
    }

    async fn line(&mut self, within: Duration) -> Outcome<String> {
        let line = timeout(within, self.stdout.next_line()).await??;
        line.ok_or_else(|| "a worker ended".into())
    }
}
