//! `mana-sync import`: the log of the old server, read by its clients from the new one.

mod old;

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use mana_sync::store::{ImportError, import};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::runtime;

use self::old::{OldDatabase, OldRow};
use crate::processes::Process;
use crate::store::sql::value;
use crate::support::world::ROLE;
use crate::support::{World, change, psql, say};

const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Runs the command to its end: its exit code, and what it said.
async fn run(from: &str, world: &World, flags: &[&str]) -> (i32, String) {
    let into = format!("--database-url={}", world.database);
    let flags = [&[into.as_str()], flags].concat();
    let mut process = Process::start_with("import", &flags, &[("OLD_DATABASE_URL", from)]);
    // A hundred thousand rows take longer than what other tests await.
    let mut ended = None;
    while ended.is_none() {
        ended = tokio::time::timeout(crate::support::PATIENCE, process.ended()).await.ok();
    }
    (ended.unwrap().code().unwrap(), process.out() + &process.err())
}

/// How many changes the new database has.
async fn stored(world: &World) -> i64 {
    value(&mut world.admin().await, "select count(*) from sync_changes").await
}

/// Does something on the side while the caller can't await it.
fn aside<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        scope.spawn(move || runtime.block_on(work())).join().unwrap()
    })
}

type Feeds<'a> = BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a OldRow>>;

/// The rows by who reads them, app, and table.
fn feeds<'a>(rows: &'a [OldRow], reader: impl Fn(&'a OldRow) -> Option<&'a str>) -> Feeds<'a> {
    let mut feeds = Feeds::new();
    for row in rows {
        if let Some(reader) = reader(row) {
            feeds.entry((reader, &row.app, &row.table)).or_default().push(row);
        }
    }
    feeds
}

fn assert_same(found: &[Value], expected: &[&OldRow], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(*found, expected.change, "{what}, place {at}");
    }
}

#[tokio::test]
async fn an_old_database_is_read_whole_and_in_order_from_the_start_and_from_old_cursors() {
    const ROWS: u32 = 100_000;
    let old = OldDatabase::new(ROWS).await;
    let (world, rows) = (World::new().await, old.rows().await);
    let (code, said) = run(&old.url("postgres").await, &world, &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("Imported {ROWS} changes of 20 users in ")), "{said}");
    say(said.trim());

    let node = world.node().await;
    let begun = Instant::now();
    for ((user, app, table), expected) in feeds(&rows, |row| Some(&row.user)) {
        let device = world.client(user, "new-device").app(app);
        let what = format!("{user} {app} {table}");
        let (all, _) = device.pull_all(&node.url, table, EPOCH).await;
        assert_same(&all, &expected, &what);
        // A cursor in the midst of rows of one time, which the old server passes over.
        let cursor = expected[expected.len() - 100].time.as_str();
        let later = expected.iter().filter(|row| row.time.as_str() > cursor).count();
        let (rest, _) = device.pull_all(&node.url, table, cursor).await;
        assert!((later..=100).contains(&rest.len()), "{what} {cursor}: {} of {later}", rest.len());
        assert_same(&rest, &expected[expected.len() - rest.len()..], &what);
    }
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!(
        "{ROWS} changes read from the epoch, and the last from old cursors, in {seconds:.1} s"
    ));

    // A member reads what others wrote in the space, whether they ever come again or not.
    world.issuer.join("mia", "home");
    let shared = feeds(&rows, |row| row.space.as_deref());
    assert!(shared.len() > 4 && shared.values().all(|feed| feed.len() > 1_000));
    // In the form in which nodes print it too, so that those which go on from it sort after it as text.
    let printed = |row: &&&OldRow| row.time.len() == "2026-01-01T10:00:00.123456Z".len();
    for ((_, app, table), expected) in shared {
        let device = world.client("mia", "new-device").app(app);
        let middle = expected[expected.len() / 2..].iter().find(printed).unwrap();
        let cursor = if table == "t0" { middle.time.as_str() } else { EPOCH };
        let (all, _) = device.pull_all(&node.url, table, cursor).await;
        assert_same(&all, &expected, &format!("mia {app} {table} {cursor}"));
    }
}

#[tokio::test]
async fn what_is_pushed_after_the_import_lies_after_any_cursor_of_the_old_server() {
    let (old, world) = (OldDatabase::new(100).await, World::new().await);
    // The old server's machine may be ahead.
    let ahead = "select to_char((clock_timestamp() + interval '30 s') at time zone 'UTC',
                        'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let (code, said) = run(&old.url("postgres").await, &world, &[]).await;
    assert_eq!(code, 0, "{said}");
    let cursor: String = value(&mut old.sql().await, ahead).await;
    let node = world.node().await;
    let device = world.client("u3", "device-0");
    device.push(&node.url, &[change("r103", "delete")]).await;
    let other = world.client("u3", "device-1");
    let (found, _) = other.pull_all(&node.url, "tasks", &cursor).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["id"], "r103");
    // A device of the old server does not get back what it wrote.
    let of = async |device: &str| {
        world.client("u3", device).pull_all(&node.url, "t0", EPOCH).await.0.len()
    };
    let all = of("new-device").await;
    assert!(of("device-0").await < all, "{all} rows");
}

#[tokio::test]
async fn rows_wait_for_their_author_s_membership_where_that_is_wished() {
    let (old, world) = (OldDatabase::new(400).await, World::new().await);
    let (code, said) = run(&old.url("postgres").await, &world, &["--verify-spaces"]).await;
    assert_eq!(code, 0, "{said}");
    let node = world.node().await;
    world.issuer.join("mia", "home");
    world.issuer.join("u4", "home");
    let mia = async || world.client("mia", "m").pull_all(&node.url, "t0", EPOCH).await.0;
    assert_eq!(mia().await, Vec::<Value>::new());
    // u4 comes, and is verified: what waited is published.
    world.client("u4", "d").pull_all(&node.url, "t0", EPOCH).await;
    let rows = old.rows().await;
    let feed =
        &feeds(&rows, |row| row.space.as_ref().map(|_| row.user.as_str()))[&("u4", "todo", "t0")];
    assert!(!feed.is_empty());
    crate::support::eventually("u4's rows", async || {
        (mia().await.len() == feed.len()).then_some(())
    })
    .await;
    assert_same(&mia().await, feed, "u4's rows");
}

#[tokio::test]
async fn a_database_that_a_node_has_served_takes_no_old_rows() {
    let (old, world) = (OldDatabase::new(10).await, World::new().await);
    drop(world.node().await);
    let (code, said) = run(&old.url("postgres").await, &world, &[]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("a node has served this database already"), "{said}");
    assert!(said.contains("begin at 2026-01-01T10:00:00.000000Z"), "{said}");
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn an_import_that_fails_leaves_nothing_and_one_that_was_done_is_not_repeated() {
    let (old, world) = (OldDatabase::new(3_000).await, World::new().await);
    let from = old.url("postgres").await;
    psql(
        &mut old.sql().await,
        "insert into sync_changes (id, app_id, table_name, record_id, user_id, op, client_id)
         values ('00000000-0000-0000-0000-00000000002a', 'todo', repeat('x', 256), 'r', 'u', 'delete', '')",
    )
    .await;
    let (code, said) = run(&from, &world, &[]).await;
    assert_eq!(code, 2, "{said}");
    let why = "row 00000000-0000-0000-0000-00000000002a: its table_name has more than 255 bytes";
    assert!(said.contains(why) && said.contains("Nothing was imported"), "{said}");
    assert_eq!(stored(&world).await, 0);
    psql(&mut old.sql().await, "update sync_changes set table_name = 't' where user_id = 'u'")
        .await;
    let (code, said) = run(&from, &world, &[]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(stored(&world).await, 3_001);
    let (code, said) = run(&from, &world, &[]).await;
    assert!(code == 2 && said.contains("was it imported before?"), "{said}");
    assert_eq!(stored(&world).await, 3_001);
}

#[tokio::test]
async fn what_is_no_old_database_or_can_t_be_read_whole_is_named() {
    let world = World::new().await;
    let old = OldDatabase::new(10).await;
    let (code, said) = run(&old.url(ROLE).await, &world, &[]).await;
    assert!(code == 2 && said.contains("no force row level security"), "{said}");
    psql(
        &mut old.sql().await,
        "update sync_changes set created_at = now() + interval '3 days' where user_id = 'u7'",
    )
    .await;
    let (code, said) = run(&old.url("postgres").await, &world, &[]).await;
    assert!(code == 2 && said.contains("1 rows of the old database have no time"), "{said}");
    let (code, said) = run(&world.database, &world, &[]).await;
    assert!(code == 2 && said.contains("is this server's already"), "{said}");
    let empty = OldDatabase::empty().await;
    let (code, said) = run(&empty.url(ROLE).await, &world, &[]).await;
    assert!(code == 2 && said.contains("has no table sync_changes"), "{said}");
    psql(&mut empty.sql().await, "create table sync_changes (id uuid)").await;
    let (code, said) = run(&empty.url("postgres").await, &world, &[]).await;
    assert!(code == 2 && said.contains("has no column app_id"), "{said}");
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn a_first_version_of_the_old_table_is_taken_too() {
    let (old, world) = (OldDatabase::new(50).await, World::new().await);
    let drop = "alter table sync_changes drop column schema_version, drop column actor,
                drop column space_id, drop column origin, no force row level security";
    psql(&mut old.sql().await, drop).await;
    // Its owner may read all by now.
    let (code, said) = run(&old.url(ROLE).await, &world, &[]).await;
    assert_eq!(code, 0, "{said}");
    let plain = "select count(*) from sync_changes where schema_version = 1 and actor is null
                 and space_id is null and space_at is null and origin is null";
    assert_eq!(value::<i64>(&mut world.admin().await, plain).await, 50);
}

#[tokio::test]
async fn an_old_server_that_still_writes_is_noticed() {
    let (old, world) = (OldDatabase::new(10).await, World::new().await);
    let from = old.url("postgres").await;
    let mut written = false;
    let outcome = import(&from, &world.database, false, |done, _| {
        if done > 0 && !std::mem::replace(&mut written, true) {
            aside(async || {
                let mut sql = PgConnection::connect(&from).await.unwrap();
                let insert = "insert into sync_changes
                    (app_id, table_name, record_id, user_id, op, client_id)
                    values ('todo', 't', 'r', 'u', 'delete', 'd')";
                psql(&mut sql, insert).await;
            });
        }
    });
    let outcome = outcome.await;
    assert!(
        matches!(outcome, Err(ImportError::StillWriting { before: 10, after: 11 })),
        "{outcome:?}"
    );
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test]
async fn no_node_is_told_a_horizon_or_draws_a_stamp_while_rows_come_in() {
    let (old, world) = (OldDatabase::new(10).await, World::new().await);
    let mut refused = 0;
    let from = old.url("postgres").await;
    let outcome = import(&from, &world.database, false, |done, _| {
        if done == 0 {
            return;
        }
        for statement in ["select sync_horizon()", "select sync_stamp(1)"] {
            let waited = aside(async || {
                let mut sql = PgConnection::connect(&world.database).await.unwrap();
                psql(&mut sql, "set lock_timeout = '200ms'").await;
                sqlx::raw_sql(statement).execute(&mut sql).await
            });
            let error = waited.expect_err("it waits for the import");
            assert!(error.to_string().contains("lock timeout"), "{error}");
            refused += 1;
        }
    });
    outcome.await.unwrap();
    assert_eq!(refused, 2);
}
