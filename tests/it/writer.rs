//! Group commit: pushes that share a batch, and pushes that find no place.

use reqwest::Response;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use tokio::task::JoinSet;

use crate::support::world::TestNode;
use crate::support::{Client, PATIENCE, World, eventually, insert, psql};

/// Refuses the record `bad`, as a programmer's own constraint may, and counts how often it came:
/// a sequence keeps its value whatever becomes of the transaction.
const REFUSE_BAD: &str = "
    create sequence times_refused;
    create function refuse_bad() returns trigger language plpgsql as $$
    begin
        perform nextval('times_refused');
        raise exception 'the database says no' using errcode = '23514';
    end
    $$;
    create trigger refuse_bad before insert on sync_changes
        for each row when (new.record_id = 'bad') execute function refuse_bad()";

/// A node whose one lane stores what it is given only after [`Held::release`].
struct Held {
    world: World,
    node: TestNode,
    lock: PgConnection,
    first: JoinSet<Response>,
}

impl Held {
    /// Starts a node with such flags, on a database prepared so, and gives its lane a push to wait
    /// with.
    async fn new(flags: &[&str], prepare: &str) -> Self {
        let world = World::new().await;
        let flags = [&["--writer-lanes=1", "--push-timeout-seconds=20"], flags].concat();
        let node = world.start(world.settings_with(&flags)).await;
        let mut lock = world.sql().await;
        psql(&mut lock, prepare).await;
        psql(&mut lock, "begin; lock table sync_changes in share mode").await;
        let mut held = Self { world, node, lock, first: JoinSet::new() };
        held.first.spawn(push(&held.client("first"), &held.node, "first"));
        let mut admin = held.world.admin().await;
        let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
                     and datname = current_database() and query like 'call sync_append%'";
        eventually("the lane at the lock", async || {
            let lanes = sqlx::query(waits).fetch_one(&mut admin).await.unwrap().get::<i64, _>(0);
            (lanes == 1).then_some(())
        })
        .await;
        held
    }

    fn client(&self, user: &str) -> Client {
        self.world.client(user, "laptop")
    }

    /// Lets the lane go on; gives the answer to the push it waited with.
    async fn release(&mut self) -> Response {
        psql(&mut self.lock, "commit").await;
        next(&mut self.first).await
    }
}

/// A push of one record, to be run.
fn push(client: &Client, node: &TestNode, record: &str) -> impl Future<Output = Response> + use<> {
    let body = json!({ "changes": [insert(record, &json!({}))] }).to_string();
    let (client, node) = (client.clone(), node.url.clone());
    async move { client.post(&node, body).await }
}

async fn next<T: 'static>(under_way: &mut JoinSet<T>) -> T {
    let next = tokio::time::timeout(PATIENCE, under_way.join_next()).await;
    next.expect("an answer comes in time").expect("something is under way").unwrap()
}

async fn refusal(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let part = |key: &str| body[key].as_str().unwrap().to_owned();
    (status, part("error"), part("message"))
}

/// A metric of the process; where it counts, then for all nodes together.
pub async fn metric(node: &TestNode, name: &str) -> u64 {
    let text = reqwest::get(format!("{}/metrics", node.url)).await.unwrap().text().await.unwrap();
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.split(' ').nth(1));
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

/// The ids of the records that this user's other device reads.
async fn readable(held: &Held, user: &str) -> Vec<String> {
    let phone = held.world.client(user, "phone");
    let (changes, _) = phone.pull_all(&held.node.url, "tasks", "").await;
    crate::streams::records(&changes)
}

#[tokio::test]
async fn of_a_batch_that_is_refused_only_the_culprit_fails() {
    let mut held = Held::new(&[], REFUSE_BAD).await;
    let isolated = metric(&held.node, "mana_sync_culprits_isolated_total").await;
    let names: Vec<String> = (0..20).map(|n| format!("user-{n}")).collect();
    let mut pushes = JoinSet::new();
    for name in &names {
        let record = if name == "user-7" { "bad" } else { name };
        let push = push(&held.client(name), &held.node, record);
        let name = name.clone();
        pushes.spawn(async move { (name, push.await) });
    }
    eventually("twenty pushes in the queue", async || {
        let waiting = metric(&held.node, "mana_sync_writer_queue_pushes").await;
        (waiting == 20).then_some(())
    })
    .await;
    assert_eq!(held.release().await.status(), 200);
    while !pushes.is_empty() {
        let (name, response) = next(&mut pushes).await;
        if name == "user-7" {
            let (status, code, message) = refusal(response).await;
            assert_eq!((status, code.as_str()), (400, "invalid_request"));
            assert!(!message.contains("23514"), "an SQLSTATE is database text: {message}");
            assert!(!message.contains("says no"), "{message}");
        } else {
            assert_eq!(response.status(), 200, "{name}");
        }
    }
    for name in names.iter().filter(|name| *name != "user-7") {
        assert_eq!(readable(&held, name).await, [name.as_str()]);
    }
    assert_eq!(readable(&held, "user-7").await, [""; 0]);
    let tried: i64 = sqlx::query_scalar("select last_value from times_refused")
        .fetch_one(&mut held.lock)
        .await
        .unwrap();
    assert_eq!(tried, 2, "once in the batch, and once alone");
    let now = metric(&held.node, "mana_sync_culprits_isolated_total").await;
    assert!(now > isolated, "{now} after {isolated}");
}

#[tokio::test]
async fn a_full_queue_turns_pushes_away_until_it_moves_again() {
    let mut held = Held::new(&["--writer-queue=1"], "").await;
    let full = r#"mana_sync_overflows_total{limit="writer_queue"}"#;
    let before = metric(&held.node, full).await;
    let alice = held.client("alice");
    let mut pushes = JoinSet::new();
    for n in 0..5 {
        let push = push(&alice, &held.node, &format!("t{n}"));
        pushes.spawn(async move { (n, push.await) });
    }
    let mut refused = Vec::new();
    for _ in 0..4 {
        let (n, response) = next(&mut pushes).await;
        let after: u64 = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..60).contains(&after), "Retry-After: {after}");
        let (status, code, _) = refusal(response).await;
        assert_eq!((status, code.as_str()), (503, "busy"));
        refused.push(n);
    }
    assert!(metric(&held.node, full).await >= before + 4);
    assert_eq!(held.release().await.status(), 200);
    let (waited, response) = next(&mut pushes).await;
    assert_eq!(response.status(), 200, "the one that found the place");
    assert_eq!(readable(&held, "alice").await, [format!("t{waited}")], "and nothing of the others");
    for n in refused {
        assert_eq!(push(&alice, &held.node, &format!("t{n}")).await.status(), 200);
    }
    let mut all = readable(&held, "alice").await;
    all.sort();
    assert_eq!(all, ["t0", "t1", "t2", "t3", "t4"]);
}

#[tokio::test]
async fn a_stored_push_is_acknowledged_though_its_page_cannot_be_read() {
    let world = World::new().await;
    let node = world.node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    phone.push(&node.url, &[insert("earlier", &json!({}))]).await;
    let mut sql = world.sql().await;
    let rename = "do $$ declare f regprocedure; begin
        select oid into f from pg_proc where proname = 'FROM';
        execute format('alter function %s rename to TO', f); end $$";
    psql(&mut sql, &rename.replace("FROM", "sync_page").replace("TO", "sync_page_away")).await;
    let answer = laptop.push(&node.url, &[insert("kept", &json!({}))]).await;
    assert_eq!(answer["serverChanges"], json!([]));
    assert_eq!(answer["hasMore"], json!(true), "there may be more: {answer}");
    psql(&mut sql, &rename.replace("FROM", "sync_page_away").replace("TO", "sync_page")).await;
    let since = answer["syncedUntil"].as_str().unwrap();
    let next = laptop.push_since(&node.url, since, &[]).await;
    assert_eq!(crate::streams::records(next["serverChanges"].as_array().unwrap()), ["earlier"]);
    let (pulled, _) = phone.pull_all(&node.url, "tasks", "").await;
    assert_eq!(crate::streams::records(&pulled), ["kept"]);
}
