//! Who has paid.

use mana_sync::dev::issuer::Answer;

use super::talk::{answer, one_node, refusal};
use crate::support::{Client, World};

/// What push, pull and stream say to a client.
async fn statuses(client: &Client, node: &str) -> [u16; 3] {
    let sync = format!("/sync/{}", client.app);
    [
        client.post(node, "{}").await.status().as_u16(),
        client.get(node, &format!("{sync}/pull?collection=a&since=")).await.status().as_u16(),
        client.get(node, &format!("{sync}/stream")).await.status().as_u16(),
    ]
}

// P-89: gets 402 `{"error":"sync_inactive","message":"…"}` on push, pull and stream
#[tokio::test]
async fn who_has_not_paid_is_told_so() {
    let (world, node) = one_node().await;
    world.issuer.set_active("alice", false);
    let alice = world.client("alice", "laptop");
    assert_eq!(statuses(&alice, &node.url).await, [402; 3]);
    let (status, code, message) = refusal(alice.post(&node.url, "{}").await).await;
    assert_eq!((status, code.as_str()), (402, "sync_inactive"));
    assert!(!message.is_empty());
    assert_eq!(statuses(&world.client("bob", "b"), &node.url).await, [200; 3]);
}

// P-90: answer holds for 5 minutes, and where it gives none, nobody is refused
#[tokio::test]
async fn billing_fails_open() {
    let (world, node) = one_node().await;
    let faults = [Answer::Status(500), Answer::Status(401), Answer::Status(404), Answer::Rubbish];
    for (n, fault) in faults.into_iter().enumerate() {
        let user = format!("user{n}");
        world.issuer.set_active(&user, false);
        world.issuer.answer_billing(fault);
        assert_eq!(statuses(&world.client(&user, "c"), &node.url).await, [200; 3], "{fault:?}");
    }
}

// P-90: The billing service's answer holds for 5 minutes
#[tokio::test]
async fn billing_is_asked_once() {
    let (world, node) = one_node().await;
    let alice = world.client("alice", "laptop");
    for _ in 0..5 {
        assert_eq!(statuses(&alice, &node.url).await, [200; 3]);
    }
    assert_eq!(world.issuer.billing_lookups("alice"), 1);
    // An answer that is known holds while the service is away, too.
    world.issuer.answer_billing(Answer::Status(503));
    world.issuer.set_active("alice", false);
    assert_eq!(statuses(&alice, &node.url).await, [200; 3]);
}

// P-91: Apps of `BILLING_EXEMPT_APPS` are not billed.
#[tokio::test]
async fn some_apps_are_free() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--billing-exempt-apps=free,gratis"])).await;
    world.issuer.set_active("alice", false);
    let alice = world.client("alice", "laptop");
    assert_eq!(statuses(&alice.app("gratis"), &node.url).await, [200; 3]);
    assert_eq!(world.issuer.billing_lookups("alice"), 0);
    assert_eq!(statuses(&alice.app("freed"), &node.url).await, [402; 3]);
}

// P-92: On nodes without a billing service (`MANA_CREDITS_URL`) nobody is refused.
#[tokio::test]
async fn without_billing_all_may_sync() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.credits_url = None;
    let node = world.start(settings).await;
    world.issuer.set_active("alice", false);
    answer(world.client("alice", "laptop").post(&node.url, "{}").await).await;
    assert_eq!(world.issuer.billing_lookups("alice"), 0);
}
