//! Answers that are lost on their way: what was asked for is done, and is not done again.

use std::time::Duration;

use mana_sync::doorbell::Doorbell;
use serde_json::json;
use tokio::time::timeout;

use super::proxy::Mode;
use super::{proxy, through};
use crate::store::sql::{Ear, value};
use crate::support::{PATIENCE, World, eventually, insert};

/// What the one lane's batches moved, for as long as it takes until `count` of them were rung.
async fn rung(ear: &mut Ear, count: usize) -> Vec<String> {
    let mut moves = Vec::new();
    while moves.len() < count {
        if let Doorbell::Ring(ring) = Doorbell::parse(&ear.text().await).unwrap() {
            moves.push(format!("{:?}", ring.moves));
        }
    }
    moves
}

#[tokio::test]
async fn a_push_without_event_ids_is_stored_once_though_the_answer_to_its_commit_is_lost() {
    let world = World::new().await;
    let proxy = proxy(&world).await;
    let mut settings = world.settings_with(&["--writer-lanes=1"]);
    settings.database.url = through(&world, &proxy);
    let node = world.start(settings).await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut stream = phone.stream(&node.url, "tasks", "").await;
    // From here on the lane has its connection, and nothing else of a push asks the database.
    laptop.push(&node.url, &[insert("before", &json!({}))]).await;
    stream.record("before").await;

    let (mut admin, mut ear) = (world.admin().await, Ear::new(&world).await);
    proxy.set(Mode::Mute);
    let pushing = {
        let (laptop, node) = (laptop.clone(), node.url.clone());
        let changes = [insert("once", &json!({"n": 1})), insert("too", &json!({"n": 2}))];
        let body = json!({ "changes": changes }).to_string();
        tokio::spawn(async move { laptop.post(&node, body).await })
    };
    let stored = "select count(*) from sync_changes where record_id in ('once', 'too')";
    eventually("the commit", async || (value::<i64>(&mut admin, stored).await >= 2).then_some(()))
        .await;
    assert!(!pushing.is_finished(), "nobody has told the node of the commit");
    proxy.set(Mode::Pass);

    let answer = timeout(PATIENCE, pushing).await.expect("an answer").unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let attempts = timeout(Duration::from_secs(5), rung(&mut ear, 2)).await;
    let attempts = attempts.expect("it was tried twice");
    assert!(attempts.iter().all(|moves| moves.contains("alice")), "{attempts:?}");
    assert_eq!(value::<i64>(&mut admin, stored).await, 2, "each is stored once");
    let (pulled, _) = phone.pull_all(&node.url, "tasks", "").await;
    assert_eq!(crate::streams::records(&pulled), ["before", "once", "too"]);
    assert_eq!(crate::streams::records(&stream.changes(2).await), ["once", "too"]);
}
