//! A schema that is newer than the node: it serves, from before the migration and from after it.

use serde_json::json;

use crate::processes::serve;
use crate::support::{Client, Events, World, insert, psql};

/// What a release to come may do: all of it only adds.
const EXPANDS: &str = "
    insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (9001, 'a release to come', true, '\\x00', 1);
    alter table sync_changes add column device text;
    alter table sync_changes add column weight integer not null default 0;
    alter table sync_members add column role text;
    create table sync_devices (user_id text primary key, seen timestamptz);
    create index sync_changes_by_device on sync_changes (device) where device is not null;
    create function sync_clock(p_why text) returns timestamptz language sql
        as 'select sync_clock()';
    create function sync_beat(p_why text) returns timestamptz language sql
        as 'select sync_beat()'";

/// Pushes, and follows and pulls what was pushed.
async fn works(node: &str, alice: &Client, stream: &mut Events, record: &str) {
    let mut change = insert(record, &json!({"title": "Milk"}));
    change["spaceId"] = json!("home");
    alice.push(node, &[change]).await;
    stream.record(record).await;
    let (rows, _) = alice.pull_all(node, "tasks", "").await;
    assert!(rows.iter().all(|row| row["id"] != record), "a client's own change is left out");
}

#[tokio::test]
async fn an_old_node_serves_on_a_schema_that_has_grown() {
    let world = World::new().await;
    world.issuer.join("alice", "home");
    world.issuer.join("bob", "home");
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let node = serve(&world, &[]).await;
    let mut stream = bob.stream(&node.url, "tasks", "").await;
    stream.named("spaces").await;
    works(&node.url, &alice, &mut stream, "before").await;
    // At noon: its statements are prepared and its stream is open.
    psql(&mut world.sql().await, EXPANDS).await;
    works(&node.url, &alice, &mut stream, "after").await;

    // A rollback, or a pod of the old release that starts late.
    let late = serve(&world, &[]).await;
    assert_eq!(late.status("/health/ready").await, Some(200));
    let mut at_late = bob.stream(&late.url, "tasks", "").await;
    assert_eq!(at_late.changes(2).await.len(), 2, "from before and after");
    works(&late.url, &alice, &mut at_late, "late").await;
    stream.record("late").await;
    let (rows, _) = bob.pull_all(&late.url, "tasks", "").await;
    assert_eq!(rows.len(), 3);
}
