//! Appending: once a batch whatever is repeated, all or nothing, and a ring in any case.

use sqlx::Connection;
use tokio::task::JoinSet;

use super::sql::{Ear, append, rng, row, shared, store, try_append, value, values};
use crate::support::{World, psql};

#[tokio::test]
async fn an_event_is_stored_once_however_often_it_comes() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    let mut rows = vec![row("alice"), row("alice")];
    let first = append(&mut sql, &rows).await;
    for row in &mut rows {
        row.repeatable = true;
    }
    rows.push(row("alice"));
    let second = append(&mut sql, &rows).await;
    assert!(second.last > first.last);
    let mut admin = world.admin().await;
    let stored: Vec<uuid::Uuid> =
        values(&mut admin, "select id from sync_changes order by created_at").await;
    assert_eq!(stored, rows.iter().map(|row| row.id).collect::<Vec<_>>());
    // Another user may have the same id.
    append(&mut sql, &[super::sql::Row { id: rows[0].id, ..row("bob") }]).await;
    assert_eq!(value::<i64>(&mut admin, "select count(*) from sync_changes").await, 4);
}

#[tokio::test]
async fn two_lanes_store_the_same_events_once_and_do_not_lock_each_other_out() {
    let world = World::new().await;
    let mut rng = rng();
    let mut lanes = JoinSet::new();
    let mut batches: Vec<Vec<_>> = (0..25)
        .map(|_| {
            (0..20)
                .map(|n| super::sql::Row {
                    repeatable: true,
                    ..row(if n % 2 == 0 { "alice" } else { "bob" })
                })
                .collect()
        })
        .collect();
    for _ in 0..3 {
        let mut sql = world.sql().await;
        for batch in &mut batches {
            rng.shuffle(batch);
        }
        let batches = batches.clone();
        lanes.spawn(async move {
            for batch in &batches {
                append(&mut sql, batch).await;
            }
        });
    }
    lanes.join_all().await;
    let mut admin = world.admin().await;
    assert_eq!(value::<i64>(&mut admin, "select count(*) from sync_changes").await, 25 * 20);
}

#[tokio::test]
async fn a_repeated_event_of_a_batch_in_flight_waits_and_is_stored_after_an_abort() {
    let world = World::new().await;
    let (mut one, mut other) = (world.sql().await, world.sql().await);
    let rows = [super::sql::Row { repeatable: true, ..row("alice") }];
    // Somebody holds what the first attempt held, and dies.
    psql(&mut one, "begin; select pg_advisory_xact_lock(sync_event_key('alice', 'todo'))").await;
    let retry = tokio::spawn(async move { append(&mut other, &rows).await });
    let waits = "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'";
    let mut admin = world.admin().await;
    crate::support::eventually("the retry waits", async || {
        (value::<i64>(&mut admin, waits).await == 1).then_some(())
    })
    .await;
    one.close_hard().await.unwrap();
    retry.await.unwrap();
    assert_eq!(value::<i64>(&mut admin, "select count(*) from sync_changes").await, 1);
}

#[tokio::test]
async fn a_batch_that_fails_says_why_stores_nothing_and_rings_its_run_empty() {
    let world = World::new().await;
    let store = store(&world);
    let (mut sql, mut ear) = (world.sql().await, Ear::new(&world).await);
    let mut bad = row("alice");
    "{\"title\": ".clone_into(&mut bad.payload);
    let clock = store.clock().await.unwrap();
    let failed = try_append(&mut sql, &[row("alice"), bad, row("bob")]).await.unwrap();
    assert_eq!(failed.failure.as_deref(), Some("22P02"));
    let ring = ear.ring().await;
    assert_eq!((ring.prev, ring.last), (clock, failed.last));
    assert!(ring.moves.is_empty() && !ring.more, "{ring:?}");
    let mut admin = world.admin().await;
    assert_eq!(value::<i64>(&mut admin, "select count(*) from sync_changes").await, 0);
    assert_eq!(store.horizon().await.unwrap(), failed.last);
    // The lane goes on.
    let stored = append(&mut sql, &[row("alice")]).await;
    assert_eq!(ear.ring().await.prev, failed.last);
    assert_eq!(store.horizon().await.unwrap(), stored.last);
}

#[tokio::test]
async fn changes_of_who_is_no_member_are_named_and_kept_out_of_the_space() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    super::sql::join(&mut admin, "alice", "home").await;
    let mut sql = world.sql().await;
    let rows =
        [shared("alice", "home"), shared("bob", "home"), row("bob"), shared("alice", "work")];
    let mut ear = Ear::new(&world).await;
    let appended = append(&mut sql, &rows).await;
    assert_eq!(appended.unpublished, [2, 4]);
    let entered = "select space_at = created_at from sync_changes order by created_at";
    let entered: Vec<Option<bool>> = values(&mut admin, entered).await;
    assert_eq!(entered, [Some(true), None, None, None]);
    let moves = ear.ring().await.moves;
    let named = |name: &str| format!("{moves:?}").contains(&format!("Space(SpaceId(\"{name}\"))"));
    assert!(named("home") && !named("work"), "{moves:?}");
    assert_eq!(moves.len(), 3, "two authors and a space: {moves:?}");
}

#[tokio::test]
async fn stamps_follow_the_order_of_the_batch_and_end_at_its_last() {
    let world = World::new().await;
    let rows: Vec<_> = (0..50).map(|_| row("alice")).collect();
    let appended = append(&mut world.sql().await, &rows).await;
    let mut admin = world.admin().await;
    let stored: Vec<(uuid::Uuid, mana_sync::id::Stamp)> =
        sqlx::query_as("select id, created_at from sync_changes order by created_at")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    assert!(stored.iter().map(|(id, _)| *id).eq(rows.iter().map(|row| row.id)));
    let stamps: Vec<_> = stored.iter().map(|(_, stamp)| stamp.micros()).collect();
    let last = appended.last.micros();
    assert!(stamps.into_iter().eq(last - 49..=last));
}
