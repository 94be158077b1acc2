//! Clients that pull at a fixed rate.

use std::time::Duration;

use futures::future::join_all;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::Outcome;
use crate::client::{Connection, Target};
use crate::stats::{self, Latencies, float};
use crate::stored::{READER, page};
use crate::tokens::Tokens;

/// Clients of the user who has much to read.
pub(super) struct Pullers {
    connections: Vec<Connection>,
    token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    synced_until: String,
}

impl Pullers {
    /// So many, spread over the nodes.
    pub(super) async fn connect(
        targets: &[Target],
        tokens: &Tokens,
        count: usize,
    ) -> Outcome<Self> {
        let mut connections = Vec::with_capacity(count);
        for target in targets.iter().cycle().take(count) {
            connections.push(target.connect().await?);
        }
        Ok(Self { connections, token: tokens.of(READER).await? })
    }

    /// Pulls the page after a cursor.
    pub(super) async fn pages(
        &mut self,
        cursor: &str,
        rate: f64,
        seconds: u64,
    ) -> Outcome<Latencies> {
        self.pull(&page(cursor), rate, seconds).await
    }

    /// Pulls from where nothing has followed.
    pub(super) async fn nothing_new(&mut self, rate: f64, seconds: u64) -> Outcome<Latencies> {
        let now = format!("{:.6}", jiff::Timestamp::now());
        let first = self.connections.first_mut().ok_or("no clients")?;
        let answer = first.get(&page(&now), &self.token, "reading").await?;
        let answer: Answer = serde_json::from_slice(&answer.body)?;
        self.pull(&page(&answer.synced_until), rate, seconds).await
    }

    async fn pull(&mut self, path: &str, rate: f64, seconds: u64) -> Outcome<Latencies> {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(seconds);
        let count = float(self.connections.len() as u64);
        let every = Duration::from_secs_f64(count / rate);
        let token = self.token.as_str();
        let runs = self.connections.iter_mut().enumerate().map(|(number, connection)| {
            let first = begun + every.mul_f64(float(number as u64) / count);
            pull(connection, path, token, (first, every, end))
        });
        let mut all = stats::latencies();
        for one in join_all(runs).await {
            all.add(one?)?;
        }
        Ok(all)
    }
}

async fn pull(
    connection: &mut Connection,
    path: &str,
    token: &str,
    (mut due, every, end): (Instant, Duration, Instant),
) -> Outcome<Latencies> {
    let mut latencies = stats::latencies();
    while due < end {
        sleep_until(due).await;
        if Instant::now() >= end {
            break;
        }
        let answer = connection.get(path, token, "reading").await?;
        if answer.status != 200 {
            return Err(format!("a pull was answered {}", answer.status).into());
        }
        stats::record(&mut latencies, due.elapsed());
        due += every;
    }
    Ok(latencies)
}
