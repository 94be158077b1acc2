//! Pull.

use serde_json::{Value, json};

use super::talk::{START, cursor, one_node, page, page_ids, refusal};
use crate::support::world::TestNode;
use crate::support::{World, insert};

/// A world in which alice's laptop wrote, in this order, to three tables.
async fn written(order: &[(&str, &str)]) -> (World, TestNode) {
    let (world, node) = one_node().await;
    let changes: Vec<Value> =
        order.iter().map(|(table, id)| json!({"table": table, "id": id, "op": "insert"})).collect();
    world.client("alice", "laptop").push(&node.url, &changes).await;
    (world, node)
}

// P-38: A pull answers as a push does, for one collection.
#[tokio::test]
async fn a_pull_reads_one_collection() {
    let (world, node) =
        written(&[("tasks", "t1"), ("notes", "n1"), ("tasks", "t2"), ("a,b", "c")]).await;
    let phone = world.client("alice", "phone");
    let pulled = page(&phone, &node.url, "collection=tasks&since=").await;
    let pushed = phone.push(&node.url, &[]).await;
    let keys = |page: &Value| page.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&pulled), keys(&pushed));
    assert_eq!(page_ids(&pulled), ["t1", "t2"]);
    assert_eq!(pulled["serverChanges"][0], pushed["serverChanges"][0]);
    // The name of one collection is taken as it is.
    assert_eq!(page_ids(&page(&phone, &node.url, "collection=a%2Cb&since=").await), ["c"]);
    assert_eq!(page_ids(&page(&phone, &node.url, "collection=other&since=").await).len(), 0);
}

// P-39: Without `collection`, or without `since`, the answer is 400.
#[tokio::test]
async fn a_pull_says_what_and_since_when() {
    let (world, node) = one_node().await;
    let client = world.client("alice", "phone");
    let long = format!("collection={}&since=", "x".repeat(256));
    for (query, names) in [
        ("", "collection"),
        ("since=", "collection"),
        ("collection=&since=", "collection"),
        ("collections=&since=", "collection"),
        ("collection=tasks", "since"),
        ("collections=tasks,notes", "since"),
        (long.as_str(), "collection"),
        ("collection=a%00b&since=", "collection"),
    ] {
        let response = client.get(&node.url, &format!("/sync/todo/pull?{query}")).await;
        let (status, code, message) = refusal(response).await;
        assert_eq!((status, code.as_str()), (400, "invalid_request"), "{query}");
        assert!(message.contains(names), "{query}: {message}");
    }
}

// P-40: A page holds at most 1,000 changes.
#[tokio::test]
async fn a_page_is_bounded_in_changes() {
    let (world, node) = one_node().await;
    let changes: Vec<Value> = (0..2_001).map(|n| insert(&n.to_string(), &json!({}))).collect();
    world.client("alice", "laptop").push(&node.url, &changes).await;
    let phone = world.client("alice", "phone");
    let (mut since, mut sizes) = (START.to_owned(), Vec::new());
    loop {
        let page = phone.pull(&node.url, "tasks", &since).await;
        since = cursor(&page);
        sizes.push(page_ids(&page).len());
        if page["hasMore"] != json!(true) {
            break;
        }
    }
    assert_eq!(sizes, [1000, 1000, 1]);
}

// P-42: `collections=a,b,c` reads several collections in one pass.
#[tokio::test]
async fn a_pull_reads_several_collections() {
    let (world, node) =
        written(&[("a", "1"), ("b", "2"), ("x", "no"), ("c", "3"), ("a", "4"), ("ab", "no")]).await;
    let phone = world.client("alice", "phone");
    for list in ["a,b,c", "c,a,b", "a,,b,%20c%20,a", "a,b,c,unknown"] {
        let query = format!("collections={list}&since=");
        assert_eq!(
            page_ids(&page(&phone, &node.url, &query).await),
            ["1", "2", "3", "4"],
            "{list}"
        );
    }
    let both = page(&phone, &node.url, "collections=b,c&collection=a&since=").await;
    assert_eq!(page_ids(&both), ["2", "3"]);
}

// P-43: `limit`, 1 to 1000, makes a page smaller; any other value is refused with 400.
#[tokio::test]
async fn a_page_may_be_smaller() {
    let (world, node) = written(&[("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")]).await;
    let phone = world.client("alice", "phone");
    let (mut since, mut seen) = (String::new(), Vec::new());
    for place in 0..4 {
        let query = format!("collections=a,b&limit=1&since={since}");
        let page = page(&phone, &node.url, &query).await;
        assert_eq!(page.get("hasMore").is_some(), place < 3, "{page}");
        seen.extend(page_ids(&page).into_iter().map(ToOwned::to_owned));
        assert!(cursor(&page) > since);
        since = cursor(&page);
    }
    assert_eq!(seen, ["1", "2", "3", "4"]);
    for good in ["4", "1000", "5"] {
        let page = page(&phone, &node.url, &format!("collections=a,b&limit={good}&since=")).await;
        assert_eq!(page_ids(&page).len(), 4);
        assert!(page.get("hasMore").is_none(), "{page}");
    }
    for bad in ["0", "1001", "-1", "ten", "", "1.5", "99999999999999999999"] {
        let path = format!("/sync/todo/pull?collection=a&since=&limit={bad}");
        let (status, code, message) = refusal(phone.get(&node.url, &path).await).await;
        assert_eq!((status, code.as_str()), (400, "invalid_request"), "{bad}");
        assert!(message.contains("limit"), "{message}");
    }
}
