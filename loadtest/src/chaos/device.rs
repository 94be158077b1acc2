//! A device: what it has read, how far, and how it asks for more.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::timeout;

use super::counts::Path;
use super::stage::Stage;
use super::state::State;
use super::wire::{Page, TABLES, app_name};
use crate::Outcome;
use crate::client::{Answer, Connection};
use crate::oracle::{Line, Reach, Turn};

/// Whoever has read nothing yet begins here.
const START: &str = "1970-01-01T00:00:00.000Z";
/// A connection is kept for about so many requests.
const REQUESTS: u32 = 20;

/// What a device has read, and how far.
pub(super) struct Device {
    pub(super) line: Line,
    pub(super) state: State,
    cursors: Cursors,
}

/// Plain strings, as clients keep them.
enum Cursors {
    /// One for all tables, of all apps that it reads.
    One(String),
    /// One for each table; for all of them the smallest is sent.
    Each([String; TABLES.len()]),
}

impl Device {
    /// A new device. `own`: the writer that it is itself.
    pub(super) fn new(name: String, user: usize, own: Option<usize>, reach: Reach) -> Self {
        let cursors = if reach.is_across() {
            Cursors::One(START.to_owned())
        } else {
            Cursors::Each(TABLES.map(|_| START.to_owned()))
        };
        Self { line: Line::new(name, user, own, reach), state: State::default(), cursors }
    }

    /// The cursor to go on from: in one table, or in all.
    pub(super) fn since(&self, table: Option<usize>) -> String {
        match (&self.cursors, table) {
            (Cursors::One(cursor), _) => cursor.clone(),
            (Cursors::Each(all), Some(table)) => all.get(table).cloned().unwrap_or_default(),
            (Cursors::Each(all), None) => all.iter().min().cloned().unwrap_or_default(),
        }
    }

    /// Takes a page of one table or of all.
    pub(super) fn take(
        &mut self,
        stage: &Stage<'_>,
        turn: &mut Turn,
        page: &Page,
        (table, path): (Option<usize>, Path),
    ) {
        let named = page.app();
        let sightings: Vec<_> = page.changes.iter().map(|seen| seen.sighting(named)).collect();
        self.line.take(&stage.ledger(), turn, &sightings, &page.synced_until);
        let app = named.or(self.line.reach.app());
        page.changes.iter().for_each(|seen| self.state.apply(app, seen));
        let moved: &mut [String] = match (&mut self.cursors, table) {
            (Cursors::One(cursor), _) => std::slice::from_mut(cursor),
            (Cursors::Each(all), None) => all,
            (Cursors::Each(all), Some(table)) => all.get_mut(table..=table).unwrap_or_default(),
        };
        for cursor in moved.iter_mut().filter(|cursor| cursor.as_str() < page.synced_until.as_str())
        {
            page.synced_until.clone_into(cursor);
        }
        stage.counts.delivered(path, page.changes.len());
        if self.line.is_wrong() {
            stage.catch(&self.line);
        }
    }
}

/// How a device asks: over a connection that it keeps for a while.
pub(super) struct Caller {
    pub(super) user: usize,
    pub(super) client: String,
    pub(super) rng: Rng,
    connection: Option<Connection>,
}

impl Caller {
    pub(super) fn new(user: usize, client: String, rng: Rng) -> Self {
        Self { user, client, rng, connection: None }
    }

    /// From now on it has no connection.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// How long this client waits for an answer this time.
    fn patience(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(2_000..8_000))
    }

    /// A pause before something is tried again: longer each time, and never the same for two.
    pub(super) fn pause(&mut self, failures: u32) -> Duration {
        Duration::from_millis(100 << failures.min(4)).mul_f64(0.5 + self.rng.f64())
    }

    /// Pulls from one table of an app, or from all.
    pub(super) async fn pull(
        &mut self,
        stage: &Stage<'_>,
        (app, table): (usize, Option<usize>),
        since: &str,
    ) -> Outcome<Page> {
        let name = table.and_then(|table| TABLES.get(table)).copied();
        let which = name.map_or_else(
            || format!("collections={}", TABLES.join(",")),
            |name| format!("collection={name}"),
        );
        let limit = self.rng.u32(1..=1000);
        let path = format!("/sync/{}/pull?{which}&since={since}&limit={limit}", app_name(app));
        let patience = self.patience();
        timeout(patience, self.ask(stage, &path, None)).await?
    }

    /// Pushes a body to an app.
    pub(super) async fn push(
        &mut self,
        stage: &Stage<'_>,
        app: usize,
        body: &[u8],
    ) -> Outcome<Page> {
        let patience = self.patience();
        timeout(patience, self.ask(stage, app_name(app), Some(body))).await?
    }

    /// Pushes a body to this app, or gets this path.
    async fn ask(&mut self, stage: &Stage<'_>, what: &str, body: Option<&[u8]>) -> Outcome<Page> {
        let kept = self.connection.take().filter(|_| self.rng.u32(0..REQUESTS) > 0);
        // A connection that breaks down half way is not used again.
        let mut connection = match kept {
            Some(kept) => kept,
            None => stage.door(&mut self.rng).connect().await?,
        };
        let (token, client) = (stage.token(self.user), self.client.as_str());
        let Answer { status, body } = match body {
            Some(body) => connection.push(what, token, client, body).await?,
            None => connection.get(what, token, client).await?,
        };
        if status != 200 {
            stage.counts.refused(status);
            return Err(format!("status {status}").into());
        }
        self.connection = Some(connection);
        Ok(serde_json::from_slice(&body)?)
    }
}
