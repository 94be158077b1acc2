//! `mana-sync tail`: follows a feed in the terminal.

mod show;

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::show::{Change, Style};
use super::access::{Access, ClientError, Node, pause};
use super::events::{End, Event, Events};
use crate::protocol::Op;

/// A time after all stamps: read from there, there is nothing, and the answer says where now is.
pub(super) const FUTURE: &str = "9999-12-31T23:59:59Z";

/// What to follow, and how to show it.
#[derive(Debug, Args)]
pub struct TailArgs {
    #[command(flatten)]
    access: Access,
    /// Begins after this cursor or ISO time, with what is stored already; where it is not given, now.
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
    /// A JSON object a line, each a change as the wire has it.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    only: Only,
}

/// Which changes to show.
#[derive(Debug, Args)]
#[command(next_help_heading = "Only changes…")]
struct Only {
    /// … of these tables, comma-separated.
    #[arg(long = "table", value_name = "TABLES", value_delimiter = ',')]
    tables: Vec<String>,
    /// … of these kinds, comma-separated.
    #[arg(long = "op", value_name = "OPS", value_delimiter = ',', value_parser = ops())]
    ops: Vec<Op>,
    /// … in these spaces, comma-separated.
    #[arg(long = "space", value_name = "SPACES", value_delimiter = ',')]
    spaces: Vec<String>,
    /// … of these records, comma-separated.
    #[arg(long = "record", value_name = "IDS", value_delimiter = ',')]
    records: Vec<String>,
}

fn ops() -> impl TypedValueParser<Value = Op> {
    let names = [Op::Insert, Op::Update, Op::Delete].map(Op::as_str);
    PossibleValuesParser::new(names).try_map(|name| Op::parse(&name).ok_or("is no operation"))
}

impl Only {
    fn lets(&self, change: &Change<'_>) -> bool {
        let one_of = |wanted: &[String], found: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted == found)
        };
        one_of(&self.spaces, change.space_id.as_deref().unwrap_or_default())
            && one_of(&self.records, &change.id)
            && (self.ops.is_empty() || self.ops.iter().any(|op| op.as_str() == change.op))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changes<'a> {
    #[serde(borrow)]
    changes: Vec<&'a RawValue>,
    synced_until: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Now {
    synced_until: String,
}

/// Why the following ends.
enum Stop {
    /// Nobody reads what is written.
    Closed,
    Failed(ClientError),
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(ClientError::Io { what: "cannot write".to_owned(), why }),
        }
    }
}

/// Follows until interrupted, or until nobody reads.
///
/// # Errors
/// [`ClientError`], a sentence, where the node refuses or can't be reached at first.
pub async fn run(args: &TailArgs) -> Result<(), ClientError> {
    let mut tail = Tail { args, node: args.access.node()?, cursor: String::new(), tries: 0 };
    let stop = tokio::select! {
        stop = tail.follow() => stop,
        _ = tokio::signal::ctrl_c() => return Ok(()),
    };
    match stop {
        Ok(()) | Err(Stop::Closed) => Ok(()),
        Err(Stop::Failed(error)) => Err(error),
    }
}

struct Tail<'a> {
    args: &'a TailArgs,
    node: Node,
    cursor: String,
    /// How often in a row nothing came of it.
    tries: u32,
}

impl Tail<'_> {
    async fn follow(&mut self) -> Result<(), Stop> {
        self.cursor = match &self.args.since {
            Some(since) => since.clone(),
            None => now(&self.node).await?,
        };
        let mut events = self.open().await?;
        loop {
            let (why, wait) = self.listen(&mut events).await?;
            events = self.again(why.to_string(), wait).await?;
        }
    }

    async fn open(&self) -> Result<Events, ClientError> {
        let tables = self.args.only.tables.join(",");
        let mut query = vec![("since", self.cursor.as_str())];
        if !tables.is_empty() {
            query.push(("collections", &tables));
        }
        let response = self.node.send(self.node.get("stream", &query)).await?;
        Ok(Events::new(response))
    }

    /// Shows what comes, until the stream has ended; then says why, and when to come again.
    async fn listen(&mut self, events: &mut Events) -> Result<(End, Option<Duration>), Stop> {
        loop {
            let event = match events.next().await {
                Ok(event) => event,
                Err(ended) => return Ok((ended, None)),
            };
            self.tries = 0;
            match event.name.as_str() {
                "changes" => self.show(&event)?,
                "expired" if !self.node.renew()? => {
                    let message = "the token has expired".to_owned();
                    let status = reqwest::StatusCode::UNAUTHORIZED;
                    return Err(ClientError::Refused { status, message }.into());
                }
                "expired" => return Ok((End::Over, Some(Duration::ZERO))),
                "reconnect" => return Ok((End::Over, event.retry)),
                _ => {}
            }
        }
    }

    fn show(&mut self, event: &Event) -> Result<(), Stop> {
        let strange = |error: serde_json::Error| ClientError::Strange(error.to_string());
        let Changes { changes, synced_until } =
            serde_json::from_str(&event.data).map_err(strange)?;
        let mut out = io::stdout().lock();
        let style = Style::of_stdout();
        for raw in changes {
            let change: Change<'_> = serde_json::from_str(raw.get()).map_err(strange)?;
            if !self.args.only.lets(&change) {
                continue;
            }
            if self.args.json {
                writeln!(out, "{}", raw.get())?;
            } else {
                change.write(&mut out, &synced_until, style)?;
            }
        }
        out.flush()?;
        self.cursor = synced_until;
        Ok(())
    }

    /// Opens the stream anew from where it was read, as often as that takes.
    async fn again(&mut self, why: String, wait: Option<Duration>) -> Result<Events, Stop> {
        let (mut why, mut wait) = (why, wait);
        loop {
            let pause = wait.take().unwrap_or_else(|| pause(self.tries));
            self.tries += 1;
            writeln!(io::stderr(), "mana-sync: {why}; again in {:.1} s", pause.as_secs_f64()).ok();
            // As long as the node says, or with growing pauses.
            tokio::time::sleep(pause).await;
            match self.open().await {
                Ok(events) => return Ok(events),
                Err(error) => match error.worth_a_wait(self.tries) {
                    Some(after) => (why, wait) = (error.to_string(), Some(after)),
                    None => return Err(error.into()),
                },
            }
        }
    }
}

/// The cursor of this moment.
async fn now(node: &Node) -> Result<String, ClientError> {
    let query = [("collections", "-"), ("since", FUTURE), ("limit", "1")];
    let answer = node.send(node.get("pull", &query)).await?;
    let text = answer.text().await.map_err(|error| node.silent(&error))?;
    let now: Now =
        serde_json::from_str(&text).map_err(|error| ClientError::Strange(error.to_string()))?;
    Ok(now.synced_until)
}
