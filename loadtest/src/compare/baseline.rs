//! What we are compared with, on the same Postgres: pushes as a plain server would store them.
//!
//! Each client has a connection of its own with the settings of the node's, prepared statements,
//! and pushes the same row into a table with the same columns, checks and indexes, without our
//! trigger and row-level security. A push is one statement and one round trip, also where it
//! notifies: the quickest form that a plain server could choose. One connection listens.

use std::time::Duration;

use futures::future::join_all;
use mana_sync::store::connect_options;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Outcome;
use crate::client::mark;
use crate::stats::float;

/// The baselines' table: as ours.
const TABLE: &str = "create table base_changes (like sync_changes including all)";

/// Where the notifications go.
pub(super) const CHANNEL: &str = "base_changes";

const INSERT: &str = "insert into base_changes (id, user_id, app_id, table_name, record_id, \
    op, data, client_id, created_at) \
    values ($1, $2, 'loadtest', 'tasks', $3, 'insert', $4::json, $5, clock_timestamp())";

const INSERT_AND_NOTIFY: &str = "with stored as (insert into base_changes \
    (id, user_id, app_id, table_name, record_id, op, data, client_id, created_at) \
    values ($1, $2, 'loadtest', 'tasks', $3, 'insert', $4::json, $5, clock_timestamp()) \
    returning user_id) \
    select pg_notify('base_changes', json_build_array('u', user_id, 'loadtest')::text) from stored";

const INSERT_MANY: &str = "insert into base_changes (id, user_id, app_id, table_name, record_id, \
    op, data, client_id, created_at) \
    select id, $2, 'loadtest', 'tasks', record, 'insert', data::json, $5, clock_timestamp() \
    from unnest($1::uuid[], $3::text[], $4::text[]) r(id, record, data)";

/// How a baseline stores a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One transaction a push: insert and notification.
    InsertAndNotify,
    /// One transaction a push: insert.
    Insert,
    /// One insert of so many rows a push.
    InsertMany(usize),
}

/// Clients of a baseline.
pub(super) struct Baseline(Vec<Client>);

struct Client {
    connection: PgConnection,
    user: String,
    name: String,
    pushed: u64,
}

impl Baseline {
    /// Makes the table in a database that has our schema.
    pub(super) async fn prepare(url: &str) -> Outcome {
        let mut connection = connect(url).await?;
        sqlx::query(TABLE).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    /// Connects so many clients.
    pub(super) async fn connect(url: &str, count: usize) -> Outcome<Self> {
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            clients.push(Client {
                connection: connect(url).await?,
                user: format!("user-{number}"),
                name: format!("client-{number}"),
                pushed: 0,
            });
        }
        Ok(Self(clients))
    }

    /// Pushes as fast as they are answered; gives the pushes a second.
    pub(super) async fn run(&mut self, kind: Kind, time: Duration) -> Outcome<f64> {
        let begun = Instant::now();
        let runs = self.0.iter_mut().map(|client| client.run(kind, begun + time));
        let mut pushes = 0;
        for stored in join_all(runs).await {
            pushes += stored?;
        }
        Ok(float(pushes) / begun.elapsed().as_secs_f64())
    }
}

/// A connection with the settings of the node's.
pub(super) async fn connect(url: &str) -> Outcome<PgConnection> {
    Ok(connect_options(url, Duration::from_secs(30))?.connect().await?)
}

impl Client {
    async fn run(&mut self, kind: Kind, end: Instant) -> Outcome<u64> {
        let mut stored = 0;
        while Instant::now() < end {
            self.push(kind).await?;
            stored += 1;
        }
        Ok(stored)
    }

    async fn push(&mut self, kind: Kind) -> Outcome {
        self.pushed += 1;
        let (user, client) = (self.user.as_str(), self.name.as_str());
        let record = |change: usize| format!("{client}-{}-{change}", self.pushed);
        let connection = &mut self.connection;
        match kind {
            Kind::InsertMany(rows) => {
                let all = || 0..rows;
                sqlx::query(INSERT_MANY)
                    .bind(all().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
                    .bind(user)
                    .bind(all().map(record).collect::<Vec<_>>())
                    .bind(all().map(data).collect::<Vec<_>>())
                    .bind(client)
                    .execute(connection)
                    .await?;
            }
            Kind::Insert | Kind::InsertAndNotify => {
                let statement = if kind == Kind::Insert { INSERT } else { INSERT_AND_NOTIFY };
                sqlx::query(statement)
                    .bind(Uuid::now_v7())
                    .bind(user)
                    .bind(record(0))
                    .bind(data(0))
                    .bind(client)
                    .execute(connection)
                    .await?;
            }
        }
        Ok(())
    }
}

/// The payload, as `push` makes it.
fn data(change: usize) -> String {
    format!(
        "{{\"title\":\"Buy milk and bread\",\"done\":false,\"order\":{change},\"at\":\"{}\"}}",
        mark()
    )
}
