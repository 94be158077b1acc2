//! Readers: each goes on from its own cursor, from node to node, and keeps all it saw in a line.
//! Connections that fail are opened again; nothing is skipped.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, timeout};

use super::cast::{APP, Page, Stage, TABLES};
use crate::Outcome;
use crate::client::Connection;
use crate::events::Events;
use crate::oracle::{Line, Reach};

/// A pause before a connection is opened again, and how often a silent stream looks up.
const PAUSE: Duration = Duration::from_millis(250);
/// Pages of the last reading, beyond which something goes in circles.
const MOST_PAGES: usize = 10_000_000;

/// A reader.
pub(super) struct Reader {
    pub(super) number: usize,
    pub(super) line: Line,
    cursor: String,
    pub(super) rng: Rng,
    /// Requests and streams that failed.
    pub(super) failures: u64,
}

impl Reader {
    /// A new device.
    pub(super) fn new(kind: &str, number: usize, user: usize, rng: Rng) -> Self {
        let line = Line::new(format!("{kind}-{number} of user {user}"), user, None, Reach::App(0));
        Self { number, line, cursor: String::new(), rng, failures: 0 }
    }

    /// Follows by streams that end after a while and go on elsewhere.
    pub(super) async fn stream(mut self, stage: &Stage<'_>) -> Self {
        let mut opened = self.number;
        // Ends when the stage is over: within its deadline after the last push.
        while !stage.is_over(&self.line) {
            let life = Duration::from_millis(self.rng.u64(1_000..15_000));
            if self.follow(stage, opened, Instant::now() + life).await.is_err() {
                self.failures += 1;
                sleep(PAUSE).await;
            }
            opened += 1;
        }
        self
    }

    async fn follow(&mut self, stage: &Stage<'_>, node: usize, until: Instant) -> Outcome {
        let path = format!("/sync/{APP}/stream?since={}", self.cursor);
        let client = format!("streaming-{}", self.number);
        let token = stage.token(self.line.user);
        let mut events = Events::open(stage.aim.target(node)?, &path, token, &client).await?;
        let mut turn = self.line.turn(&self.cursor);
        while Instant::now() < until {
            match timeout(PAUSE, events.next()).await {
                Ok(event) => {
                    let event = event?.ok_or("the stream ended")?;
                    if event.name == "changes" {
                        let page: Page = serde_json::from_slice(&event.data)?;
                        stage.see(&mut self.line, &mut turn, &page);
                        self.cursor = page.synced_until;
                    }
                }
                Err(_) if stage.is_over(&self.line) => break,
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Follows by pulls, now and then, from one node after another.
    pub(super) async fn pull(mut self, stage: &Stage<'_>) -> Self {
        let mut node = self.number;
        while !stage.is_over(&self.line) {
            sleep(Duration::from_millis(self.rng.u64(20..500))).await;
            node += 1;
            if self.catch_up(stage, node).await.is_err() {
                self.failures += 1;
                sleep(PAUSE).await;
            }
        }
        self
    }

    /// Reads from the cursor until there is no more; from the start where there is none.
    pub(super) async fn catch_up(&mut self, stage: &Stage<'_>, node: usize) -> Outcome {
        let mut connection = stage.aim.target(node)?.connect().await?;
        for _ in 0..MOST_PAGES {
            if !self.page(stage, &mut connection).await? {
                return Ok(());
            }
        }
        Err("there is always more".into())
    }

    /// Reads a page; whether there is more.
    async fn page(&mut self, stage: &Stage<'_>, connection: &mut Connection) -> Outcome<bool> {
        let since = match self.cursor.as_str() {
            "" => "1970-01-01T00:00:00Z",
            cursor => cursor,
        };
        let tables = TABLES.join(",");
        let limit = self.rng.u32(1..=1000);
        let path = format!("/sync/{APP}/pull?collections={tables}&since={since}&limit={limit}");
        let client = format!("pulling-{}", self.number);
        let answer = connection.get(&path, stage.token(self.line.user), &client).await?;
        if answer.status != 200 {
            return Err(format!("a pull was answered {}", answer.status).into());
        }
        let page: Page = serde_json::from_slice(&answer.body)?;
        let mut turn = self.line.turn(&self.cursor);
        stage.see(&mut self.line, &mut turn, &page);
        self.cursor = page.synced_until;
        Ok(page.has_more)
    }
}
