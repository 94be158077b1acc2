//! Drawing stamps: unique and rising, and the mutex is free whatever happens to a drawer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mana_sync::id::Stamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;

use crate::store::sql::{rng, value};
use crate::support::{World, eventually, psql};

/// A run `(prev, last]`.
type Run = (i64, i64);

async fn draw(sql: &mut PgConnection, n: i32) -> sqlx::Result<Run> {
    sqlx::query_as("select prev, last from sync_stamp($1)").bind(n).fetch_one(sql).await
}

/// Fails where two runs share a stamp.
fn assert_apart(mut runs: Vec<Run>) {
    runs.sort_unstable();
    for pair in runs.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "runs overlap: {pair:?}");
    }
}

#[tokio::test]
async fn stamps_are_unique_and_rise_though_the_wall_is_set_back() {
    let world = World::new().await;
    let mut rng = rng();
    let mut drawers = JoinSet::new();
    for _ in 0..4 {
        let (mut sql, mut rng) = (world.sql().await, rng.fork());
        drawers.spawn(async move {
            let mut runs = Vec::new();
            for _ in 0..150 {
                let n = rng.i32(1..2000);
                let run = draw(&mut sql, n).await.unwrap();
                assert!(run.1 - run.0 >= i64::from(n), "{run:?} has no room for {n}");
                runs.push(run);
            }
            assert!(runs.is_sorted_by(|earlier, later| earlier.1 <= later.0));
            runs
        });
    }
    // The same as a wall set back by an hour: the clock stands ahead of it.
    let ahead: i64 = value(
        &mut world.sql().await,
        "select setval('sync_clock', last_value + 3600000000)
         from sync_clock, pg_advisory_xact_lock(sync_key(1309, 0))",
    )
    .await;
    let runs = drawers.join_all().await.concat();
    assert!(runs.iter().any(|run| run.1 > ahead), "nobody drew behind the jump");
    assert_apart(runs);
    let mut sql = world.sql().await;
    let (prev, last) = draw(&mut sql, 7).await.unwrap();
    assert_eq!((prev > ahead, last), (true, prev + 7), "no stamp is left out while ahead");
}

#[tokio::test]
async fn a_run_ends_at_the_walls_time() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    let wall: i64 = value(&mut sql, "select sync_micros(clock_timestamp())").await;
    let (_, last) = draw(&mut sql, 1000).await.unwrap();
    let after: i64 = value(&mut sql, "select sync_micros(clock_timestamp())").await;
    assert!((wall..=after).contains(&last), "{last} is not in {wall}..={after}");
}

#[tokio::test]
async fn a_run_has_at_least_one_stamp() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    for n in ["0", "-1", "null"] {
        let query = AssertSqlSafe(format!("select sync_stamp({n})"));
        let error = sqlx::query(query).execute(&mut sql).await.unwrap_err();
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "22023", "{error}");
    }
}

/// What came of a drawer, and its last session, which may still hold something.
#[derive(Default)]
struct Drawn {
    runs: Vec<Run>,
    failures: usize,
    session: Option<PgConnection>,
}

/// Draws until told to stop; whenever the connection dies, on a new one.
async fn draw_on(url: String, patience: &'static str, stop: Arc<AtomicBool>) -> Drawn {
    let mut drawn = Drawn::default();
    while !stop.load(Ordering::SeqCst) {
        let Ok(mut sql) = PgConnection::connect(&url).await else { continue };
        let name = format!("set application_name = 'victim'; set statement_timeout = '{patience}'");
        if sqlx::raw_sql(AssertSqlSafe(name)).execute(&mut sql).await.is_err() {
            continue;
        }
        let mut lives = true;
        while lives && !stop.load(Ordering::SeqCst) {
            match draw(&mut sql, 3).await {
                Ok(run) => drawn.runs.push(run),
                Err(error) => {
                    drawn.failures += 1;
                    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                    lives = code.as_deref() == Some("57014");
                }
            }
        }
        drawn.session = Some(sql);
    }
    drawn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_kills_and_time_outs_do_not_leak_the_mutex() {
    let world = World::new().await;
    let mut rng = rng();
    let stop = Arc::new(AtomicBool::new(false));
    let mut drawers = JoinSet::new();
    for patience in ["1ms", "3s"].repeat(4) {
        drawers.spawn(draw_on(world.database.clone(), patience, Arc::clone(&stop)));
    }
    let mut admin = world.admin().await;
    for _ in 0..400 {
        let how = if rng.u8(0..10) == 0 { "pg_terminate_backend" } else { "pg_cancel_backend" };
        let hit = format!(
            "select {how}(pid) from pg_stat_activity
             where application_name = 'victim' order by random() limit 2"
        );
        psql(&mut admin, &hit).await;
    }
    stop.store(true, Ordering::SeqCst);
    let drawn = drawers.join_all().await;
    let runs: Vec<_> = drawn.iter().flat_map(|drawn| drawn.runs.clone()).collect();
    let failures: usize = drawn.iter().map(|drawn| drawn.failures).sum();
    println!("{} runs drawn, {failures} draws failed", runs.len());
    assert!(failures > 20 && runs.len() > 20);
    assert_apart(runs);
    assert!(drawn.iter().any(|drawn| drawn.session.is_some()), "no session is left to hold it");

    psql(&mut admin, "set lock_timeout = '2s'").await;
    draw(&mut admin, 1).await.expect("the mutex is free");
    let locks = "select count(*) from pg_locks where locktype = 'advisory'
                 and database = (select oid from pg_database where datname = current_database())";
    eventually("no lock left", async || (value::<i64>(&mut admin, locks).await == 0).then_some(()))
        .await;
    let clock: Stamp = value(&mut admin, "select sync_clock()").await;
    assert_eq!(value::<Stamp>(&mut admin, "select sync_horizon()").await, clock);
}
