//! Every event's cursor is exact: whoever reconnects with it gets the rest, all of it and once.

use serde_json::{Value, json};

use super::records;
use crate::processes::seed;
use crate::support::{Client, Events, World};

/// The record that ends a history.
const END: &str = "end";

fn in_table(table: &str, record: &str) -> Value {
    json!({"table": table, "id": record, "op": "insert", "data": {}})
}

/// Everything up to the record `end`: each event's cursor, and the records it brought.
async fn read_to_end(stream: &mut Events) -> Vec<(String, Vec<String>)> {
    let mut events = Vec::new();
    loop {
        let event = stream.named("changes").await;
        let changes = event.data["changes"].as_array().unwrap();
        assert!(changes.iter().all(|c| c["table"] == event.data["table"]), "one table an event");
        events.push((stream.cursor.clone(), records(changes)));
        if changes.iter().any(|change| change["id"] == END) {
            return events;
        }
    }
}

/// Reconnects at each event, and compares with what the events after it brought.
async fn each_resumes(reader: &Client, node: &str, tables: &str, events: &[(String, Vec<String>)]) {
    for (place, (cursor, _)) in events.iter().enumerate() {
        let rest: Vec<String> = events[place + 1..].iter().flat_map(|(_, r)| r.clone()).collect();
        if rest.is_empty() {
            continue;
        }
        let mut again = reader.stream(node, tables, cursor).await;
        let got = read_to_end(&mut again).await.into_iter().flat_map(|(_, r)| r);
        assert_eq!(got.collect::<Vec<_>>(), rest, "after event {place} of {}", events.len());
    }
}

/// A random walk over three tables, by two members of a space through two replicas.
async fn history(world: &World, nodes: [&str; 2], random: &mut fastrand::Rng) {
    let writers = [world.client("alice", "laptop"), world.client("bob", "tablet")];
    for push in 0..40 {
        let changes: Vec<Value> = (0..random.usize(1..6))
            .map(|n| {
                let table = random.choice(["a", "b", "c"]).unwrap();
                let mut change = in_table(table, &format!("p{push}n{n}"));
                change["spaceId"] = json!("home");
                change
            })
            .collect();
        let writer = &writers[random.usize(0..2)];
        writer.push(nodes[random.usize(0..2)], &changes).await;
    }
    writers[0].push(nodes[0], &[in_table("a", END)]).await;
}

#[tokio::test]
async fn whoever_reconnects_at_any_event_gets_exactly_the_rest() {
    let mut random = fastrand::Rng::with_seed(seed());
    let world = World::new().await;
    world.issuer.join("alice", "home");
    world.issuer.join("bob", "home");
    let (first, second) = (world.node().await, world.node().await);
    let reader = world.client("alice", "reader");
    let mut live = reader.stream(&second.url, "", "").await;
    let mut some = reader.stream(&second.url, "a,c", "").await;
    live.named("spaces").await;
    some.named("spaces").await;
    history(&world, [&first.url, &second.url], &mut random).await;
    let live = read_to_end(&mut live).await;
    each_resumes(&reader, &second.url, "", &live).await;
    let some = read_to_end(&mut some).await;
    each_resumes(&reader, &first.url, "a,c", &some).await;
    let backlog = read_to_end(&mut reader.stream(&first.url, "", "").await).await;
    each_resumes(&reader, &second.url, "", &backlog).await;
    let flat = |events: &[(String, Vec<String>)]| -> Vec<String> {
        events.iter().flat_map(|(_, records)| records.clone()).collect()
    };
    assert_eq!(flat(&live), flat(&backlog), "live and from the database: one order");
}
