//! Writers that die, or stand still, with stamps in their hands.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::processes::serve;
use crate::support::{World, eventually, insert, psql};

/// A change that is stamped and committed as a node's writer does, and not rung.
pub fn unrung(record: &str) -> String {
    format!(
        "begin;
         select sync_act_for(array['alice'], '{{}}'), set_config('app.sync_stamped', 'on', true);
         insert into sync_changes (id, app_id, table_name, record_id, user_id, op, data, created_at)
         select gen_random_uuid(), 'todo', 'tasks', '{record}', 'alice', 'insert', '{{}}',
                sync_time(last)
         from sync_stamp(1);
         commit"
    )
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}

#[tokio::test]
async fn what_a_dead_writer_did_not_ring_comes_with_the_next_ring_or_heartbeat() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.listener.heartbeat = Duration::from_millis(100);
    let node = world.start(settings).await;
    let mut sql = world.sql().await;
    let laptop = world.client("alice", "laptop");
    let mut stream = world.client("alice", "phone").stream(&node.url, "tasks", "").await;
    laptop.push(&node.url, &[insert("warm", &json!({}))]).await;
    stream.record("warm").await;
    let (mut rung, mut beaten) = (Vec::new(), Vec::new());
    for n in 0..10 {
        let begun = Instant::now();
        psql(&mut sql, &unrung(&format!("alone-{n}"))).await;
        assert_eq!(stream.changes(1).await[0]["id"], format!("alone-{n}").as_str());
        beaten.push(begun.elapsed());
        let begun = Instant::now();
        psql(&mut sql, &unrung(&format!("dead-{n}"))).await;
        let living = [insert(&format!("living-{n}"), &json!({}))];
        let (_, two) = tokio::join!(laptop.push(&node.url, &living), stream.changes(2));
        let wanted = [format!("dead-{n}"), format!("living-{n}")];
        assert_eq!(crate::streams::records(&two), wanted, "in the order of their stamps");
        rung.push(begun.elapsed());
    }
    let (rung, beaten) = (median(rung), median(beaten));
    println!(
        "an unrung change came {rung:.1?} after it with a ring, {beaten:.1?} with a heartbeat"
    );
    assert!(rung < Duration::from_millis(150), "with the next ring: {rung:?}");
    assert!(beaten < Duration::from_millis(300), "with the next heartbeat: {beaten:?}");
}

#[tokio::test]
async fn who_holds_the_horizon_is_named_and_ended_and_meanwhile_reads_are_answered() {
    let world = World::new().await;
    let node = serve(&world, &[]).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    laptop.push(&node.url, &[insert("before", &json!({}))]).await;
    let mut holder = world.sql().await;
    psql(&mut holder, "begin; select sync_stamp(1)").await;
    let pid: i32 =
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut holder).await.unwrap();

    let begun = Instant::now();
    let pushing = {
        let (laptop, node) = (laptop.clone(), node.url.clone());
        tokio::spawn(async move { laptop.push(&node, &[insert("after", &json!({}))]).await })
    };
    let mut reads = 0;
    while !pushing.is_finished() {
        let asked = Instant::now();
        let (pulled, _) = phone.pull_all(&node.url, "tasks", "").await;
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "a pull took {took:?}");
        assert_eq!(pulled[0]["id"], "before");
        reads += 1;
    }
    pushing.await.unwrap();
    let took = begun.elapsed();
    println!("a stuck holder was ended after {took:.1?}; meanwhile {reads} pulls were answered");
    assert!((4_000..8_000).contains(&took.as_millis()), "the push took {took:?}");
    assert!(reads > 5, "reads were answered meanwhile: {reads}");
    let log = eventually("the holder's name in the log", async || {
        let log = node.err();
        log.contains("holds the horizon").then_some(log)
    })
    .await;
    assert!(log.contains(&format!("pid={pid} ")), "{log}");
    let asked = sqlx::raw_sql("select 1").execute(&mut holder).await;
    assert!(asked.is_err(), "the holder was ended");
    let (pulled, _) = phone.pull_all(&node.url, "tasks", "").await;
    assert_eq!(crate::streams::records(&pulled), ["before", "after"]);
}
