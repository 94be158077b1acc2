//! A writer: pushes changesets of unique records, one after another, each until it is
//! acknowledged. A repeated push has the same event ids, so that it is stored once.

use std::time::Duration;

use fastrand::Rng;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cast::{APP, Stage, TABLES, record, space_name};
use crate::client::Connection;
use crate::oracle::{Made, Number};

/// A push that is not acknowledged is repeated so often.
const ATTEMPTS: usize = 100;
/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// More changes than this are not kept in mind: then a soak ends early.
const MOST_CHANGES: Number = 20_000_000;

/// A writer.
pub(super) struct Writer {
    pub(super) number: usize,
    pub(super) user: usize,
    pub(super) rng: Rng,
}

/// How the pushes went.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub(super) struct Pushes {
    pub(super) acknowledged: u64,
    /// Attempts that were not acknowledged.
    pub(super) repeated: u64,
    /// Given up, or refused.
    pub(super) failed: u64,
}

/// What an acknowledgement says of changes that are kept for their author.
#[derive(Debug, Default, Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    unpublished: Vec<Unpublished>,
}

#[derive(Debug, Deserialize)]
struct Unpublished {
    id: String,
}

impl Writer {
    /// Pushes once in so long, until told to stop.
    pub(super) async fn run(
        mut self,
        stage: &Stage<'_>,
        every: Duration,
        stop: &CancellationToken,
    ) -> Pushes {
        let mut pushes = Pushes::default();
        let mut due = Instant::now() + every.mul_f64(self.rng.f64());
        let mut connection = None;
        while stop.run_until_cancelled(sleep_until(due)).await.is_some() {
            due += every;
            if stage.ledger().next() > MOST_CHANGES {
                stop.cancel();
            }
            let (numbers, body) = self.make(stage);
            // Not given up in the middle: what is on its way is journalled.
            self.push(stage, &numbers, &body, &mut connection, &mut pushes).await;
        }
        pushes
    }

    fn make(&mut self, stage: &Stage<'_>) -> (Vec<Number>, Vec<u8>) {
        let mut numbers = Vec::new();
        let mut changes = Vec::new();
        for _ in 0..self.rng.u32(1..=10) {
            let space = stage.draw_space(self.user, &mut self.rng);
            let event = Uuid::now_v7();
            let table = self.rng.usize(0..TABLES.len());
            let number = stage.ledger().make(Made {
                event: Some(event.as_u128()),
                writer: self.number,
                user: self.user,
                app: 0,
                space,
                table,
                digest: 0,
            });
            let table = TABLES.get(table).copied().unwrap_or_default();
            let mut change = json!({
                "table": table, "id": record(number), "op": "insert",
                "eventId": event.to_string(), "data": { "title": "Buy milk", "n": number },
            });
            if let (Some(space), Some(change)) = (space, change.as_object_mut()) {
                change.insert("spaceId".to_owned(), space_name(space).into());
            }
            numbers.push(number);
            changes.push(change);
        }
        let body = json!({ "since": "2999-01-01T00:00:00Z", "changes": changes });
        (numbers, body.to_string().into_bytes())
    }

    async fn push(
        &mut self,
        stage: &Stage<'_>,
        numbers: &[Number],
        body: &[u8],
        connection: &mut Option<Connection>,
        pushes: &mut Pushes,
    ) {
        let client = format!("writer-{}", self.number);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                pushes.repeated += 1;
                sleep(PAUSE).await;
            }
            let open = match connection.take() {
                Some(open) => Ok(open),
                // Another node after each failure.
                None => match stage.aim.target(self.number + attempt) {
                    Ok(target) => target.connect().await,
                    Err(error) => Err(error),
                },
            };
            let Ok(mut open) = open else { continue };
            let answer = open.push(APP, stage.token(self.user), &client, body).await;
            let Ok(answer) = answer else { continue };
            match answer.status {
                200 => {
                    *connection = Some(open);
                    pushes.acknowledged += 1;
                    journal(stage, numbers, &answer.body);
                    return;
                }
                408 | 429 | 500.. => {}
                _ => break,
            }
        }
        pushes.failed += 1;
    }
}

fn journal(stage: &Stage<'_>, numbers: &[Number], answer: &[u8]) {
    let said: Acknowledgement = serde_json::from_slice(answer).unwrap_or_default();
    let mut ledger = stage.ledger();
    for number in numbers {
        let unpublished = said.unpublished.iter().any(|one| one.id == record(*number));
        ledger.acknowledge(*number, unpublished);
    }
}
