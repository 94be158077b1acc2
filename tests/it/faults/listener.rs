//! A listener that is ended, deaf, cut off for good, or rung by strangers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use tokio::time::Instant;

use super::proxy::{Mode, Proxy};
use super::{
    end_listeners, impatient, listeners, proxy, push_until_acknowledged, repeatable, through,
};
use crate::support::{World, eventually, insert, psql};

#[tokio::test]
async fn followers_miss_nothing_when_listeners_are_ended_again_and_again_in_a_burst() {
    const CLIENTS: usize = 6;
    const PUSHES: usize = 50;
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    let mut followers = Vec::new();
    for node in [&first, &second] {
        let name = format!("follower-{}", followers.len());
        let mut stream = world.client("alice", &name).stream(&node.url, "tasks", "").await;
        followers.push(tokio::spawn(async move { stream.changes(CLIENTS * PUSHES).await }));
    }
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let device = world.client("alice", &format!("client-{client}"));
        let (node, done) = (first.url.clone(), Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            for n in 0..PUSHES {
                push_until_acknowledged(&device, &node, &[repeatable(&format!("c{client}n{n}"))])
                    .await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let mut admin = world.admin().await;
    let mut ended = 0;
    eventually("the end of the burst", async || {
        ended += end_listeners(&mut admin).await;
        (done.load(Ordering::Relaxed) == CLIENTS * PUSHES).then_some(())
    })
    .await;
    println!("{ended} listeners were ended during {} pushes", CLIENTS * PUSHES);
    assert!(ended >= 10, "listeners were ended again and again: {ended}");
    for client in clients {
        client.await.unwrap();
    }
    for follower in followers {
        let mut records = crate::streams::records(&follower.await.unwrap());
        records.sort();
        let mut wanted: Vec<String> = (0..CLIENTS)
            .flat_map(|client| (0..PUSHES).map(move |n| format!("c{client}n{n}")))
            .collect();
        wanted.sort();
        assert!(records == wanted, "{} of {} changes", records.len(), wanted.len());
    }
}

#[tokio::test]
async fn a_listener_that_goes_deaf_is_noticed_within_three_heartbeats() {
    let world = World::new().await;
    let proxy = proxy(&world).await;
    let mut settings = impatient(&world);
    settings.listener.url = through(&world, &proxy);
    let (first, second) = (world.node().await, world.start(settings).await);
    let mut admin = world.admin().await;
    let before = eventually("both listeners", async || {
        let pids = listeners(&mut admin).await;
        (pids.len() == 2).then_some(pids)
    })
    .await;
    let laptop = world.client("alice", "laptop");
    let mut stream = world.client("alice", "phone").stream(&second.url, "tasks", "").await;
    laptop.push(&first.url, &[insert("before", &json!({}))]).await;
    stream.record("before").await;

    let begun = Instant::now();
    proxy.deafen();
    laptop.push(&first.url, &[insert("unheard", &json!({}))]).await;
    stream.record("unheard").await;
    eventually("a new listener", async || {
        let pids = listeners(&mut admin).await;
        pids.iter().any(|pid| !before.contains(pid)).then_some(())
    })
    .await;
    let took = begun.elapsed();
    println!("a deaf listener was replaced after {took:.1?} (heartbeat 200 ms)");
    assert!(took < Duration::from_millis(1500), "it took {took:?}");
    laptop.push(&first.url, &[insert("after", &json!({}))]).await;
    stream.record("after").await;
}

/// Cuts off the listener of one of two nodes.
async fn cut_one_of_two(ear: &Proxy, admin: &mut PgConnection) {
    ear.set(Mode::Cut);
    let one = async || (listeners(&mut *admin).await.len() == 1).then_some(());
    eventually("the end of its listener", one).await;
}

#[tokio::test]
async fn a_node_that_listens_anew_while_its_other_connections_are_dead_goes_on() {
    let world = World::new().await;
    let (ear, hands) = (proxy(&world).await, proxy(&world).await);
    let mut settings = impatient(&world);
    settings.listener.url = through(&world, &ear);
    settings.database.url = through(&world, &hands);
    // Heartbeats are rare, for one would have the dead connection before what is asked here.
    settings.listener.heartbeat = Duration::from_secs(2);
    let (first, second) = (world.node().await, world.start(settings).await);
    let laptop = world.client("alice", "laptop");
    let mut stream = world.client("alice", "phone").stream(&second.url, "tasks", "").await;
    let push = async |node: &str, record: &str| {
        push_until_acknowledged(&laptop, node, &[repeatable(record)]).await;
    };
    let mut admin = world.admin().await;
    for _ in 0..2 {
        push(&first.url, "by the other").await;
        push(&second.url, "by itself").await;
        cut_one_of_two(&ear, &mut admin).await;
        push(&first.url, "unheard").await;
        hands.deafen();
        ear.set(Mode::Pass);
        push(&second.url, "after").await;
        let seen = crate::streams::records(&stream.changes(4).await);
        assert_eq!(seen, ["by the other", "by itself", "unheard", "after"]);
    }
}

#[tokio::test]
async fn a_node_that_cannot_listen_still_reads_and_acknowledges() {
    let world = World::new().await;
    let proxy = proxy(&world).await;
    let mut settings = impatient(&world);
    settings.listener.url = through(&world, &proxy);
    let (deaf, other) = (world.start(settings).await, world.node().await);
    let mut admin = world.admin().await;
    cut_one_of_two(&proxy, &mut admin).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = phone.stream(&deaf.url, "tasks", "").await;
    stream.named("spaces").await;
    for (n, node) in [&deaf, &other, &deaf, &other].into_iter().enumerate() {
        let record = format!("t{n}");
        laptop.push(&node.url, &[insert(&record, &json!({}))]).await;
        let (pulled, _) = phone.pull_all(&deaf.url, "tasks", "").await;
        assert_eq!(pulled.last().unwrap()["id"], record.as_str(), "a pull after the answer");
        stream.record(&record).await;
    }
    assert_eq!(phone.get(&deaf.url, "/health/ready").await.status(), 200);
}

#[tokio::test]
async fn streams_go_on_where_what_moved_cannot_be_asked() {
    let world = World::new().await;
    let proxy = proxy(&world).await;
    let mut settings = impatient(&world);
    settings.listener.url = through(&world, &proxy);
    let (first, second) = (world.node().await, world.start(settings).await);
    let laptop = world.client("alice", "laptop");
    let mut stream = world.client("alice", "phone").stream(&second.url, "tasks", "").await;
    laptop.push(&first.url, &[insert("before", &json!({}))]).await;
    stream.record("before").await;
    let mut admin = world.admin().await;
    psql(&mut admin, "alter function sync_moved rename to sync_moved_no_more").await;
    cut_one_of_two(&proxy, &mut admin).await;
    for record in ["unheard", "too"] {
        laptop.push(&first.url, &[insert(record, &json!({}))]).await;
        stream.record(record).await;
    }
}

#[tokio::test]
async fn strangers_on_the_channel_are_ignored() {
    let world = World::new().await;
    let node = world.node().await;
    let (mut admin, mut sql) = (world.admin().await, world.sql().await);
    let before = eventually("a listener", async || {
        let pids = listeners(&mut admin).await;
        (!pids.is_empty()).then_some(pids)
    })
    .await;
    let laptop = world.client("alice", "laptop");
    let mut stream = world.client("alice", "phone").stream(&node.url, "tasks", "").await;
    let strange = [
        "hello",
        "",
        "{}",
        "[]",
        "null",
        "7",
        r#"{"c":"now"}"#,
        r#"{"p":1}"#,
        r#"{"p":1,"l":2}"#,
        r#"{"p":1,"l":2,"n":0,"m":[["u"]]}"#,
        r#"{"p":1.5,"l":2,"n":0,"m":[]}"#,
        r#"{"p":1,"l":2,"n":300,"m":[]}"#,
        r#"{"p":1,"l":2,"n":0,"m":[["x","","",null]]}"#,
    ];
    for (n, payload) in strange.into_iter().enumerate() {
        let notify = "select pg_notify('sync_changes', $1)";
        sqlx::query(notify).bind(payload).execute(&mut sql).await.unwrap();
        let record = format!("t{n}");
        laptop.push(&node.url, &[insert(&record, &json!({}))]).await;
        assert_eq!(stream.changes(1).await[0]["id"], record.as_str(), "after {payload:?}");
    }
    psql(&mut sql, "notify sync_changes").await;
    assert_eq!(listeners(&mut admin).await, before, "the listener was not shaken off");
}

#[tokio::test]
async fn a_ring_from_the_future_is_ignored() {
    let world = World::new().await;
    let node = world.node().await;
    let mut sql = world.sql().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = phone.stream(&node.url, "tasks", "").await;
    let mut since = String::new();
    let ahead = "(select sync_micros(clock_timestamp() + interval '1 h'))";
    for (n, payload) in [
        format!("json_build_object('p', 0, 'l', {ahead}, 'n', 0, 'm', json_build_array())"),
        format!("json_build_object('c', {ahead})"),
        "json_build_object('p', 0, 'l', 9e15::bigint, 'n', 0, 'm', json_build_array())".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        psql(&mut sql, &format!("select pg_notify('sync_changes', ({payload})::text)")).await;
        let record = format!("t{n}");
        laptop.push(&node.url, &[insert(&record, &json!({}))]).await;
        stream.record(&record).await;
        let (pulled, until) = phone.pull_all(&node.url, "tasks", &since).await;
        assert_eq!(crate::streams::records(&pulled), [record], "after {payload}");
        since = until;
    }
    let soon: String = sqlx::query_scalar("select to_char(now() + interval '1 min', 'YYYY-MM-DD')")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert!(since[..10] <= *soon, "no cursor lies ahead: {since}");
}
