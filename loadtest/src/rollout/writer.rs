//! A client that pushes, and repeats what fails once: that is all it does for itself.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::stage::{APP, SPACE, Stage, record_of};
use crate::Outcome;
use crate::client::Connection;
use crate::oracle::{Made, Number};

/// The time before the second attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// One change in so many is for all.
const SHARED: u32 = 10;

/// Pushes once in so long, until all is over.
pub(super) async fn push(stage: &Stage, user: usize, every: Duration) {
    let mut due = Instant::now() + every.mul_f64(fastrand::f64());
    let mut connection = None;
    while stage.over.run_until_cancelled(sleep_until(due)).await.is_some() {
        due += every;
        let (number, body) = make(stage, user);
        let begun = Instant::now();
        let mut answered = attempt(stage, user, &body, &mut connection).await;
        if let Err(error) = answered {
            stage.refused("push", &error);
            stage.figures.borrow_mut().repeated += 1;
            sleep(PAUSE).await;
            answered = attempt(stage, user, &body, &mut connection).await;
        }
        match answered {
            Ok(()) => stage.acknowledge(number, begun.elapsed()),
            Err(error) => {
                stage.refused("push, again", &error);
                stage.figures.borrow_mut().failed += 1;
            }
        }
    }
}

fn make(stage: &Stage, user: usize) -> (Number, Vec<u8>) {
    let event = Uuid::now_v7();
    let is_shared = fastrand::u32(0..SHARED) == 0;
    let number = stage.make(Made {
        event: Some(event.as_u128()),
        writer: user,
        user,
        app: 0,
        space: is_shared.then_some(0),
        table: 0,
        digest: 0,
    });
    let change = json!({
        "table": "tasks", "id": record_of(number), "op": "insert", "eventId": event.to_string(),
        "spaceId": is_shared.then_some(SPACE), "data": { "title": "Buy milk" },
    });
    let body = json!({ "since": "2999-01-01T00:00:00Z", "changes": [change] });
    (number, body.to_string().into_bytes())
}

/// Over the connection that there is, as browsers do; over a new one where it broke.
async fn attempt(
    stage: &Stage,
    user: usize,
    body: &[u8],
    connection: &mut Option<Connection>,
) -> Outcome {
    let mut open = match connection.take() {
        Some(open) => open,
        None => stage.entrance.connect().await?,
    };
    let client = format!("writer-{user}");
    let answer = open.push(APP, stage.token(user), &client, body).await?;
    *connection = Some(open);
    match answer.status {
        200 => Ok(()),
        status => Err(format!("{status} {}", String::from_utf8_lossy(&answer.body)).into()),
    }
}
