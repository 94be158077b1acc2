//! Writers that dawdle and abort between stamp and commit, and readers that follow a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use mana_sync::id::Stamp;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::store::sql::{append, rng, row, value, values};
use crate::support::{PATIENCE, World};

const WRITERS: usize = 6;
const READERS: usize = 2;
const TRANSACTIONS: usize = 120;

/// What readers take for the end of what is final.
#[derive(Clone, Copy)]
enum Bound {
    Horizon,
    Clock,
}

impl Bound {
    fn query(self) -> &'static str {
        match self {
            Self::Horizon => "select sync_horizon()",
            Self::Clock => "select sync_clock()",
        }
    }
}

/// What a run came to.
struct Outcome {
    /// The stamps of all rows, in order.
    stored: Vec<Stamp>,
    /// What each reader read, in the order of reading.
    read: Vec<Vec<Stamp>>,
    aborted: usize,
}

/// What the tasks of a run share.
#[derive(Default)]
struct Shared {
    /// The writers are done.
    quiet: AtomicBool,
    /// The greatest bound that anybody was told.
    told: AtomicI64,
    aborted: AtomicUsize,
}

/// One transaction by hand: stamp, dawdle inside the server, insert, and commit or not.
async fn dawdle(sql: &mut PgConnection, rng: &mut fastrand::Rng) -> bool {
    let (n, pause) = (rng.u8(1..5), f64::from(rng.u8(0..20)) / 1000.0);
    let (late, commits) = (f64::from(rng.u8(0..4)) / 1000.0, rng.u8(0..4) > 0);
    let end = if commits { "commit" } else { "rollback" };
    let transaction = format!(
        "begin;
         select sync_act_for(array['alice'], '{{}}'), set_config('app.sync_stamped', 'on', true);
         create temporary table run on commit drop as select last from sync_stamp({n});
         select pg_sleep({pause});
         insert into sync_changes (app_id, table_name, record_id, user_id, op, created_at)
             select 'todo', 'tasks', 'r', 'alice', 'insert', sync_time(last - {n} + place)
             from run, generate_series(1, {n}) place;
         select pg_sleep({late});
         {end}"
    );
    sqlx::raw_sql(AssertSqlSafe(transaction)).execute(sql).await.unwrap();
    commits
}

async fn write(mut sql: PgConnection, mut rng: fastrand::Rng, shared: Arc<Shared>) {
    for _ in 0..TRANSACTIONS {
        if rng.u8(0..4) == 0 {
            let rows: Vec<_> = (0..rng.u8(1..9)).map(|_| row("alice")).collect();
            append(&mut sql, &rows).await;
        } else if !dawdle(&mut sql, &mut rng).await {
            shared.aborted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads `(cursor, bound]` again and again; the last time when nobody writes any more.
async fn read(mut sql: PgConnection, bound: Bound, shared: Arc<Shared>) -> Vec<Stamp> {
    let (mut read, mut cursor) = (Vec::new(), Stamp::START);
    loop {
        let quiet = shared.quiet.load(Ordering::SeqCst);
        let told = shared.told.load(Ordering::SeqCst);
        let end: Stamp = value(&mut sql, bound.query()).await;
        assert!(end.micros() >= told, "the bound went back, from {told} to {end:?}");
        shared.told.fetch_max(end.micros(), Ordering::SeqCst);
        let page: Vec<Stamp> = sqlx::query_scalar(
            "select created_at from sync_changes where created_at > $1 and created_at <= $2 \
             order by created_at",
        )
        .bind(cursor)
        .bind(end)
        .fetch_all(&mut sql)
        .await
        .unwrap();
        read.extend(page);
        cursor = end;
        if quiet {
            return read;
        }
    }
}

async fn run(bound: Bound, rng: &mut fastrand::Rng) -> Outcome {
    let world = World::new().await;
    let shared = Arc::new(Shared::default());
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    for _ in 0..READERS {
        readers.spawn(read(world.admin().await, bound, Arc::clone(&shared)));
    }
    for _ in 0..WRITERS {
        writers.spawn(write(world.sql().await, rng.fork(), Arc::clone(&shared)));
    }
    writers.join_all().await;
    shared.quiet.store(true, Ordering::SeqCst);
    let read = readers.join_all().await;
    let stored = "select created_at from sync_changes order by created_at";
    let stored = values(&mut world.admin().await, stored).await;
    Outcome { stored, read, aborted: shared.aborted.load(Ordering::SeqCst) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_by_the_horizon_read_every_row_once_and_in_order() {
    let outcome = run(Bound::Horizon, &mut rng()).await;
    let Outcome { stored, read, aborted } = &outcome;
    println!("{} rows stored, {aborted} transactions aborted, nothing lost", stored.len());
    assert!(*aborted > 0 && stored.len() > WRITERS * TRANSACTIONS);
    for read in read {
        assert!(read.is_sorted_by(|earlier, later| earlier < later), "out of order");
        assert!(read == stored, "{} of {} rows were read", read.len(), stored.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_by_the_plain_clock_lose_rows() {
    let mut rng = rng();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let Outcome { stored, read, .. } = run(Bound::Clock, &mut rng).await;
        if let Some(read) = read.iter().find(|read| read.len() < stored.len()) {
            println!("{} of {} rows lost", stored.len() - read.len(), stored.len());
            return;
        }
        assert!(Instant::now() < deadline, "the clock lost nothing: the test proves nothing");
    }
}
