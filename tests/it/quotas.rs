//! What one user may ask of a node: who floods is told to come back, and nobody else notices.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::processes::{Process, serve};
use crate::support::world::World;
use crate::support::{Client, eventually, insert, psql, say};

const POLL: &str = "/sync/todo/pull?collection=tasks&since=";

/// The code and the seconds of a refusal of too much.
async fn too_many(response: Response) -> u64 {
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let after = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], "too_many", "{body}");
    after
}

// P-97: 429 and 503 carry `Retry-After`.
#[tokio::test]
async fn a_user_who_asks_too_much_is_told_when_to_come_back() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--limit-user-requests=1"])).await;
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let answers = join_all((0..30).map(|_| alice.get(&node.url, POLL))).await;
    let (taken, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == StatusCode::OK);
    // Ten seconds' requests at once, and what came due meanwhile.
    assert!((10..15).contains(&taken.len()), "{} were taken", taken.len());
    for answer in refused {
        assert!((1..=2).contains(&too_many(answer).await));
    }
    assert_eq!(bob.get(&node.url, POLL).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_streams_of_one_user_are_bounded() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--limit-user-streams=3"])).await;
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(alice.stream(&node.url, "", "").await);
    }
    assert!(too_many(alice.get(&node.url, "/sync/todo/stream").await).await > 0);
    drop(bob.stream(&node.url, "", "").await);
    open.pop();
    eventually("room for another", async || {
        let again = alice.get(&node.url, "/sync/todo/stream").await;
        (again.status() == StatusCode::OK).then_some(())
    })
    .await;
}

// P-106: it counts as one for each app
#[tokio::test]
async fn a_stream_of_several_apps_counts_as_so_many() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--limit-user-streams=3"])).await;
    let alice = world.client("alice", "a");
    assert!(too_many(alice.get(&node.url, "/stream?apps=a,b,c,d").await).await > 0);
    let of_three = alice.stream_of_apps(&node.url, "a,b,c", "").await;
    assert!(too_many(alice.get(&node.url, "/sync/todo/stream").await).await > 0);
    drop(of_three);
    eventually("room for three", async || {
        let again = alice.get(&node.url, "/stream?apps=a,b,c").await;
        (again.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_bodies_of_one_user_share_a_bound() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.limits.user_inflight_bytes = 1 << 20;
    let node = world.start(settings).await;
    let large = json!({"changes": [insert("large", &json!("x".repeat(2 << 20)))]}).to_string();
    assert!(too_many(world.client("alice", "a").post(&node.url, large).await).await > 0);
    world.client("alice", "a").push(&node.url, &[insert("small", &json!({}))]).await;
}

#[tokio::test]
async fn ten_tabs_that_all_wake_up_at_once_meet_no_limit() {
    let world = World::new().await;
    let node = serve(&world, &[]).await;
    let tabs = join_all((0..10).map(async |tab| {
        let client = world.client("alice", &format!("tab-{tab}"));
        let change = [insert(&format!("of-{tab}"), &json!({}))];
        let polls = join_all((0..130).map(|table| {
            let path = format!("/sync/todo/pull?collection=table-{table}&since=");
            let (client, node) = (client.clone(), node.url.clone());
            async move { client.get(&node, &path).await.status() }
        }));
        tokio::join!(client.push(&node.url, &change), polls).1
    }))
    .await;
    let polled = tabs.into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(polled, vec![StatusCode::OK; 1300]);
}

/// How long the pushes and polls of somebody quiet take, the longest last.
async fn quiet(client: &Client, node: &str) -> Vec<Duration> {
    let mut took = Vec::new();
    for n in 0..150 {
        let begun = Instant::now();
        if n % 2 == 0 {
            client.push(node, &[insert(&format!("q{n}"), &json!({}))]).await;
        } else {
            assert_eq!(client.get(node, POLL).await.status(), StatusCode::OK);
        }
        took.push(begun.elapsed());
    }
    took.sort();
    took
}

/// The 99th percentile.
fn p99(took: &[Duration]) -> Duration {
    took[took.len() * 99 / 100]
}

/// Somebody who sends over so many connections, each request as soon as the one before is answered.
/// Gives how many were sent, and how many refused.
fn flood(
    world: &World,
    node: &str,
    connections: usize,
    body: Option<&str>,
) -> (CancellationToken, JoinSet<(u64, u64)>) {
    let (mut floods, stop) = (JoinSet::new(), CancellationToken::new());
    for n in 0..connections {
        let (alice, node) = (world.client("alice", &format!("a{n}")), node.to_owned());
        let (stop, body) = (stop.clone(), body.map(str::to_owned));
        floods.spawn(async move {
            let (mut sent, mut refused) = (0_u64, 0_u64);
            while !stop.is_cancelled() {
                sent += 1;
                let answer = match &body {
                    Some(body) => alice.post(&node, body.clone()).await,
                    None => alice.get(&node, POLL).await,
                };
                refused += u64::from(answer.status() == StatusCode::TOO_MANY_REQUESTS);
            }
            (sent, refused)
        });
    }
    (stop, floods)
}

/// A quiet user's p99 beside a flood of somebody else, and how many requests of that were refused;
/// what is printed has the p99 alone, too. `loadtest fair` measures it on a released node.
async fn felt(flags: &[&str], connections: usize, body: Option<&str>) -> (Duration, u64) {
    let world = World::new().await;
    let node = serve(&world, flags).await;
    let bob = world.client("bob", "b");
    quiet(&bob, &node.url).await;
    let before = p99(&quiet(&bob, &node.url).await);
    let (stop, floods) = flood(&world, &node.url, connections, body);
    let during = p99(&quiet(&bob, &node.url).await);
    stop.cancel();
    let ends = floods.join_all().await;
    let (sent, refused) = ends.iter().fold((0, 0), |(s, r), end| (s + end.0, r + end.1));
    let what = body.map_or("polls".to_owned(), |body| format!("pushes of {} bytes", body.len()));
    say(&format!(
        "a quiet user's p99: {before:.1?} alone, {during:.1?} while another sends {sent} {what} \
         over {connections} connections, of which {refused} are refused"
    ));
    (during, refused)
}

// The flood comes from the node's own cores, which other tests share: what is left is waiting for
// those, so the figures are printed, and held to what nobody would call starved.
const STARVED: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_user_does_not_notice_who_floods() {
    let (during, refused) = felt(&["--limit-user-requests=100"], 32, None).await;
    assert!(refused > 0, "the flood met the limit");
    assert!(during < STARVED, "{during:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_user_does_not_notice_who_pushes_at_full_speed() {
    let changes: Vec<_> = (0..200).map(|n| insert(&format!("f{n}"), &json!({}))).collect();
    let body = json!({ "changes": changes }).to_string();
    let (during, _) = felt(&[], 1, Some(&body)).await;
    assert!(during < STARVED, "{during:?}");
}

#[tokio::test]
async fn pushes_of_one_user_take_turns_whether_their_client_waits_or_not() {
    let world = World::new().await;
    let times = ["--database-timeout-seconds=60", "--push-timeout-seconds=61"];
    let node = serve(&world, &[&["--limit-user-changes=1"], &times[..]].concat()).await;
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let (mut admin, mut look) = (world.admin().await, world.admin().await);
    for client in [&alice, &bob] {
        // Their memberships are known then.
        client.push(&node.url, &[insert("before", &json!({}))]).await;
    }
    psql(&mut admin, "begin; lock table sync_changes in exclusive mode").await;
    let mut waiting = async |pushes: i64| {
        let held = "select count(*) from pg_stat_activity \
                    where wait_event_type = 'Lock' and datname = current_database() \
                          and query like '%sync_append%'";
        eventually("pushes that wait for the log", async || {
            let count: i64 = sqlx::query_scalar(held).fetch_one(&mut look).await.unwrap();
            (count >= pushes).then_some(count)
        })
        .await
    };
    let push = |client: &Client, record: &str| {
        let body = json!({ "changes": [insert(record, &json!({}))] }).to_string();
        let (client, url) = (client.clone(), node.url.clone());
        tokio::spawn(async move { client.post(&url, body).await.status() })
    };
    let first = push(&alice, "first");
    waiting(1).await;
    first.abort();
    // The log of requests tells that the node has noticed.
    eventually("that the client has gone", async || {
        node.err().contains("status=499").then_some(())
    })
    .await;
    let second = push(&alice, "second");
    let others = push(&bob, "others");
    assert_eq!(waiting(2).await, 2);
    psql(&mut admin, "commit").await;
    assert_eq!((second.await.unwrap(), others.await.unwrap()), (StatusCode::OK, StatusCode::OK));
    let order = "select array_agg(record_id order by created_at) from sync_changes \
                 where record_id <> 'before'";
    let order: Vec<String> = sqlx::query_scalar(order).fetch_one(&mut admin).await.unwrap();
    assert_eq!((order.len(), order[2].as_str()), (3, "second"), "its turn came last: {order:?}");
}

/// Asks for `path`, and reads nothing but the status, ever.
async fn asks_and_reads_nothing(client: &Client, node: &str, path: &str) -> (u16, TcpStream) {
    let address = node.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    // So that little of the answer leaves the node.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    let (token, device) = (&client.token, &client.client);
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {token}\r\nX-Client-Id: {device}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 12];
    socket.read_exact(&mut said).await.unwrap();
    let status = std::str::from_utf8(&said).unwrap().strip_prefix("HTTP/1.1 ").unwrap();
    (status.parse().unwrap(), socket)
}

/// A node with room for three answers of a change like that of `large`, two of them of one user.
async fn node_with_little_room(world: &World) -> Process {
    let room = ["--limit-inflight-bytes=28311552", "--limit-user-inflight-bytes=18874368"];
    let node = serve(world, &room).await;
    for user in ["alice", "bob"] {
        let large = insert("large", &json!({"text": "x".repeat(8 << 20)}));
        world.client(user, "laptop").push(&node.url, &[large]).await;
    }
    node
}

#[tokio::test]
async fn answers_that_one_user_leaves_unread_hold_up_that_user_alone() {
    let world = World::new().await;
    let node = node_with_little_room(&world).await;
    let (alice, bob) = (world.client("alice", "phone"), world.client("bob", "phone"));
    let (first, first_socket) = asks_and_reads_nothing(&alice, &node.url, POLL).await;
    let (second, _second_socket) = asks_and_reads_nothing(&alice, &node.url, POLL).await;
    assert_eq!((first, second), (200, 200));
    assert!(too_many(alice.get(&node.url, POLL).await).await > 0);
    assert_eq!(bob.get(&node.url, POLL).await.status(), StatusCode::OK);
    drop(first_socket);
    eventually("room for another", async || {
        let again = alice.get(&node.url, POLL).await;
        (again.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_that_one_user_leaves_unread_hold_up_that_user_alone() {
    const STREAM: &str = "/sync/todo/stream?collections=tasks";
    let world = World::new().await;
    let node = node_with_little_room(&world).await;
    let (alice, bob) = (world.client("alice", "phone"), world.client("bob", "phone"));
    let mut unread = Vec::new();
    for _ in 0..8 {
        let (status, socket) = asks_and_reads_nothing(&alice, &node.url, STREAM).await;
        assert_eq!(status, 200);
        unread.push(socket);
    }
    eventually("events that wait to be read", async || {
        let metrics = reqwest::get(format!("{}/metrics", node.url)).await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let held = metrics.lines().find_map(|line| {
            line.strip_prefix("mana_sync_inflight_bytes{flow=\"events\"} ")?.parse::<f64>().ok()
        });
        (held.unwrap() >= f64::from(16 << 20)).then_some(())
    })
    .await;
    let mut stream = bob.stream(&node.url, "tasks", "").await;
    assert_eq!(stream.changes(1).await[0]["id"], "large");
    assert_eq!(alice.get(&node.url, POLL).await.status(), StatusCode::OK);
    unread.clear();
    let mut stream = alice.stream(&node.url, "tasks", "").await;
    assert_eq!(stream.changes(1).await[0]["id"], "large");
}
