//! A space's history, for whoever joins late.

use serde_json::{Value, json};

use super::{invalidate, shared};
use crate::protocol::talk::{cursor, ids, page, page_ids};
use crate::support::world::{SERVICE_KEY, TestNode};
use crate::support::{Client, Events, World, insert};

/// How many changes bob wrote in the space.
const WRITTEN: usize = 12;

/// Two nodes, and the space `home`, in which bob and alice wrote before alice left it.
struct Scene {
    world: World,
    nodes: [TestNode; 2],
    /// Alice's cursor from before she joined again.
    since: String,
    /// All that is in the space, in order.
    history: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let nodes = [world.node().await, world.node().await];
        let (alice, bob) = (world.client("alice", "laptop"), world.client("bob", "b"));
        for user in ["alice", "bob"] {
            world.issuer.join(user, "home");
        }
        let mut history = Vec::new();
        for n in 0..WRITTEN {
            let (client, name) = if n % 4 == 3 { (&alice, "alice") } else { (&bob, "bob") };
            let id = format!("{name}{n:02}");
            client.push(&nodes[n % 2].url, &[shared(&id, "home")]).await;
            history.push(id);
        }
        alice.push(&nodes[0].url, &[insert("own", &json!({}))]).await;
        world.issuer.leave("alice", "home");
        invalidate(&nodes[0], "alice", SERVICE_KEY).await;
        let page = alice.push(&nodes[0].url, &[]).await;
        let since = cursor(&page);
        assert_eq!(page["spaces"], json!([]));
        Self { world, nodes, since, history }
    }

    async fn join(&self) {
        self.world.issuer.join("alice", "home");
        assert_eq!(invalidate(&self.nodes[1], "alice", SERVICE_KEY).await.status(), 204);
    }

    fn alice(&self) -> Client {
        self.world.client("alice", "laptop")
    }
}

// P-73: whenever the membership began
// P-74: the reader's own changes in it included, whatever the client
#[tokio::test]
async fn a_late_joiner_pulls_the_history_page_by_page() {
    let scene = Scene::new().await;
    scene.join().await;
    let (mut since, mut seen) = (scene.since.clone(), Vec::new());
    for place in 0.. {
        // Page by page through one replica and the other.
        let node = &scene.nodes[place % 2].url;
        let query = format!("collection=tasks&limit=1&since={since}");
        let page = page(&scene.alice(), node, &query).await;
        assert!(cursor(&page) > since, "{since} to {}", cursor(&page));
        seen.extend(page_ids(&page).into_iter().map(ToOwned::to_owned));
        since = cursor(&page);
        if page.get("hasMore").is_none() {
            break;
        }
    }
    assert_eq!(seen, scene.history);
    let rest = scene.alice().pull(&scene.nodes[0].url, "tasks", &since).await;
    assert_eq!(page_ids(&rest).len(), 0);
}

// P-74: A cursor from before the joining reads the space's whole history
#[tokio::test]
async fn a_late_joiner_gets_the_history_with_a_push() {
    let scene = Scene::new().await;
    scene.join().await;
    for node in &scene.nodes {
        for client in ["laptop", "phone"] {
            let alice = scene.world.client("alice", client);
            let answer = alice.push_since(&node.url, &scene.since, &[]).await;
            assert_eq!(page_ids(&answer), scene.history);
            assert_eq!(answer["spaces"], json!(["home"]));
        }
    }
}

// P-74: A cursor from before the joining reads the space's whole history
#[tokio::test]
async fn a_late_joiner_streams_the_history() {
    let scene = Scene::new().await;
    scene.join().await;
    for node in &scene.nodes {
        let mut stream = scene.alice().stream(&node.url, "tasks", &scene.since).await;
        assert_eq!(ids(&stream.changes(WRITTEN).await), scene.history);
    }
}

/// The next `changes` event, as its table, ids and cursor.
async fn next(stream: &mut Events) -> (String, Vec<String>, String) {
    let data = stream.named("changes").await.data;
    let seen = ids(data["changes"].as_array().unwrap());
    (
        data["table"].as_str().unwrap().to_owned(),
        seen.into_iter().map(ToOwned::to_owned).collect(),
        data["syncedUntil"].as_str().unwrap().to_owned(),
    )
}

// P-52: one event without changes for each requested table carries the new cursor
#[tokio::test]
async fn a_running_stream_gets_the_history_and_a_cursor_for_each_table() {
    let scene = Scene::new().await;
    let tables = "tasks,notes,other";
    let mut stream = scene.alice().stream(&scene.nodes[0].url, tables, &scene.since).await;
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": []}));
    scene.join().await;
    let (mut seen, mut last) = (Vec::new(), scene.since.clone());
    while seen.len() < WRITTEN {
        let (table, ids, until) = next(&mut stream).await;
        assert_eq!(table, "tasks");
        assert!(until > last, "{last} to {until}");
        seen.extend(ids);
        last = until;
    }
    assert_eq!(seen, scene.history);
    let mut told = Vec::new();
    for _ in 0..3 {
        let (table, ids, until) = next(&mut stream).await;
        assert_eq!((ids.len(), until.contains('~')), (0, false));
        assert!(until >= last);
        told.push(table);
        // A client that goes on from there reads nothing twice.
        let query = format!("collection=tasks&since={until}");
        assert_eq!(page_ids(&page(&scene.alice(), &scene.nodes[1].url, &query).await).len(), 0);
    }
    told.sort();
    assert_eq!(told, ["notes", "other", "tasks"]);
    let bob = scene.world.client("bob", "b");
    bob.push(&scene.nodes[1].url, &[shared("live", "home")]).await;
    assert_eq!(next(&mut stream).await.1, ["live"]);
}

// P-70: its cursor has a suffix `~…`, which says how far that was read; it has none otherwise
#[tokio::test]
async fn a_cursor_inside_a_history_says_so() {
    let scene = Scene::new().await;
    let plain = page(&scene.alice(), &scene.nodes[0].url, "collection=tasks&limit=1&since=").await;
    assert!(!cursor(&plain).contains('~'), "{plain}");
    scene.join().await;
    let later = ["later1", "later2", "later3"].map(|id| shared(id, "home"));
    scene.world.client("bob", "b").push(&scene.nodes[1].url, &later).await;
    let (mut since, mut seen, mut more) = (scene.since.clone(), 0, true);
    while more {
        let query = format!("collection=tasks&limit=2&since={since}");
        let page = page(&scene.alice(), &scene.nodes[0].url, &query).await;
        seen += page_ids(&page).len();
        since = cursor(&page);
        more = page.get("hasMore").is_some();
        assert_eq!(since.contains('~'), seen <= WRITTEN, "{since} after {seen}");
        // The time stays where it was: what lies between was not read yet.
        let time = since.split('~').next().unwrap();
        assert_eq!(time == scene.since, seen <= WRITTEN, "{since} after {seen}");
    }
    assert_eq!(seen, WRITTEN + later.len());
}

// P-71: A suffix that does not fit the request, or is damaged, is ignored
#[tokio::test]
async fn a_suffix_that_does_not_fit_is_ignored() {
    let scene = Scene::new().await;
    scene.join().await;
    let node = &scene.nodes[0].url;
    let alice = scene.alice();
    let query = format!("collection=tasks&limit=5&since={}", scene.since);
    let first = page(&alice, node, &query).await;
    let (time, suffix) = first["syncedUntil"].as_str().unwrap().split_once('~').unwrap();
    let read = async |query: &str, since: &str| {
        let page = page(&alice, node, &format!("{query}&since={since}")).await;
        page_ids(&page).into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let whole = format!("{time}~{suffix}");
    assert_eq!(read("collection=tasks", &whole).await, scene.history[5..]);
    // Of other tables nothing was read.
    assert_eq!(read("collections=tasks,notes", &whole).await, scene.history);
    let cut = &suffix[..suffix.len() - 1];
    for damaged in ["", "x", "~", "....", cut, &suffix.to_uppercase().replace('0', "g")] {
        let since = format!("{time}~{damaged}");
        assert_eq!(read("collection=tasks", &since).await, scene.history, "{since}");
    }
    let pushed = alice.push_since(node, &whole, &[]).await;
    assert_eq!(page_ids(&pushed), scene.history, "a push reads all tables");
    // A space joined meanwhile has a history of its own.
    let bob = scene.world.client("bob", "b");
    scene.world.issuer.join("bob", "work");
    scene.world.issuer.join("alice", "work");
    for user in ["bob", "alice"] {
        invalidate(&scene.nodes[0], user, SERVICE_KEY).await;
    }
    bob.push(node, &[shared("work", "work")]).await;
    let mut expected: Vec<String> = scene.history.clone();
    expected.push("work".to_owned());
    assert_eq!(read("collection=tasks", &whole).await, expected);
}

// P-73: A member sees every change that entered the space's feed, from its first
#[tokio::test]
async fn a_new_member_sees_the_space_from_its_first_change() {
    let scene = Scene::new().await;
    scene.world.issuer.join("carol", "home");
    let carol = scene.world.client("carol", "c");
    let (changes, _) = carol.pull_all(&scene.nodes[1].url, "tasks", "").await;
    assert_eq!(ids(&changes), scene.history);
    let last: Value = carol.push(&scene.nodes[0].url, &[]).await;
    assert_eq!(page_ids(&last), scene.history);
}
