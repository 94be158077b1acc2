//! Cursors.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::Row;

use super::talk::{START, answer, cursor, ids, one_node, page, page_ids};
use crate::support::world::TestNode;
use crate::support::{World, insert};

/// A time as cursors are printed, from the database.
async fn time(world: &World, of: &str) -> String {
    let sql =
        format!("select to_char(({of}) at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
    let sql = sqlx::AssertSqlSafe(sql);
    sqlx::query(sql).fetch_one(&mut world.admin().await).await.unwrap().get(0)
}

/// Where the clock stands; the horizon, where nothing is under way.
async fn clock(world: &World) -> String {
    time(world, "sync_clock()").await
}

/// The stamp of the change of a record.
async fn stamp(world: &World, record: &str) -> String {
    time(world, &format!("select created_at from sync_changes where record_id = '{record}'")).await
}

/// A world in which `a`, `b` and `c` were written one after another.
async fn a_b_c() -> (World, TestNode) {
    let (world, node) = one_node().await;
    for id in ["a", "b", "c"] {
        world.client("alice", "laptop").push(&node.url, &[insert(id, &json!({}))]).await;
    }
    (world, node)
}

// P-62: A cursor is a time of RFC 3339 in UTC with six digits
#[tokio::test]
async fn a_cursor_is_a_time() {
    let (world, node) = a_b_c().await;
    let phone = world.client("alice", "phone");
    for query in ["since=", "limit=1&since=", "limit=2&since=2999-01-01T00:00:00Z"] {
        let until = cursor(&page(&phone, &node.url, &format!("collection=tasks&{query}")).await);
        let shape: String =
            until.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
        let time: Timestamp = until.parse().unwrap();
        assert_eq!(format!("{time:.6}"), until);
    }
}

// P-63: Any cursor is good at any endpoint, for any table of its app, through any node.
#[tokio::test]
async fn a_cursor_is_good_anywhere() {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let note = |id: &str| json!({"table": "notes", "id": id, "op": "insert"});
    laptop.push(&nodes[0].url, &[insert("before", &json!({})), note("nb")]).await;
    let mut cursors = Vec::new();
    for node in &nodes {
        cursors.push(cursor(&phone.push(&node.url, &[]).await));
        cursors.push(cursor(&phone.pull(&node.url, "tasks", "").await));
        cursors.push(cursor(&phone.pull(&node.url, "other", "").await));
        let mut stream = phone.stream(&node.url, "", "").await;
        stream.changes(2).await;
        cursors.push(stream.cursor);
    }
    laptop.push(&nodes[1].url, &[insert("after", &json!({})), note("na")]).await;
    for since in &cursors {
        for node in &nodes {
            let pushed = phone.push_since(&node.url, since, &[]).await;
            assert_eq!(page_ids(&pushed), ["after", "na"]);
            assert_eq!(page_ids(&phone.pull(&node.url, "tasks", since).await), ["after"]);
            assert_eq!(page_ids(&phone.pull(&node.url, "notes", since).await), ["na"]);
            let mut stream = phone.stream(&node.url, "notes", since).await;
            assert_eq!(ids(&stream.changes(1).await), ["na"]);
        }
    }
}

// P-64: sorts after it, or is equal where nothing happened
#[tokio::test]
async fn cursors_only_go_forward() {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = phone.stream(&nodes[1].url, "", "").await;
    let mut since = String::new();
    for round in 0..12 {
        let node = &nodes[round % 2].url;
        laptop
            .push(node, &[insert(&format!("{round}"), &json!({})), insert("x", &json!({}))])
            .await;
        let other = &nodes[(round / 2) % 2].url;
        let query = format!("collection=tasks&limit=1&since={since}");
        let page = match round % 3 {
            0 => phone.push_since(other, &since, &[]).await,
            1 => phone.pull(other, "tasks", &since).await,
            _ => page(&phone, other, &query).await,
        };
        assert!(cursor(&page) > since, "{since} to {}", cursor(&page));
        since = cursor(&page);
        let before = stream.cursor.clone();
        stream.record(&round.to_string()).await;
        assert!(stream.cursor > before);
    }
    let page = phone.push_since(&nodes[0].url, &since, &[]).await;
    let again = phone.pull(&nodes[1].url, "notes", &cursor(&page)).await;
    assert_eq!(cursor(&again), cursor(&page), "nothing happened");
}

// P-65: No cursor lies beyond the horizon.
#[tokio::test]
async fn no_cursor_is_ahead_of_what_is_in_flight() {
    let (world, node) = a_b_c().await;
    let phone = world.client("alice", "phone");
    let mut writer = world.sql().await;
    let mut held = sqlx::Connection::begin(&mut writer).await.unwrap();
    let drawn: i64 =
        sqlx::query("select prev from sync_stamp(5)").fetch_one(&mut *held).await.unwrap().get(0);
    let bound = time(&world, &format!("sync_time({drawn})")).await;
    world.client("alice", "laptop").push(&node.url, &[]).await;
    for _ in 0..3 {
        let pushed = cursor(&phone.push(&node.url, &[]).await);
        let pulled = cursor(&phone.pull(&node.url, "tasks", "2999-01-01T00:00:00Z").await);
        for until in [pushed, pulled] {
            assert!(until <= bound, "{until} lies beyond {bound}");
        }
    }
    held.rollback().await.unwrap();
    let after = phone.pull(&node.url, "tasks", START).await;
    assert!(cursor(&after) > bound, "the run is over");
}

// P-66: A page that has more to come ends at its last change's stamp
#[tokio::test]
async fn a_page_ends_at_its_last_change_or_at_the_horizon() {
    let (world, node) = a_b_c().await;
    let phone = world.client("alice", "phone");
    world.client("bob", "b").push(&node.url, &[insert("later", &json!({}))]).await;
    let first = page(&phone, &node.url, "collection=tasks&limit=1&since=").await;
    assert_eq!(cursor(&first), stamp(&world, "a").await);
    let two = page(&phone, &node.url, "collection=tasks&limit=2&since=").await;
    assert_eq!(cursor(&two), stamp(&world, "b").await);
    let all = page(&phone, &node.url, "collection=tasks&limit=3&since=").await;
    assert_eq!(cursor(&all), clock(&world).await);
    assert!(
        cursor(&all) > stamp(&world, "later").await || cursor(&all) == stamp(&world, "later").await
    );
}

// P-67: Any ISO time with an offset is taken as a cursor
#[tokio::test]
async fn a_cursor_may_be_any_time() {
    let (world, node) = a_b_c().await;
    let phone = world.client("alice", "phone");
    let read = async |since: &str| {
        let page = page(&phone, &node.url, &format!("collection=tasks&since={since}")).await;
        page_ids(&page).join("")
    };
    let b = stamp(&world, "b").await;
    let digits = b.strip_suffix('Z').unwrap();
    let at: Timestamp = b.parse().unwrap();
    let shifted = |hours: i64, offset: &str| {
        let shifted = at + jiff::SignedDuration::from_hours(hours);
        format!("{}{offset}", format!("{shifted:.6}").strip_suffix('Z').unwrap())
    };
    for exact in [
        b.clone(),
        format!("{digits}000Z"),
        format!("{digits}999Z"),
        format!("{digits}+00:00"),
        format!("{digits}%2B00:00"),
        shifted(2, "%2B02:00"),
        shifted(2, "+02:00"),
        shifted(-5, "-05:00"),
    ] {
        assert_eq!(read(&exact).await, "c", "{exact}");
    }
    for (form, expected) in [
        (format!("{}Z", &digits[..23]), "bc"),
        (format!("{}Z", &digits[..19]), "c"),
        ("2020-01-01T00:00:00Z".to_owned(), "abc"),
        ("2020-01-01T00:00:00.123Z".to_owned(), "abc"),
        ("2020-01-01T00:00:00.123456789-08:00".to_owned(), "abc"),
        ("1969-12-31T23:59:59Z".to_owned(), "abc"),
        ("0001-01-01T00:00:00Z".to_owned(), "abc"),
    ] {
        assert!(read(&form).await.ends_with(expected), "{form}");
    }
}

// P-68: A cursor in the future reads nothing, and the answer's cursor is the horizon.
#[tokio::test]
async fn the_future_is_empty() {
    let (world, node) = a_b_c().await;
    let phone = world.client("alice", "phone");
    for future in ["2999-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
        let pulled = page(&phone, &node.url, &format!("collection=tasks&since={future}")).await;
        let pushed = phone.push_since(&node.url, future, &[]).await;
        for page in [pulled, pushed] {
            assert_eq!(page_ids(&page).len(), 0);
            assert_eq!(cursor(&page), clock(&world).await);
        }
    }
    // A stream that begins there goes on from the horizon, too.
    let mut stream = phone.stream(&node.url, "tasks", "2999-01-01T00:00:00Z").await;
    stream.named("spaces").await;
    world.client("alice", "laptop").push(&node.url, &[insert("d", &json!({}))]).await;
    assert_eq!(ids(&stream.changes(1).await), ["d"]);
}

// P-69: anything that is no time, reads from the start
#[tokio::test]
async fn what_is_no_time_reads_from_the_start() {
    let (world, node) = a_b_c().await;
    let phone = world.client("alice", "phone");
    for odd in [
        "",
        "0",
        "null",
        "undefined",
        "NaN",
        "yesterday",
        "Invalid%20Date",
        "1764000000000",
        "2026-13-45T00:00:00Z",
        "2999-01-01",
        "2999-01-01T00:00:00",
        "~",
        "%F0%9F%98%80",
        "2999-01-01T00:00:00Zz",
        "'%20or%201=1%20--",
    ] {
        let read = page(&phone, &node.url, &format!("collection=tasks&since={odd}")).await;
        assert_eq!(page_ids(&read), ["a", "b", "c"], "{odd}");
        assert_eq!(ids(&phone.stream(&node.url, "", odd).await.changes(3).await), ["a", "b", "c"]);
    }
    for body in [json!({}), json!({"since": null}), json!({"since": "last week"})] {
        let read: Value = answer(phone.post(&node.url, body.to_string()).await).await;
        assert_eq!(page_ids(&read), ["a", "b", "c"], "{body}");
    }
}
