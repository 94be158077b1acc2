//! Which space a change is meant for.

use serde_json::{Value, json};

use super::talk::{everything, one_node, returned};
use crate::support::{change, insert};

/// The space that a change comes back with.
async fn space_of(pushed: &Value) -> Option<String> {
    returned(pushed).await.get("spaceId").map(|space| space.as_str().unwrap().to_owned())
}

/// A change that names spaces in up to three places.
fn naming([top, data, field]: [&Value; 3]) -> Value {
    let mut naming = change("t1", "update");
    naming["spaceId"] = top.clone();
    naming["data"] = json!({ "spaceId": data });
    naming["fields"] = json!({ "spaceId": { "value": field } });
    naming
}

// P-22: the first of `spaceId`, `data.spaceId` and `fields.spaceId.value`
#[tokio::test]
async fn the_first_place_that_names_a_space_wins() {
    let [a, b, c, none, empty, odd] =
        [json!("a"), json!("b"), json!("c"), json!(null), json!(""), json!(7)];
    let (long, longest) = (json!("x".repeat(256)), json!("é".repeat(127)));
    for (places, expected) in [
        ([&a, &b, &c], &a),
        ([&none, &b, &c], &b),
        ([&empty, &b, &c], &b),
        ([&odd, &none, &c], &c),
        ([&long, &odd, &c], &c),
        ([&longest, &b, &c], &longest),
    ] {
        let pushed = naming(places);
        assert_eq!(space_of(&pushed).await.as_deref(), expected.as_str(), "{pushed}");
    }
}

// P-23: The name `_personal:<userId>` means no space.
#[tokio::test]
async fn a_personal_space_is_none() {
    let (world, node) = one_node().await;
    let personal = json!("_personal:alice");
    let mut pushed = insert("t1", &json!({}));
    pushed["spaceId"] = personal.clone();
    let in_data = insert("t2", &json!({ "spaceId": personal }));
    let laptop = world.client("alice", "laptop");
    let answer = laptop.push(&node.url, &[pushed, in_data]).await;
    assert!(answer.get("unpublished").is_none(), "{answer}");
    let read = everything(&world.client("alice", "phone"), &node.url).await;
    assert!(read.iter().all(|change| change.get("spaceId").is_none()), "{read:?}");
    assert_eq!(read[1]["data"]["spaceId"], personal);
}

// P-24: What names no space stays in the data as it came.
#[tokio::test]
async fn what_names_no_space_stays() {
    for odd in [json!(""), json!(7), json!(null), json!({"id": "x"}), json!("x".repeat(256))] {
        let read = returned(&insert("t1", &json!({ "spaceId": odd }))).await;
        assert!(read.get("spaceId").is_none(), "{read}");
        assert_eq!(read["data"]["spaceId"], odd);
    }
    let read = returned(&insert("t1", &json!({"spaceId": "org-9"}))).await;
    assert_eq!((&read["spaceId"], &read["data"]["spaceId"]), (&json!("org-9"), &json!("org-9")));
}
