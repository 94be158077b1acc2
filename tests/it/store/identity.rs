//! Which database this is: after a promotion or a restore the clock jumps, once.

use sqlx::PgConnection;
use tokio::task::JoinSet;

use super::sql::{store, value};
use crate::support::{World, psql};

const MARGIN_MICROS: i64 = 60_000_000;

async fn clock(sql: &mut PgConnection) -> i64 {
    value(sql, "select last_value from sync_clock").await
}

#[tokio::test]
async fn the_clock_stays_while_the_database_is_the_same() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    let before = clock(&mut sql).await;
    for _ in 0..2 {
        assert!(!value::<bool>(&mut sql, "select sync_identify('60 s')").await);
    }
    assert_eq!(store(&world).clock().await.unwrap().micros(), before);
}

#[tokio::test]
async fn on_another_timeline_or_system_the_clock_jumps_once() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    assert!(!value::<bool>(&mut admin, "select sync_identify('60 s')").await);
    for other in ["timeline = 'FFFFFFFF'", "system_identifier = 1"] {
        psql(&mut admin, &format!("update sync_identity set {other}")).await;
        let wall: i64 = value(&mut admin, "select sync_micros(clock_timestamp())").await;
        let before = clock(&mut admin).await;
        let mut at_once = JoinSet::new();
        for _ in 0..4 {
            let mut sql = world.sql().await;
            at_once.spawn(async move { value(&mut sql, "select sync_identify('60 s')").await });
        }
        let jumped: Vec<bool> = at_once.join_all().await;
        assert_eq!(jumped.iter().filter(|jumped| **jumped).count(), 1, "{other}: {jumped:?}");
        let jump = clock(&mut admin).await - before.max(wall);
        assert!((MARGIN_MICROS..2 * MARGIN_MICROS).contains(&jump), "{other}: {jump} µs");
    }
}

#[tokio::test]
async fn a_store_looks_before_it_does_anything_else() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    store(&world).clock().await.unwrap();
    psql(&mut admin, "update sync_identity set timeline = 'FFFFFFFF'").await;
    let before = clock(&mut admin).await;
    let seen = store(&world).clock().await.unwrap().micros();
    assert!(seen >= before + MARGIN_MICROS, "{seen} is not {MARGIN_MICROS} µs behind {before}");
}
