//! Before a node serves: migrations at once, and databases it refuses.

use std::sync::atomic::{AtomicU32, Ordering};

use mana_sync::store::{StartError, Store};
use sqlx::{Connection, PgConnection};

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
