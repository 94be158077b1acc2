//! Nodes come and go, in order and out of order, under load.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Fleet, Kind};
use crate::processes::Process;
use crate::protocol::talk::refusal;
use crate::support::{Client, Events, eventually, say};

const FOLLOWERS: usize = 9;
const WRITERS: usize = 4;
const FLAGS: [&str; 3] =
    ["--drain-delay-seconds=3", "--drain-spread-seconds=1", "--drain-deadline-seconds=8"];

/// What happened to those who push.
#[derive(Default)]
struct Pushed {
    events: BTreeSet<String>,
    /// Pushes whose first attempt failed.
    repeated: usize,
    /// Pushes whose second one failed too.
    failed: Vec<String>,
}

/// What happened to one who follows.
#[derive(Default)]
struct Followed {
    events: BTreeMap<String, usize>,
    /// Streams that ended.
    reconnects: usize,
    /// Attempts to open one that failed.
    refused: Vec<String>,
}

pub async fn nodes_leave_and_join_and_clients_notice_a_reconnect_at_most(kind: Kind) {
    let mut fleet = Fleet::start(kind, &FLAGS).await;
    let url = fleet.url().to_owned();
    let over = CancellationToken::new();
    let pushed = RefCell::new(Pushed::default());
    let client = |name: String| fleet.world.client("alice", &name);
    let writers: Vec<Client> = (0..WRITERS).map(|n| client(format!("writer-{n}"))).collect();
    let followers: Vec<Client> = (0..FOLLOWERS).map(|n| client(format!("tab-{n}"))).collect();

    let written = CancellationToken::new();
    let writing = async {
        join_all(writers.iter().map(|writer| push(writer, &url, &over, &pushed))).await;
        written.cancel();
    };
    let following = followers.iter().map(|tab| follow(tab, &url, &written, &pushed));
    let acting = async {
        let begun = Instant::now();
        grows(&pushed).await;
        fleet.nodes[0].signal("TERM");
        are_led_past(&fleet, 0).await;
        assert_eq!(fleet.nodes[0].ended().await.code(), Some(0), "{}", fleet.nodes[0].err());
        grows(&pushed).await;
        comes_back(&mut fleet, 0).await;
        grows(&pushed).await;
        fleet.nodes[1].kill();
        grows(&pushed).await;
        comes_back(&mut fleet, 1).await;
        grows(&pushed).await;
        over.cancel();
        begun.elapsed()
    };
    let (took, (), followed) = tokio::join!(acting, writing, join_all(following));

    let pushed = pushed.into_inner();
    let reconnects: Vec<usize> = followed.iter().map(|one| one.reconnects).collect();
    let again = |one: &Followed| one.events.values().filter(|times| **times > 1).count();
    let again: usize = followed.iter().map(again).sum();
    let refused: Vec<&String> = followed.iter().flat_map(|one| &one.refused).collect();
    say(&format!(
        "{kind:?}: a node was replaced, another killed and replaced, in {took:.1?}: {} pushes, {} \
         of them repeated, {} failed twice; streams reconnected {reconnects:?} times, {} of \
         {FOLLOWERS} x {} changes lost, {again} came twice",
        pushed.events.len(),
        pushed.repeated,
        pushed.failed.len(),
        followed.iter().map(|one| pushed.events.len() - one.events.len()).sum::<usize>(),
        pushed.events.len()
    ));
    assert!(pushed.failed.is_empty(), "{:?}", pushed.failed);
    assert!(refused.is_empty(), "a stream is opened at once: {refused:?}");
    assert!(reconnects.iter().all(|times| *times <= 2), "one for each node that went");
    assert!(reconnects.iter().sum::<usize>() > 0, "somebody was on them");
    for one in followed {
        assert!(one.events.keys().eq(&pushed.events), "everybody has all");
    }
    assert_eq!(again, 0, "who goes on from a cursor gets nothing twice");
    nobody_is_there(fleet, &writers[0]).await;
}

/// Without a node, clients are told to come back, and pages may read that.
async fn nobody_is_there(mut fleet: Fleet, client: &Client) {
    fleet.nodes.iter_mut().for_each(Process::kill);
    // A connection over which its node has just died ends without an answer.
    let answer =
        eventually("an answer", async || client.try_post(fleet.url(), "{}").await.ok()).await;
    assert_eq!(answer.headers()["retry-after"], "2");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert_eq!(answer.headers()["access-control-expose-headers"], "Retry-After");
    let (status, code, _) = refusal(answer).await;
    assert_eq!((status, code.as_str()), (503, "unavailable"));
}

/// Opens streams while a node refuses them, because it is about to leave.
async fn are_led_past(fleet: &Fleet, number: usize) {
    let leaving = &fleet.nodes[number];
    let refuses = async || (leaving.status("/health/ready").await == Some(503)).then_some(());
    eventually("a node that is about to leave", refuses).await;
    let tab = fleet.world.client("alice", "newcomer");
    for _ in 0..FOLLOWERS {
        drop(tab.stream(fleet.url(), "tasks", "2999-01-01T00:00:00Z").await);
    }
    assert_eq!(leaving.status("/health/live").await, Some(200), "it is still there");
}

/// Waits for a few more pushes.
async fn grows(pushed: &RefCell<Pushed>) {
    let before = pushed.borrow().events.len();
    let more = async || (pushed.borrow().events.len() > before + 40).then_some(());
    eventually("more pushes", more).await;
}

/// Starts a node anew, and waits until clients are led to it.
async fn comes_back(fleet: &mut Fleet, number: usize) {
    fleet.replace(number).await;
    let tab = fleet.world.client("alice", "newcomer");
    let (node, url) = (&fleet.nodes[number], fleet.url());
    eventually("streams and pushes at the new node", async || {
        let stream = tab.stream(url, "tasks", "2999-01-01T00:00:00Z").await;
        let log = node.err();
        let has = |route: &str| log.lines().any(|line| line.contains(route));
        drop(stream);
        (has(r#""route":"/sync/{app_id}/stream""#) && has(r#""route":"/sync/{app_id}""#))
            .then_some(())
    })
    .await;
}

/// Pushes one change after another, each with one repetition at most.
async fn push(client: &Client, url: &str, over: &CancellationToken, pushed: &RefCell<Pushed>) {
    while !over.is_cancelled() {
        let event = Uuid::now_v7().to_string();
        let change = json!({"table": "tasks", "id": event, "op": "insert", "data": {},
                            "eventId": event});
        let body = json!({"since": "2999-01-01T00:00:00Z", "changes": [change]}).to_string();
        let mut why = attempt(client, url, &body).await.err();
        if why.is_some() {
            pushed.borrow_mut().repeated += 1;
            sleep(Duration::from_millis(500)).await;
            why = attempt(client, url, &body).await.err();
        }
        match why {
            None => drop(pushed.borrow_mut().events.insert(event)),
            Some(why) => pushed.borrow_mut().failed.push(why),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn attempt(client: &Client, url: &str, body: &str) -> Result<(), String> {
    let answer =
        client.try_post(url, body.to_owned()).await.map_err(|error| format!("{error:?}"))?;
    match answer.status().as_u16() {
        200 => Ok(()),
        status => Err(format!("{status}: {}", answer.text().await.unwrap_or_default())),
    }
}

/// Follows by streams, each opened as soon as the one before has ended, until all is there.
async fn follow(
    client: &Client,
    url: &str,
    written: &CancellationToken,
    pushed: &RefCell<Pushed>,
) -> Followed {
    let (mut followed, mut cursor) = (Followed::default(), String::new());
    let has_all = |followed: &Followed| {
        written.is_cancelled() && followed.events.len() >= pushed.borrow().events.len()
    };
    while !has_all(&followed) {
        let path = format!("/sync/todo/stream?since={cursor}");
        let answer = client.get(url, &path).await;
        if answer.status() != 200 {
            followed.refused.push(answer.text().await.unwrap());
            sleep(Duration::from_millis(500)).await;
            continue;
        }
        let mut events = Events::new(answer);
        while !has_all(&followed) {
            let next = tokio::select! {
                next = events.next() => next,
                // All may be there already.
                () = written.cancelled(), if !written.is_cancelled() => continue,
            };
            let Some(event) = next else {
                followed.reconnects += 1;
                break;
            };
            for change in event.data["changes"].as_array().into_iter().flatten() {
                let event = change["eventId"].as_str().unwrap().to_owned();
                *followed.events.entry(event).or_default() += 1;
            }
            events.cursor.clone_into(&mut cursor);
        }
    }
    followed
}
