//! Synchronous replication: what the standby has not confirmed is not acknowledged.

use mana_sync::config::pg_bindir;
use mana_sync::dev::postgres::{Durability, EmbeddedPostgres, Settings};
use mana_sync::store::Store;
use sqlx::{Connection, PgConnection};

use super::sql::{row, try_append, value};
use crate::support::psql;
use crate::support::world::ROLE;

#[tokio::test]
async fn a_commit_that_no_standby_confirms_in_time_is_an_error_until_one_does() {
    let extra = vec![("synchronous_commit".to_owned(), "on".to_owned())];
    let settings =
        Settings { bindir: pg_bindir(), data: None, durability: Durability::Fast, extra };
    let postgres = EmbeddedPostgres::start(settings).await.unwrap();
    postgres.create_role(ROLE).await.unwrap();
    postgres.create_database("sync", ROLE, None).await.unwrap();
    let url = postgres.url(ROLE, "sync");
    Store::prepare(&url).await.unwrap();
    let mut admin = PgConnection::connect(&postgres.url("postgres", "sync")).await.unwrap();
    let mut sql = PgConnection::connect(&url).await.unwrap();
    psql(&mut sql, "set statement_timeout = '300ms'").await;

    psql(&mut admin, "alter system set synchronous_standby_names = 'nobody'").await;
    psql(&mut admin, "select pg_reload_conf()").await;
    while value::<String>(&mut sql, "show synchronous_standby_names").await != "nobody" {
        tokio::task::yield_now().await;
    }
    let mut change = row("alice");
    let error = try_append(&mut sql, &[change.clone()]).await.unwrap_err();
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    assert_eq!(code.as_deref(), Some("57014"), "{error}");

    psql(&mut admin, "alter system reset synchronous_standby_names").await;
    psql(&mut admin, "select pg_reload_conf()").await;
    while !value::<String>(&mut sql, "show synchronous_standby_names").await.is_empty() {
        tokio::task::yield_now().await;
    }
    change.repeatable = true;
    let repeated = try_append(&mut sql, &[change]).await.unwrap();
    assert_eq!(repeated.failure, None);
    assert_eq!(value::<i64>(&mut admin, "select count(*) from sync_changes").await, 1);
}
