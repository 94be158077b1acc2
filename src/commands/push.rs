//! `mana-sync push`: the changes of a file, a line each.

mod lines;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::lines::{Line, batches, parse};
use super::access::{Access, ClientError, Node};
use super::bar::Bar;
use super::tail::FUTURE;

/// How often in a row a batch is tried while the node does not answer.
const TRIES: u32 = 20;
/// How long a batch may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// What to push.
#[derive(Debug, Args)]
pub struct PushArgs {
    #[command(flatten)]
    access: Access,
    /// File with a change a line, each a JSON object as in a push; `-` reads the standard input. It is
    /// read whole, and nothing is sent where a line is wrong.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    unpublished: Vec<&'a RawValue>,
}

/// Pushes all lines in their order, and says what came of it.
///
/// # Errors
/// [`ClientError`], a sentence; a wrong line is named before anything is sent.
pub async fn run(args: &PushArgs) -> Result<(), ClientError> {
    let node = args.access.node()?;
    let text = read(&args.file)?;
    let lines = parse(&text)?;
    let begun = Instant::now();
    let bar = Bar::new("pushing");
    let total = count(lines.len());
    let (mut done, mut unpublished) = (0, 0);
    bar.at(0, total);
    for batch in batches(&lines) {
        unpublished += push(&node, batch, &bar).await.map_err(|error| name(error, batch))?;
        done += count(batch.len());
        bar.at(done, total);
    }
    drop(bar);
    println!("Pushed {total} changes in {:.1} s.", begun.elapsed().as_secs_f64());
    if unpublished > 0 {
        println!(
            "{unpublished} of them are stored for their author alone: no verified member of their space."
        );
    }
    Ok(())
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn read(file: &Path) -> Result<String, ClientError> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|all| text = all)
    };
    let what = || format!("cannot read {}", file.display());
    read.map_err(|why| ClientError::Io { what: what(), why })?;
    Ok(text)
}

/// Pushes a batch, however often that takes: its event ids make a repetition harmless. Gives the number
/// of changes that were stored for their author alone.
async fn push(node: &Node, batch: &[Line<'_>], bar: &Bar) -> Result<u64, ClientError> {
    let changes: Vec<_> = batch.iter().map(|line| line.json.as_ref()).collect();
    let body = format!("{{\"since\":\"{FUTURE}\",\"changes\":[{}]}}", changes.join(","));
    for tries in 0.. {
        let error = match send(node, &body).await {
            Ok(unpublished) => return Ok(unpublished),
            Err(error) => error,
        };
        match error.worth_a_wait(tries) {
            Some(after) if tries < TRIES => {
                bar.aside(|| {
                    eprintln!("mana-sync: {error}; again in {:.1} s", after.as_secs_f64());
                });
                // As long as the node says, or with growing pauses.
                tokio::time::sleep(after).await;
            }
            _ => return Err(error),
        }
    }
    Ok(0)
}

async fn send(node: &Node, body: &str) -> Result<u64, ClientError> {
    let answer = node.send(node.post(body.to_owned()).timeout(PATIENCE)).await?;
    let text = answer.text().await.map_err(|error| node.silent(&error))?;
    let answer: Answer<'_> =
        serde_json::from_str(&text).map_err(|error| ClientError::Strange(error.to_string()))?;
    Ok(count(answer.unpublished.len()))
}

/// What the node says of a change by its place in the batch, said of the line.
fn name(error: ClientError, batch: &[Line<'_>]) -> ClientError {
    let ClientError::Refused { message, .. } = &error else { return error };
    let named = message.strip_prefix("changes[").and_then(|rest| rest.split_once(']'));
    let named =
        named.and_then(|(place, why)| Some((batch.get(place.parse::<usize>().ok()?)?, why)));
    match named {
        Some((line, why)) => {
            let why = why.trim_start_matches([':', '.', ' ']).to_owned();
            ClientError::Line { line: line.number, why }
        }
        None => error,
    }
}
