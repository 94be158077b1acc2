//! Faults: connections that break or fall silent, a database that is away, writers that die.

mod answers;
mod compare;
mod database;
mod lagging;
mod listener;
mod memory;
mod pool;
pub mod proxy;
mod writers;

use std::time::Duration;

use mana_sync::node::Settings;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::timeout;

use crate::support::{Client, PATIENCE, World};
use proxy::Proxy;

pub use writers::unrung;

/// An insert into `tasks` with an event id, so that it may be repeated.
pub fn repeatable(record: &str) -> Value {
    json!({"table": "tasks", "id": record, "op": "insert", "data": {},
           "eventId": uuid::Uuid::now_v7().to_string()})
}

/// Pushes until the push is acknowledged, as clients do; nothing but 200 and 503 is answered.
pub async fn push_until_acknowledged(client: &Client, node: &str, changes: &[Value]) {
    let body = json!({"changes": changes}).to_string();
    let trying = async {
        loop {
            let answer = client.post(node, body.clone()).await;
            match answer.status().as_u16() {
                200 => return,
                503 => {}
                other => panic!("{other}: {}", answer.text().await.unwrap()),
            }
        }
    };
    timeout(PATIENCE, trying).await.expect("the push is acknowledged");
}

/// The address of the world's database through a proxy.
fn through(world: &World, proxy: &Proxy) -> String {
    let mut url = url::Url::parse(&world.database).unwrap();
    url.set_port(Some(proxy.port)).unwrap();
    url.to_string()
}

async fn proxy(world: &World) -> Proxy {
    Proxy::start(url::Url::parse(&world.database).unwrap().port().unwrap()).await
}

/// Settings of a node that gives up sooner than usual.
pub fn impatient(world: &World) -> Settings {
    let mut settings = world.settings();
    settings.limits.heartbeat = Duration::from_millis(200);
    settings.listener.heartbeat = Duration::from_millis(200);
    settings.database.acquire = Duration::from_millis(500);
    settings.database.statement = Duration::from_secs(1);
    settings.writer.patience = Duration::from_secs(3);
    settings
}

/// The server processes of nodes of this database that LISTEN.
async fn listeners(admin: &mut PgConnection) -> Vec<i32> {
    let query = "select pid from pg_stat_activity where datname = current_database() \
                 and application_name = 'mana-sync' and query ilike 'listen%'";
    sqlx::query_scalar(query).fetch_all(admin).await.unwrap()
}

/// Ends the listeners' server processes; says how many.
pub async fn end_listeners(admin: &mut PgConnection) -> usize {
    let pids = listeners(admin).await;
    let ended: Vec<bool> = sqlx::query_scalar("select pg_terminate_backend(p) from unnest($1) p")
        .bind(pids)
        .fetch_all(admin)
        .await
        .unwrap();
    ended.into_iter().filter(|ended| *ended).count()
}
