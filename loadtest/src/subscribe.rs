//! `subscribe` (hidden): a process that holds streams open and times what they bring. A process may
//! hold 20,000 files here, so many streams need several of these; [`crate::swarm`] drives them.
//!
//! It says `ready <open> <failed>` on stdout, then answers each line `report` on stdin with one
//! line of JSON, a [`Report`] since the last one, and ends with its stdin.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use futures::{StreamExt, stream};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use url::Url;

use crate::Outcome;
use crate::client::{Target, now_nanos, take_marks};
use crate::stats::{self, Latencies};
use crate::tokens::Tokens;

/// Streams that are opened at the same time.
const OPENING: usize = 64;
/// What is read of a socket at once.
const READ: usize = 16 * 1024;
/// Streams of one user.
pub(crate) const STREAMS_EACH: usize = 10;

/// The flags.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// URL of a node; repeat it for several, over which the streams are spread.
    #[arg(long = "node", value_name = "URL", required = true)]
    nodes: Vec<Url>,
    /// Streams to open.
    #[arg(long)]
    streams: usize,
    /// The number of the first.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// URL of tokens, with `{user}` in it.
    #[arg(long, required_unless_present = "plain")]
    token_url: Option<String>,
    /// Follow this path of a server that is no node, without tokens.
    #[arg(long)]
    plain: Option<String>,
    #[arg(long, default_value = "loadtest")]
    app: String,
    /// Tables to follow.
    #[arg(long, default_value = "tasks")]
    tables: String,
    /// Address of this machine from which to connect.
    #[arg(long)]
    local: Option<IpAddr>,
}

/// What the streams of a process brought since the last report.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Report {
    /// Changes that came.
    pub(crate) events: u64,
    /// Streams that are open.
    pub(crate) open: usize,
    /// Latencies in microseconds, and how often each occurred.
    pub(crate) latencies: Vec<(u64, u64)>,
}

/// The user of a stream's number.
pub(crate) fn user(number: usize) -> String {
    format!("reader-{}", number / STREAMS_EACH)
}

#[derive(Debug)]
struct Tally {
    open: usize,
    latencies: Latencies,
}

/// What all streams of the process write to.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Tally>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> Report {
        let mut tally = self.lock();
        let latencies: Vec<(u64, u64)> = tally
            .latencies
            .iter_recorded()
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect();
        let report = Report { events: tally.latencies.len(), open: tally.open, latencies };
        tally.latencies.reset();
        report
    }
}

pub(crate) async fn run(args: Args) -> Outcome {
    let mut targets = Vec::new();
    for url in &args.nodes {
        targets.push(Target::resolve(url).await?);
    }
    let tally = Tally { open: 0, latencies: stats::latencies() };
    let shared = Shared(Arc::new(Mutex::new(tally)));
    let tokens = args.token_url.as_deref().map(Tokens::new).transpose()?;
    let path = args.plain.clone().unwrap_or_else(|| {
        let now = jiff::Timestamp::now();
        format!("/sync/{}/stream?collections={}&since={now:.6}", args.app, args.tables)
    });
    let tokens = user_tokens(&args, tokens.as_ref()).await?;
    let opening = (0..args.streams).map(|number| {
        let target = targets.get(number % targets.len());
        let token = tokens.get(number / STREAMS_EACH).map_or("", String::as_str);
        open(target, &path, token, args.first + number, args.local)
    });
    let mut opening = stream::iter(opening).buffer_unordered(OPENING);
    let (mut open, mut failed) = (JoinSet::new(), 0);
    while let Some(opened) = opening.next().await {
        match opened {
            Ok((socket, read)) => {
                shared.lock().open += 1;
                open.spawn(follow(socket, read, shared.clone()));
            }
            Err(error) => {
                if failed == 0 {
                    eprintln!("subscribe: {error}");
                }
                failed += 1;
            }
        }
    }
    println!("ready {} {failed}", open.len());
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "report" {
            println!("{}", serde_json::to_string(&shared.report())?);
        }
    }
    Ok(())
}

/// A token for each user of these streams.
async fn user_tokens(args: &Args, tokens: Option<&Tokens>) -> Outcome<Vec<String>> {
    let Some(tokens) = tokens else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for number in (0..args.streams).step_by(STREAMS_EACH) {
        all.push(tokens.of(&user(args.first + number)).await?);
    }
    Ok(all)
}

async fn open(
    target: Option<&Target>,
    path: &str,
    token: &str,
    number: usize,
    local: Option<IpAddr>,
) -> Outcome<(TcpStream, BytesMut)> {
    let mut connection = target.ok_or("no node")?.connect_from(local).await?;
    let status = connection.begin_stream(path, token, &format!("stream-{number}")).await?;
    if status != 200 {
        return Err(format!("stream {number} was answered {status}").into());
    }
    Ok(connection.into_parts())
}

/// Reads a stream to its end. Between two reads it holds no buffer, only what may become a mark.
async fn follow(socket: TcpStream, mut rest: BytesMut, shared: Shared) {
    while socket.readable().await.is_ok() {
        let mut read = BytesMut::with_capacity(READ);
        read.extend_from_slice(&rest);
        match socket.try_read_buf(&mut read) {
            Ok(0) => break,
            Ok(_) => {
                let now = now_nanos();
                let mut tally = shared.lock();
                take_marks(&mut read, |made| {
                    let micros = now.saturating_sub(made) / 1_000;
                    tally.latencies.saturating_record(micros.max(1));
                });
                rest = BytesMut::from(&read[..]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    shared.lock().open -= 1;
}
