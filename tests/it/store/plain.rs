//! Changes that programs insert by plain SQL: stamped at the commit, in the order of their
//! statements, published, rung, and streamed.

use mana_sync::id::{Stamp, UserId};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::sql::{Ear, join, store, value, values};
use crate::support::{World, psql};

/// An insert of records of `user`.
fn insert(user: &str, records: &[&str]) -> String {
    insert_into(user, records, "null")
}

fn insert_into(user: &str, records: &[&str], space: &str) -> String {
    let rows: Vec<_> = records
        .iter()
        .map(|record| format!("('todo', 'tasks', '{record}', '{user}', {space}, 'insert', '{{}}')"))
        .collect();
    let columns = "app_id, table_name, record_id, user_id, space_id, op, data";
    format!("insert into sync_changes ({columns}) values {};", rows.join(", "))
}

/// A connection of a program that writes for Alice.
async fn alice(world: &World) -> PgConnection {
    let mut sql = world.sql().await;
    psql(&mut sql, "set app.current_user_id = 'alice'").await;
    sql
}

/// All records in the order of their stamps.
async fn order(world: &World) -> Vec<String> {
    let query = "select record_id from sync_changes order by created_at nulls first";
    values(&mut world.admin().await, query).await
}

#[tokio::test]
async fn rows_are_stamped_at_the_commit_in_the_order_of_their_statements() {
    let world = World::new().await;
    let (mut sql, mut ear) = (alice(&world).await, Ear::new(&world).await);
    let begun: Stamp = value(&mut sql, "select clock_timestamp()").await;
    let statements =
        [insert("alice", &["1"]), insert("alice", &["2", "3"]), insert("alice", &["4"])];
    psql(&mut sql, &format!("begin; {}", statements.concat())).await;
    // Somebody else commits in between, and is before it.
    let mut other = world.sql().await;
    psql(&mut other, "set app.current_user_ids = '{bob}'").await;
    psql(&mut other, &insert("bob", &["before"])).await;
    psql(&mut sql, "commit").await;
    assert_eq!(order(&world).await, ["before", "1", "2", "3", "4"]);
    let mut admin = world.admin().await;
    let first: Stamp = value(&mut admin, "select min(created_at) from sync_changes").await;
    assert!(first > begun);
    assert_eq!(store(&world).horizon().await.unwrap(), store(&world).clock().await.unwrap());
    let (one, two) = (ear.ring().await, ear.ring().await);
    assert_eq!((one.last, two.last.micros() - two.prev.micros() >= 4), (two.prev, true));
    assert!(format!("{:?}", two.moves).contains("UserId(\"alice\")"), "{two:?}");
}

#[tokio::test]
async fn what_is_rolled_back_to_a_savepoint_leaves_no_stamp() {
    let world = World::new().await;
    let (mut sql, mut ear) = (alice(&world).await, Ear::new(&world).await);
    psql(&mut sql, "set app.current_user_ids = '{bob}'").await;
    let (one, two) = (insert("alice", &["1"]), insert("alice", &["2"]));
    let (gone, three) = (insert("bob", &["gone"]), insert("alice", &["3"]));
    let transaction = format!(
        "begin; {one} savepoint s; {gone} rollback to s; savepoint t; {two} release t; {three} commit"
    );
    psql(&mut sql, &transaction).await;
    assert_eq!(order(&world).await, ["1", "2", "3"]);
    assert!(!format!("{:?}", ear.ring().await.moves).contains("bob"));
    // All of it rolled back: nothing is left to stamp.
    psql(&mut sql, &format!("begin; savepoint s; {gone} rollback to s; commit")).await;
    assert_eq!(order(&world).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_row_deleted_before_the_commit_does_not_stop_it() {
    let world = World::new().await;
    let mut sql = alice(&world).await;
    let (one, two) = (insert("alice", &["1"]), insert("alice", &["2"]));
    let delete = "delete from sync_changes where record_id = '1';";
    psql(&mut sql, &format!("begin; {one} {delete} commit")).await;
    psql(&mut sql, &format!("begin; {one} {two} {delete} commit")).await;
    assert_eq!(order(&world).await, ["2"]);
}

#[tokio::test]
async fn several_users_and_spaces_in_one_transaction() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    join(&mut admin, "alice", "home").await;
    let (mut sql, mut ear) = (world.sql().await, Ear::new(&world).await);
    let statements = [
        insert_into("alice", &["entered"], "'home'"),
        insert_into("bob", &["waits"], "'home'"),
        insert_into("bob", &["personal"], "'_personal:bob'"),
        insert_into("alice", &["nowhere"], "''"),
    ];
    let scope = "set local app.current_user_ids = '{alice,bob}';";
    psql(&mut sql, &format!("begin; {scope} {} commit", statements.concat())).await;
    let query = "select concat_ws(' ', record_id, space_id, space_at = created_at)
                 from sync_changes order by created_at";
    let rows: Vec<String> = values(&mut admin, query).await;
    assert_eq!(rows, ["entered home t", "waits home", "personal", "nowhere"]);
    let moves = format!("{:?}", ear.ring().await.moves);
    let named = ["UserId(\"alice\")", "UserId(\"bob\")", "SpaceId(\"home\")"];
    assert!(named.iter().all(|name| moves.contains(name)), "{moves}");
}

#[tokio::test]
async fn a_program_with_an_old_snapshot_does_not_leave_a_members_row_unpublished() {
    let world = World::new().await;
    let store = store(&world);
    super::publish::verify(&store, "alice", &["home"]).await;
    let mut sql = alice(&world).await;
    psql(&mut sql, "begin isolation level repeatable read; select 1").await;
    store.publish(&UserId::new("alice").unwrap()).await.unwrap();
    let statements = format!("{} commit", insert_into("alice", &["1"], "'home'"));
    // It may be refused, but must not wait for a publishing that is over.
    let stored = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut sql).await;
    let waiting = "select count(*) from sync_changes where space_at is null";
    let waiting: i64 = value(&mut world.admin().await, waiting).await;
    assert_eq!(waiting, 0, "{stored:?}");
}

#[tokio::test]
async fn stamps_that_a_program_makes_up_are_not_taken() {
    let world = World::new().await;
    let mut sql = alice(&world).await;
    psql(
        &mut sql,
        "insert into sync_changes
             (app_id, table_name, record_id, user_id, space_id, op, created_at, space_at)
         values ('todo', 'tasks', '1', 'alice', 'home', 'delete', '1999-01-01', '1999-01-01')",
    )
    .await;
    let mut admin = world.admin().await;
    let clock = "select created_at = sync_clock() and space_at is null from sync_changes";
    assert!(value::<bool>(&mut admin, clock).await);
}

#[tokio::test]
async fn constraints_made_immediate_stamp_at_each_statement() {
    let world = World::new().await;
    let (mut sql, mut ear) = (alice(&world).await, Ear::new(&world).await);
    let (one, two) = (insert("alice", &["1", "2"]), insert("alice", &["3"]));
    let now = "set constraints all immediate;";
    psql(&mut sql, &format!("begin; {one} {now} {two}")).await;
    let stamped = "select count(created_at) from sync_changes";
    assert_eq!(value::<i64>(&mut sql, stamped).await, 3);
    let store = store(&world);
    assert!(store.horizon().await.unwrap() < store.clock().await.unwrap(), "it is in flight");
    psql(&mut sql, "commit").await;
    assert_eq!(order(&world).await, ["1", "2", "3"]);
    assert_eq!(ear.ring().await.last, ear.ring().await.prev);
    assert_eq!(store.horizon().await.unwrap(), store.clock().await.unwrap());
}

#[tokio::test]
async fn copied_rows_are_stamped_in_their_order() {
    let world = World::new().await;
    let mut sql = alice(&world).await;
    let records: Vec<_> = (0..500).map(|n| format!("r{n:03}")).collect();
    let lines: Vec<_> =
        records.iter().map(|r| format!("todo\ttasks\t{r}\talice\tinsert\t{{}}")).collect();
    let copy = "copy sync_changes (app_id, table_name, record_id, user_id, op, data) from stdin";
    let refused = sql.copy_in_raw(copy).await;
    match refused {
        // Postgres copies into no table with row-level security; programs insert instead.
        Err(error) => assert!(error.to_string().contains("row-level security"), "{error}"),
        Ok(_) => panic!("copied past row-level security"),
    }
    let mut admin = world.admin().await;
    let mut sink = admin.copy_in_raw(copy).await.unwrap();
    sink.send(lines.join("\n").as_bytes()).await.unwrap();
    sink.finish().await.unwrap();
    assert_eq!(order(&world).await, records);
    assert_eq!(store(&world).horizon().await.unwrap(), store(&world).clock().await.unwrap());
}

#[tokio::test]
async fn a_program_may_write_only_for_whom_it_names() {
    let world = World::new().await;
    let mut sql = alice(&world).await;
    let bob = AssertSqlSafe(insert("bob", &["1"]));
    let error = sqlx::raw_sql(bob).execute(&mut sql).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{error}");
    // A savepoint goes on, and the name that stood before stands after a commit.
    let mut transaction = sql.begin().await.unwrap();
    psql(&mut transaction, &insert("alice", &["2"])).await;
    transaction.commit().await.unwrap();
    psql(&mut sql, &insert("alice", &["3"])).await;
    assert_eq!(order(&world).await, ["2", "3"]);
    let named: String = value(&mut sql, "select sync_scope_users()::text").await;
    assert_eq!(named, "{alice}");
}

#[tokio::test]
async fn the_stream_of_a_node_brings_what_plain_sql_wrote() {
    let world = World::new().await;
    let node = world.node().await;
    let mut stream = world.client("alice", "phone").stream(&node.url, "tasks", "").await;
    let mut sql = alice(&world).await;
    psql(&mut sql, &insert("alice", &["1"])).await;
    assert_eq!(stream.record("1").await["data"], json!({}));
    psql(
        &mut sql,
        &format!("begin; {} {} commit", insert("alice", &["2"]), insert("alice", &["3"])),
    )
    .await;
    let ids: Vec<_> = stream.changes(2).await.iter().map(|change| change["id"].clone()).collect();
    assert_eq!(ids, ["2", "3"]);
}
