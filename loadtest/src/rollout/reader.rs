//! A client that follows: by a stream that it opens again where it ends, as late as it was told.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::stage::{APP, Page, Stage};
use crate::Outcome;
use crate::events::Events;
use crate::oracle::{Line, Reach};

/// The most time before a stream is opened again that ended without a word.
const PAUSE: Duration = Duration::from_secs(2);
/// How often a silent stream looks up.
const LOOK: Duration = Duration::from_millis(250);

/// Follows until all is read.
pub(super) async fn follow(stage: &Stage, number: usize, user: usize) -> Line {
    let mut line = Line::new(format!("stream {number} of user {user}"), user, None, Reach::App(0));
    // Not all in one moment.
    sleep(Duration::from_secs(3).mul_f64(fastrand::f64())).await;
    let (mut cursor, client) = (String::new(), format!("reader-{number}"));
    let mut is_first = true;
    while !stage.is_over(&line) {
        if !is_first {
            stage.figures.borrow_mut().reconnects.push(Instant::now());
        }
        is_first = false;
        let path = format!("/sync/{APP}/stream?since={cursor}");
        match once(stage, &path, &client, &mut line, &mut cursor).await {
            Ok(retry) => sleep(retry).await,
            Err(error) => {
                stage.figures.borrow_mut().broken += 1;
                stage.refused("stream", &error);
                sleep(PAUSE.mul_f64(fastrand::f64())).await;
            }
        }
    }
    line
}

/// Opens a stream and reads it to its end; gives when to come back.
async fn once(
    stage: &Stage,
    path: &str,
    client: &str,
    line: &mut Line,
    cursor: &mut String,
) -> Outcome<Duration> {
    let token = stage.token(line.user);
    let mut events = Events::open(&stage.entrance, path, token, client).await?;
    stage.open.set(stage.open.get() + 1);
    let ended = read(stage, &mut events, line, cursor).await;
    stage.open.set(stage.open.get() - 1);
    ended
}

/// Reads a stream to its end; gives when to come back.
async fn read(
    stage: &Stage,
    events: &mut Events,
    line: &mut Line,
    cursor: &mut String,
) -> Outcome<Duration> {
    let (mut turn, mut retry) = (line.turn(cursor), None);
    loop {
        let event = match timeout(LOOK, events.next()).await {
            Ok(event) => event?,
            Err(_) if stage.is_over(line) => return Ok(Duration::ZERO),
            Err(_) => continue,
        };
        let Some(event) = event else {
            return retry.ok_or_else(|| "the stream broke off".into());
        };
        if event.name == "changes" {
            let page: Page = serde_json::from_slice(&event.data)?;
            stage.see(line, &mut turn, &page);
            *cursor = page.synced_until;
        }
        retry = event.retry.or(retry);
    }
}
