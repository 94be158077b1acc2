//! The horizon: what holds it, who is named for it, and that it never goes back.

use mana_sync::id::Stamp;

use crate::store::sql::{store, value};
use crate::support::{World, eventually, psql};

#[tokio::test]
async fn the_holder_is_named_and_can_be_ended() {
    let world = World::new().await;
    let (store, mut holder) = (store(&world), world.sql().await);
    let before = store.clock().await.unwrap();
    assert_eq!(store.holder().await.unwrap(), None);
    psql(&mut holder, "begin; select sync_stamp(5)").await;
    let pid: i32 = value(&mut holder, "select pg_backend_pid()").await;
    // Somebody else draws later and commits: the horizon waits for the first.
    psql(&mut world.sql().await, "select sync_stamp(1)").await;
    let (lower, named) = store.holder().await.unwrap().expect("a holder");
    assert_eq!((named, lower.micros()), (pid, before.micros() + 1));
    assert_eq!(store.horizon().await.unwrap(), before);
    assert!(store.end_holder(pid, lower).await.unwrap());
    eventually("the horizon at the clock", async || {
        (store.horizon().await.unwrap() == store.clock().await.unwrap()).then_some(())
    })
    .await;
    assert_eq!(store.holder().await.unwrap(), None);
}

#[tokio::test]
async fn the_horizon_does_not_go_back_though_the_clock_should() {
    let world = World::new().await;
    let (mut one, mut other) = (world.sql().await, world.sql().await);
    psql(&mut one, "select sync_stamp(1)").await;
    let told: Stamp = value(&mut one, "select sync_horizon()").await;
    // As after a crash that lost the last of the sequence's log.
    psql(&mut one, "select setval('sync_clock', last_value - 1000000) from sync_clock").await;
    assert_eq!(value::<Stamp>(&mut other, "select sync_horizon()").await, told);
}

#[tokio::test]
async fn the_locks_of_strangers_do_not_hold_the_horizon() {
    let world = World::new().await;
    let (store, mut stranger) = (store(&world), world.sql().await);
    psql(
        &mut stranger,
        "begin;
         select pg_advisory_xact_lock_shared(1), pg_advisory_xact_lock(1308, 1),
                pg_advisory_xact_lock_shared(1308, 2), pg_advisory_lock_shared(5::bigint << 52)",
    )
    .await;
    psql(&mut world.sql().await, "select sync_stamp(1)").await;
    assert_eq!(store.holder().await.unwrap(), None);
    assert_eq!(store.horizon().await.unwrap(), store.clock().await.unwrap());
}

#[tokio::test]
async fn a_run_in_another_database_does_not_hold_the_horizon() {
    let (world, other) = (World::new().await, World::new().await);
    let mut writer = other.sql().await;
    psql(&mut writer, "begin; select sync_stamp(1)").await;
    assert_eq!(store(&world).holder().await.unwrap(), None);
    assert!(store(&other).holder().await.unwrap().is_some());
}

#[tokio::test]
async fn the_horizon_reaches_the_run_in_flight_whatever_was_drawn_while_it_was_begun() {
    let world = World::new().await;
    let (mut late, mut early, mut asker) =
        (world.sql().await, world.sql().await, world.sql().await);
    // Holds the mutex of stamps, so that `late` has its bound and no run yet.
    psql(&mut early, "select pg_advisory_lock(sync_key(1309, 0))").await;
    let waiting = tokio::spawn(async move {
        psql(&mut late, "begin; select sync_stamp(5)").await;
        late
    });
    eventually("a bound without a run", async || {
        let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted \
                     and database = (select oid from pg_database where datname = current_database())";
        (value::<i64>(&mut asker, waits).await == 1).then_some(())
    })
    .await;
    let drawn = "select last from (select setval('sync_clock', last_value + 1000000) as last \
                 from sync_clock) as drawn";
    let told: i64 = value(&mut early, drawn).await;
    psql(&mut early, "select pg_advisory_unlock_all()").await;
    let late = waiting.await.unwrap();
    assert_eq!(value::<Stamp>(&mut asker, "select sync_horizon()").await.micros(), told);
    drop(late);
}
