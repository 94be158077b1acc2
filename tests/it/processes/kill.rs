//! `kill -9` of a replica under load: nothing lost, nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{seed, serve};
use crate::support::{Client, Events, PATIENCE, World, eventually};
use tokio::time::timeout;

const CLIENTS: usize = 6;
const PUSHES: usize = 40;

/// One to three changes, each with an event id that a repetition keeps.
fn changes(random: &mut fastrand::Rng, client: usize, push: usize) -> Vec<Value> {
    let change = |random: &mut fastrand::Rng, n| {
        json!({"table": "tasks", "id": format!("c{client}p{push}n{n}"), "op": "insert",
               "data": {}, "eventId": Uuid::from_u128(random.u128(..)).to_string()})
    };
    (0..random.usize(1..4)).map(|n| change(random, n)).collect()
}

/// Pushes until some node acknowledges, changing to the other one at each failure.
async fn push_somewhere(client: &Client, nodes: &[String], at: &mut usize, changes: &[Value]) {
    let body = json!({"changes": changes}).to_string();
    let trying = async {
        loop {
            let answer = client.try_post(&nodes[*at], body.clone()).await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            *at = (*at + 1) % nodes.len();
        }
    };
    timeout(PATIENCE, trying).await.expect("some node acknowledges");
}

/// Counts event ids on a stream that goes on at the next node when one is gone.
async fn follow(reader: Client, nodes: Vec<String>, total: usize) -> BTreeMap<String, usize> {
    let (mut seen, mut at, mut cursor) = (BTreeMap::new(), 0, String::new());
    let mut stream: Option<Events> = None;
    while seen.len() < total {
        let Some(events) = &mut stream else {
            let path = format!("/sync/todo/stream?since={cursor}");
            let request = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = request.get(format!("{}{path}", nodes[at])).bearer_auth(&reader.token);
            match request.header("X-Client-Id", &reader.client).send().await {
                Ok(response) => stream = Some(Events::new(response)),
                Err(_) => at = (at + 1) % nodes.len(),
            }
            continue;
        };
        match events.next().await {
            Some(event) if event.name == "changes" => {
                events.cursor.clone_into(&mut cursor);
                count(&mut seen, event.data["changes"].as_array().unwrap());
            }
            Some(_) => {}
            None => stream = None,
        }
    }
    seen
}

fn count(seen: &mut BTreeMap<String, usize>, changes: &[Value]) {
    for change in changes {
        *seen.entry(change["eventId"].as_str().unwrap().to_owned()).or_default() += 1;
    }
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_comes_twice_when_a_replica_is_killed() {
    let mut random = fastrand::Rng::with_seed(seed());
    let world = World::new().await;
    let mut doomed = serve(&world, &[]).await;
    let survivor = serve(&world, &[]).await;
    let nodes = vec![doomed.url.clone(), survivor.url.clone()];
    let work: Vec<Vec<Vec<Value>>> = (0..CLIENTS)
        .map(|client| (0..PUSHES).map(|push| changes(&mut random, client, push)).collect())
        .collect();
    let total = work.iter().flatten().flatten().count();
    let reader = |name| world.client("alice", name);
    let moved = tokio::spawn(follow(reader("moved"), nodes.clone(), total));
    let stayed = tokio::spawn(follow(reader("stayed"), vec![survivor.url.clone()], total));

    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for (place, pushes) in work.into_iter().enumerate() {
        let client = world.client("alice", &format!("client-{place}"));
        let (nodes, acknowledged) = (nodes.clone(), Arc::clone(&acknowledged));
        clients.push(tokio::spawn(async move {
            let (mut at, mut mine) = (0, BTreeSet::new());
            for changes in pushes {
                push_somewhere(&client, &nodes, &mut at, &changes).await;
                acknowledged.fetch_add(1, Ordering::Relaxed);
                mine.extend(changes.iter().map(|c| c["eventId"].as_str().unwrap().to_owned()));
            }
            mine
        }));
    }
    let doom = random.usize(CLIENTS * PUSHES / 8..CLIENTS * PUSHES / 2);
    let reached = async || (acknowledged.load(Ordering::Relaxed) >= doom).then_some(());
    eventually("the moment of the kill", reached).await;
    doomed.kill();
    let left = CLIENTS * PUSHES - acknowledged.load(Ordering::Relaxed);
    assert!(left > CLIENTS, "it was killed under load");

    let mut promised = BTreeSet::new();
    for client in clients {
        promised.extend(client.await.unwrap());
    }
    let once: BTreeMap<String, usize> = promised.into_iter().map(|id| (id, 1)).collect();
    assert_eq!(once.len(), total);
    let mut pulled = BTreeMap::new();
    count(&mut pulled, &reader("puller").pull_all(&survivor.url, "tasks", "").await.0);
    assert!(pulled == once, "pull: {} of {total}", pulled.len());
    assert!(stayed.await.unwrap() == once, "the stream that stayed");
    assert!(moved.await.unwrap() == once, "the stream that moved to the survivor");
}
