//! What the model has found, each as a play of a few steps.

use serde_json::{Value, json};

use crate::support::world::{SERVICE_KEY, TestNode};
use crate::support::{World, insert};

async fn invalidate(node: &TestNode, user: &str) {
    let url = format!("{}/internal/memberships/{user}/invalidate", node.url);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = http.post(url).header("x-service-key", SERVICE_KEY).send().await.unwrap();
    assert!(response.status().is_success());
}

fn records(page: &Value) -> Vec<&str> {
    let changes = page["serverChanges"].as_array().unwrap();
    changes.iter().map(|change| change["id"].as_str().unwrap()).collect()
}

/// The change stands in the history of the space where it was published, and not where it was
/// written: a device that has come between the two must not lose it with the membership.
#[tokio::test]
async fn what_was_published_late_is_not_lost_with_the_membership_half_way_through_the_history() {
    let world = World::new().await;
    let node = world.node().await;
    let (laptop, phone) = (world.client("alice", "laptop"), world.client("alice", "phone"));
    let mut early = insert("early", &json!({}));
    early["spaceId"] = json!("home");
    let answer = laptop.push(&node.url, &[early, insert("own", &json!({}))]).await;
    assert_eq!(answer["unpublished"][0]["id"], "early");
    world.issuer.join("alice", "home");
    // Published by the first joining, and in the history of the second.
    invalidate(&node, "alice").await;
    invalidate(&node, "alice").await;

    let first = "/sync/todo/pull?collection=tasks&limit=1&since=";
    let page: Value = phone.get(&node.url, first).await.json().await.unwrap();
    assert_eq!(page["hasMore"], true, "{page}");
    world.issuer.leave("alice", "home");
    invalidate(&node, "alice").await;
    let (rest, _) = phone.pull_all(&node.url, "tasks", page["syncedUntil"].as_str().unwrap()).await;
    let rest = json!({ "serverChanges": rest });
    let mut seen = [records(&page), records(&rest)].concat();
    seen.sort_unstable();
    assert_eq!(seen, ["early", "own"]);
}

/// A device without a name is no other's twin: neither a page nor a stream keeps anything from it.
#[tokio::test]
async fn a_nameless_device_reads_what_a_nameless_device_wrote() {
    let world = World::new().await;
    let node = world.node().await;
    let (writes, reads) = (world.client("alice", ""), world.client("alice", ""));
    let mut live = reads.stream(&node.url, "tasks", "").await;
    writes.push(&node.url, &[insert("t1", &json!({}))]).await;
    assert_eq!(records(&reads.pull(&node.url, "tasks", "").await), ["t1"]);
    let mut backlog = reads.stream(&node.url, "tasks", "").await;
    backlog.record("t1").await;
    live.record("t1").await;
}
