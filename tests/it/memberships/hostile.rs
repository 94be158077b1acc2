//! User ids and spaces that are anything but names.

use serde_json::json;

use super::shared;
use crate::protocol::talk::{everything, ids};
use crate::support::{World, insert};

/// Ids that mean something to a URL, to SQL, to an array literal, to JSON, or to a header.
fn hostile() -> Vec<String> {
    let mut ids: Vec<String> = [
        "a/b",
        "/",
        "../alice",
        "a/../b",
        "...",
        "./x",
        "%",
        "%2e%2e",
        "a%2Fb",
        "a b",
        " a",
        "a ",
        "a,b",
        ",",
        "{a}",
        "{",
        "}",
        "\"a\"",
        "\"",
        "'",
        "a'b;--",
        "\\",
        "a\\b",
        "\\x00",
        "NULL",
        "null",
        "ü😀",
        "\u{202e}x",
        "\u{7f}",
        "a\nb",
        "\t",
        "a?b#c",
        "a;b=c",
        "*",
        "$1",
        "(a)",
        "+",
        "_personal:alice",
        "undefined",
        "0",
        "Alice",
        "alice",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    ids.extend(["x".repeat(255), "é".repeat(127), "%".repeat(255), "\"".repeat(255)]);
    ids
}

// P-3: The claim `sub` is the user id
// P-80: the user id percent-encoded as one segment of the path
#[tokio::test]
async fn any_user_id_is_just_an_id() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    for (n, user) in hostile().iter().enumerate() {
        let space = format!("space{n}");
        world.issuer.join(user, &space);
        let private = insert(&format!("private{n}"), &json!({}));
        let changes = [shared(&format!("shared{n}"), &space), private];
        let answer = world.client(user, "laptop").push(&first.url, &changes).await;
        assert_eq!(answer["spaces"], json!([space]), "{user:?}");
        assert!(answer.get("unpublished").is_none(), "{user:?}: {answer}");
        assert_eq!(world.issuer.lookups(user), 1, "{user:?}");
    }
    for (n, user) in hostile().iter().enumerate() {
        let expected = [format!("shared{n}"), format!("private{n}")];
        let phone = world.client(user, "phone");
        assert_eq!(ids(&everything(&phone, &second.url).await), expected, "{user:?}");
        let mut stream = phone.stream(&second.url, "", "").await;
        assert_eq!(ids(&stream.changes(2).await), expected, "{user:?}");
        let live = insert("live", &json!({}));
        world.client(user, "laptop").push(&first.url, &[live]).await;
        assert_eq!(ids(&stream.changes(1).await), ["live"], "{user:?}");
    }
}

// P-22: that is a string of 1 to 255 bytes
#[tokio::test]
async fn any_space_id_is_just_an_id() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    let spaces: Vec<String> =
        hostile().into_iter().filter(|space| !space.starts_with("_personal:")).collect();
    for space in &spaces {
        world.issuer.join("alice", space);
        world.issuer.join("bob", space);
    }
    let changes: Vec<_> =
        spaces.iter().enumerate().map(|(n, space)| shared(&n.to_string(), space)).collect();
    let mut stream = world.client("bob", "b").stream(&second.url, "", "").await;
    stream.named("spaces").await;
    let answer = world.client("alice", "a").push(&first.url, &changes).await;
    assert!(answer.get("unpublished").is_none(), "{answer}");
    let seen = stream.changes(changes.len()).await;
    let named: Vec<_> = seen.iter().map(|change| change["spaceId"].as_str().unwrap()).collect();
    assert_eq!(named, spaces);
    let read = everything(&world.client("bob", "c"), &first.url).await;
    assert_eq!(read, seen);
    // One member of one of them sees that one.
    for (n, space) in spaces.iter().enumerate().step_by(5) {
        let user = format!("member{n}");
        world.issuer.join(&user, space);
        let read = everything(&world.client(&user, "c"), &second.url).await;
        assert_eq!(ids(&read), [n.to_string()], "{space:?}");
    }
}

// P-80: nobody is asked, and they count as unverified
#[tokio::test]
async fn whom_no_path_can_name_nobody_is_asked_about() {
    let world = World::new().await;
    let node = world.node().await;
    for user in [".", ".."] {
        world.issuer.join(user, "home");
        world.issuer.join("memberships", "home");
        let answer = world.client(user, "a").push(&node.url, &[shared(user, "home")]).await;
        assert_eq!(answer.get("spaces"), None, "{user}");
        assert_eq!(answer["unpublished"][0]["id"], user);
        assert_eq!(ids(&everything(&world.client(user, "b"), &node.url).await), [user]);
        assert_eq!(world.issuer.lookups(user), 0);
    }
}
