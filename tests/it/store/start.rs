//! Before a node serves: migrations at once, and databases it refuses.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mana_sync::directory::members::sweep;
use mana_sync::id::Stamp;
use mana_sync::listener::beat;
use mana_sync::progress::progress;
use mana_sync::store::{Finding, Fleet, Settings, StartError, Store, StoreError};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::sql::{store, value};
use crate::support::world::{ROLE, postgres};
use crate::support::{World, psql};

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// An empty database of the nodes' role.
async fn empty() -> String {
    let name = format!("empty_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    postgres().await.create_database(&name, ROLE, None).await.unwrap();
    name
}

#[tokio::test]
async fn four_nodes_may_migrate_an_empty_database_at_once() {
    let url = postgres().await.url(ROLE, &empty().await);
    let (a, b, c, d) = tokio::join!(
        Store::prepare(&url),
        Store::prepare(&url),
        Store::prepare(&url),
        Store::prepare(&url)
    );
    for prepared in [a, b, c, d] {
        prepared.unwrap();
    }
    let mut sql = PgConnection::connect(&url).await.unwrap();
    let tables: i64 = value(
        &mut sql,
        "select count(*) from pg_tables where tablename in ('sync_changes', 'sync_members')",
    )
    .await;
    assert_eq!(tables, 2);
    Store::prepare(&url).await.unwrap();
}

/// How a role that bypasses row-level security is refused.
async fn refusal(role: &str) -> String {
    let refused = Store::prepare(&postgres().await.url(role, &empty().await)).await.unwrap_err();
    assert!(matches!(&refused, StartError::BypassesRowSecurity { role: named } if named == role));
    refused.to_string()
}

#[tokio::test]
async fn a_role_that_bypasses_row_security_is_refused_with_the_way_out() {
    let world = World::new().await;
    psql(&mut world.admin().await, "create role \"by-passer\" login bypassrls").await;
    for role in ["postgres", "by-passer"] {
        let said = refusal(role).await;
        let way = "create role mana_sync login password '…' nosuperuser nobypassrls";
        assert!(said.contains(role) && said.contains(way), "{said}");
        assert!(said.lines().count() == 1 && said.contains("DATABASE_URL"), "{said}");
    }
}

#[tokio::test]
async fn the_old_servers_table_is_left_as_it_is_and_named() {
    let url = postgres().await.url(ROLE, &empty().await);
    let mut sql = PgConnection::connect(&url).await.unwrap();
    psql(
        &mut sql,
        "create table sync_changes (id uuid, app_id text, created_at timestamptz);
         insert into sync_changes values (gen_random_uuid(), 'todo', now())",
    )
    .await;
    let refused = Store::prepare(&url).await.unwrap_err();
    assert!(matches!(refused, StartError::OldTable));
    let said = refused.to_string();
    assert!(said.contains("sync_changes") && said.contains("left untouched"), "{said}");
    let left: i64 = value(
        &mut sql,
        "select count(*) + (select count(*) from sync_changes) from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'S', 'i')",
    )
    .await;
    assert_eq!(left, 2, "one table with its row, and nothing beside it");
}

#[tokio::test]
async fn a_node_starts_on_a_database_that_is_newer_than_itself() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    psql(
        &mut sql,
        "insert into _sqlx_migrations
             (version, description, installed_on, success, checksum, execution_time)
         values (99990101000000, 'of a later node', now(), true, 'x', 1)",
    )
    .await;
    Store::prepare(&world.database).await.unwrap();
    assert!(store(&world).is_current().await.unwrap());
    let node = world.node().await;
    let alice = world.client("alice", "a");
    alice.push(&node.url, &[crate::support::change("t1", "delete")]).await;
}

#[tokio::test]
async fn a_database_without_all_migrations_is_not_current() {
    let world = World::new().await;
    let store = store(&world);
    assert!(store.is_current().await.unwrap());
    let last = "delete from _sqlx_migrations
                where version = (select max(version) from _sqlx_migrations)";
    psql(&mut world.sql().await, last).await;
    assert!(!store.is_current().await.unwrap());
}

#[tokio::test]
async fn a_closed_store_has_no_connections() {
    let world = World::new().await;
    let store = store(&world);
    store.clock().await.unwrap();
    assert_eq!(store.connections().0, 1);
    store.close().await;
    assert_eq!(store.connections(), (0, 0));
    assert!(store.clock().await.is_err());
}

#[tokio::test]
async fn requests_go_to_the_database_that_is_listened_to_and_as_an_ordinary_role() {
    let name = empty().await;
    let [url, other] =
        [postgres().await.url(ROLE, &name), postgres().await.url(ROLE, &empty().await)];
    Store::prepare(&url).await.unwrap();
    let same = format!("{url}?application_name=other");
    Store::vet(&same, &url).await.unwrap();
    let refused = Store::vet(&other, &url).await.unwrap_err();
    assert!(matches!(refused, StartError::TwoDatabases), "{refused}");
    let superuser = postgres().await.url("postgres", &name);
    let refused = Store::vet(&superuser, &url).await.unwrap_err();
    assert!(matches!(refused, StartError::BypassesRowSecurity { .. }), "{refused}");
}

/// A server that says so much, and then nothing more. (The clock of these tests stands still while
/// anything can be done, and jumps when there is nothing left but to wait.)
async fn silent(hello: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let _startup = socket.read(&mut asked).await.unwrap();
                socket.write_all(hello).await.unwrap();
                while socket.read(&mut asked).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    format!("postgres://mana_sync@127.0.0.1:{port}/mana_sync?sslmode=disable")
}

/// Who asks is welcome, and the server is ready for queries.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_keeps_no_node_starting_for_ever() {
    for hello in [b"".as_slice(), WELCOME] {
        let (url, other) = (silent(hello).await, silent(hello).await);
        for prepared in [
            timeout(HOUR, Store::prepare(&url)).await,
            timeout(HOUR, Store::vet(&url, &other)).await,
        ] {
            let error = prepared.expect("it gives up").unwrap_err();
            assert!(matches!(error, StartError::Store(StoreError::Timeout(_))), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_doctor_says_that_a_server_has_fallen_silent() {
    let (url, listen_url) = (silent(WELCOME).await, silent(WELCOME).await);
    let fleet = Fleet { url: &url, listen_url: &listen_url, nodes: 1, pool: 1 };
    let found = timeout(HOUR, Store::examine(fleet)).await.expect("it gives up");
    for says in [
        "the database did not answer within 20s",
        "whether the role is an ordinary one could not be found out within 10 s",
    ] {
        assert!(found.contains(&Finding::wrong(says)), "{says}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_behind_end_when_told_though_the_database_is_silent() {
    let settings =
        Settings { url: silent(WELCOME).await, connections: 2, acquire: HOUR, statement: HOUR };
    let store = Store::new(&settings).unwrap();
    let (_advance, progress) = progress(Stamp::START);
    let stop = CancellationToken::new();
    let soon = Duration::from_millis(10);
    let beating = tokio::spawn(beat(store.clone(), progress, soon, stop.clone()));
    let sweeping = tokio::spawn(sweep(store, soon, stop.clone()));
    // Both have asked by now.
    sleep(Duration::from_secs(1)).await;
    stop.cancel();
    timeout(Duration::from_secs(1), beating).await.expect("the heartbeat ends").unwrap();
    timeout(Duration::from_secs(1), sweeping).await.expect("the sweep ends").unwrap();
}
