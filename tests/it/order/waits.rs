//! Whoever waits for a lock holds no stamp, or it would hold the horizon for as long.

use std::time::Duration;

use mana_sync::id::{Stamp, UserId};
use mana_sync::store::{Ask, Store};
use sqlx::PgConnection;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::store::publish::verify;
use crate::store::sql::{Row, append, row, shared, store, value};
use crate::support::{PATIENCE, World, eventually, psql};

/// Somebody who holds a lock that others wait for.
struct Holder {
    sql: PgConnection,
    pid: i32,
    admin: PgConnection,
}

impl Holder {
    /// Takes a lock by a statement, in a transaction that stays open.
    async fn new(world: &World, lock: &str) -> Self {
        let (mut sql, admin) = (world.admin().await, world.admin().await);
        psql(&mut sql, &format!("begin; {lock}")).await;
        let pid = value(&mut sql, "select pg_backend_pid()").await;
        Self { sql, pid, admin }
    }

    /// Waits until somebody waits for it; gives the horizon and the clock of that moment.
    async fn awaited(&mut self) -> (Stamp, Stamp) {
        let waits = format!(
            "select count(*) from pg_stat_activity where datname = current_database()
             and wait_event_type = 'Lock' and {} = any (pg_blocking_pids(pid))",
            self.pid
        );
        eventually("who waits for the lock", async || {
            (value::<i64>(&mut self.admin, &waits).await == 1).then_some(())
        })
        .await;
        let horizon = value(&mut self.admin, "select sync_horizon()").await;
        (horizon, value(&mut self.admin, "select sync_clock()").await)
    }

    /// `call` waits for the lock, and meanwhile nothing is in flight; released, it succeeds.
    async fn makes_wait<T>(mut self, call: JoinHandle<T>) -> T {
        let (horizon, clock) = self.awaited().await;
        assert_eq!(horizon, clock, "who waits holds a stamp");
        assert!(!call.is_finished());
        psql(&mut self.sql, "rollback").await;
        timeout(PATIENCE, call).await.expect("it goes on once it may").unwrap()
    }
}

/// An append under way.
async fn appending(world: &World, rows: Vec<Row>) -> JoinHandle<()> {
    let mut sql = world.sql().await;
    tokio::spawn(async move { drop(append(&mut sql, &rows).await) })
}

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

/// A question about alice that may be answered.
async fn asked(store: &Store) -> i64 {
    match store.ask(&alice(), Duration::ZERO, Duration::ZERO).await.unwrap() {
        (Ask::You(question), _) => question,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_append_that_waits_for_a_table_holds_no_stamp() {
    let world = World::new().await;
    for lock in [
        "lock table sync_members in access exclusive mode",
        "lock table sync_changes in share mode",
        "lock table sync_changes in access exclusive mode",
    ] {
        let holder = Holder::new(&world, lock).await;
        let call = appending(&world, vec![row("alice"), shared("alice", "home")]).await;
        holder.makes_wait(call).await;
    }
}

#[tokio::test]
async fn an_append_that_waits_for_another_attempt_at_its_events_holds_no_stamp() {
    let world = World::new().await;
    let rows = vec![Row { repeatable: true, ..row("alice") }];
    let lock = "select pg_advisory_xact_lock(sync_event_key('alice', 'todo'))";
    let holder = Holder::new(&world, lock).await;
    let call = appending(&world, rows).await;
    holder.makes_wait(call).await;
}

#[tokio::test]
async fn an_append_that_waits_for_who_deletes_its_event_holds_no_stamp() {
    let world = World::new().await;
    let repeated = Row { repeatable: true, ..row("alice") };
    append(&mut world.sql().await, std::slice::from_ref(&repeated)).await;
    let holder = Holder::new(&world, "delete from sync_changes").await;
    let call = appending(&world, vec![repeated]).await;
    holder.makes_wait(call).await;
}

#[tokio::test]
async fn an_append_that_waits_for_its_author_s_publishing_holds_no_stamp() {
    let world = World::new().await;
    let lock = "select pg_advisory_xact_lock(sync_user_key('alice'))";
    let holder = Holder::new(&world, lock).await;
    let call = appending(&world, vec![shared("alice", "home")]).await;
    holder.makes_wait(call).await;
}

#[tokio::test]
async fn publishing_that_waits_for_a_row_holds_no_stamp() {
    let world = World::new().await;
    let store = store(&world);
    append(&mut world.sql().await, &[shared("alice", "home"), shared("alice", "work")]).await;
    verify(&store, "alice", &["home", "work"]).await;
    for lock in [
        "select from sync_members where space_id = 'home' for update",
        "select from sync_changes where space_id = 'work' for update",
        "select from sync_users where user_id = 'alice' for update",
        "lock table sync_changes in share mode",
        "lock table sync_members in share mode",
        "lock table sync_users in share mode",
    ] {
        let holder = Holder::new(&world, lock).await;
        let store = store.clone();
        let call = tokio::spawn(async move { store.publish(&alice()).await });
        holder.makes_wait(call).await.unwrap();
        psql(&mut world.admin().await, "update sync_changes set space_at = null").await;
        psql(&mut world.admin().await, "update sync_members set published = false").await;
    }
}

#[tokio::test]
async fn an_answer_that_waits_for_its_user_s_row_holds_no_stamp() {
    let world = World::new().await;
    let store = store(&world);
    verify(&store, "alice", &["work"]).await;
    for lock in [
        "select from sync_users where user_id = 'alice' for update",
        "select from sync_members where user_id = 'alice' for update",
        "lock table sync_members in share mode",
    ] {
        let (asked, answering) = (asked(&store).await, store.clone());
        let holder = Holder::new(&world, lock).await;
        let call = tokio::spawn(async move { answering.answer(&alice(), asked, &[]).await });
        assert!(holder.makes_wait(call).await.unwrap().moved);
        verify(&store, "alice", &["work"]).await;
    }
}

#[tokio::test]
async fn an_invalidation_that_waits_for_its_user_s_row_holds_no_stamp() {
    let world = World::new().await;
    let store = store(&world);
    verify(&store, "alice", &["work"]).await;
    for table in ["sync_users", "sync_members"] {
        let lock = format!("select from {table} where user_id = 'alice' for update");
        let holder = Holder::new(&world, &lock).await;
        let invalidating = store.clone();
        let call = tokio::spawn(async move { invalidating.invalidate(&alice()).await });
        holder.makes_wait(call).await.unwrap();
        verify(&store, "alice", &["work"]).await;
    }
}

#[tokio::test]
async fn who_draws_a_stamp_and_waits_then_would_hold_the_horizon() {
    let world = World::new().await;
    let lock = "lock table sync_members in access exclusive mode";
    let mut holder = Holder::new(&world, lock).await;
    let mut careless = world.sql().await;
    let waiting = "begin; select sync_stamp(1); lock table sync_members in share mode; commit";
    let call = tokio::spawn(async move { psql(&mut careless, waiting).await });
    let (horizon, clock) = holder.awaited().await;
    assert!(horizon < clock, "then the tests above would prove nothing");
    psql(&mut holder.sql, "rollback").await;
    timeout(PATIENCE, call).await.expect("it goes on once it may").unwrap();
}
