//! Authentication.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mana_sync::dev::issuer::Issuer;
use serde_json::{Value, json};

use super::talk::{START, http, one_node, refusal};
use crate::support::world::SERVICE_KEY;
use crate::support::{Client, World};

const HOUR: Duration = Duration::from_hours(1);

/// What a node says to this token.
async fn status(node: &str, token: &str) -> u16 {
    let client = Client::new(token.to_owned(), "laptop");
    client
        .get(node, &format!("/sync/todo/pull?collection=tasks&since={START}"))
        .await
        .status()
        .as_u16()
}

/// Claims of alice, with some of them replaced; null takes one away.
fn claims(world: &World, replaced: &Value) -> Value {
    let mut claims = world.issuer.claims("alice", HOUR);
    for (name, value) in replaced.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

// P-1: without a token that holds, the answer is 401 `unauthenticated`, whatever the reason
#[tokio::test]
async fn every_path_of_sync_wants_a_token() {
    let (_world, node) = one_node().await;
    for header in ["", "Bearer", "Bearer ", "Basic YWxpY2U6", "Bearer x.y.z", "alice"] {
        let requests = [
            http().post(format!("{}/sync/todo", node.url)).body("{}"),
            http().get(format!("{}/sync/todo/pull?collection=a&since=", node.url)),
            http().get(format!("{}/sync/todo/stream", node.url)),
            // The token is looked at before anything else.
            http().get(format!("{}/sync/todo/pull", node.url)),
        ];
        for request in requests {
            let response = request.header("Authorization", header).send().await.unwrap();
            let (status, code, _) = refusal(response).await;
            assert_eq!((status, code.as_str()), (401, "unauthenticated"), "{header:?}");
        }
    }
}

// P-2: no other algorithm is taken, neither `none` nor an HMAC
#[tokio::test]
async fn only_a_signature_by_the_named_key_holds() {
    let (world, node) = one_node().await;
    let good = world.issuer.token("alice", HOUR);
    assert_eq!(status(&node.url, &good).await, 200);
    let claims = world.issuer.claims("alice", HOUR);
    let kid = world.issuer.kid();
    let none = json!({"alg": "none", "kid": kid});
    let unsigned = world.issuer.sign_with_header(&none, &claims);
    let (signed, _) = unsigned.rsplit_once('.').unwrap();
    let stripped = format!("{signed}.");
    // The key is public: whoever took it for a secret would believe anybody.
    let public = world.issuer.jwks().to_string();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(kid.clone());
    let public = EncodingKey::from_secret(public.as_bytes());
    let hmac = jsonwebtoken::encode(&header, &claims, &public).unwrap();
    let stranger = Issuer::new(SERVICE_KEY).unwrap();
    let honest = json!({"alg": "EdDSA", "typ": "JWT", "kid": kid});
    let forged = stranger.sign_with_header(&honest, &claims);
    let other = world.issuer.token("bob", HOUR);
    let others = other.split('.').nth(1).unwrap();
    let swapped = good
        .split('.')
        .zip(["", others, ""])
        .map(|(own, other)| if other.is_empty() { own } else { other });
    let swapped = swapped.collect::<Vec<_>>().join(".");
    let nameless = world.issuer.sign_with_header(&json!({"alg": "EdDSA"}), &claims);
    for token in [unsigned, stripped, hmac, forged, swapped, nameless] {
        assert_eq!(status(&node.url, &token).await, 401, "{token}");
    }
    for alg in ["HS256", "RS256", "ES256", "Ed25519x", "eddsa"] {
        let token = world.issuer.sign_with_header(&json!({"alg": alg, "kid": kid}), &claims);
        assert_eq!(status(&node.url, &token).await, 401, "{alg}");
    }
}

// P-3: the user id: 1 to 255 bytes, without U+0000
#[tokio::test]
async fn a_subject_is_a_user_id() {
    let (world, node) = one_node().await;
    let say = |sub: Value| world.issuer.sign(&claims(&world, &json!({ "sub": sub })));
    for sub in ["a".to_owned(), "x".repeat(255), "é".repeat(127)] {
        assert_eq!(status(&node.url, &say(json!(sub))).await, 200, "{sub}");
    }
    let bad = [json!(""), json!("x".repeat(256)), json!("é".repeat(128)), json!("a\0b"), json!(7)];
    for sub in bad.into_iter().chain([Value::Null]) {
        assert_eq!(status(&node.url, &say(sub.clone())).await, 401, "{sub}");
    }
}

// P-4: `exp` is required and lies ahead; `nbf`, where it is given, lies behind
#[tokio::test]
async fn a_token_has_its_time() {
    let (world, node) = one_node().await;
    let now = jiff::Timestamp::now().as_second();
    let say = |replaced: Value| world.issuer.sign(&claims(&world, &replaced));
    for good in [json!({}), json!({"nbf": now - 60}), json!({"exp": now + 60})] {
        assert_eq!(status(&node.url, &say(good.clone())).await, 200, "{good}");
    }
    for bad in [
        json!({ "exp": null }),
        json!({ "exp": now - 60 }),
        json!({ "exp": "tomorrow" }),
        json!({ "nbf": now + 60 }),
        json!({ "nbf": "yesterday" }),
    ] {
        assert_eq!(status(&node.url, &say(bad.clone())).await, 401, "{bad}");
    }
}

// P-1: without a token that holds, the answer is 401 `unauthenticated`, whatever the reason
#[tokio::test]
async fn a_node_with_an_audience_takes_tokens_that_name_it_alone() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--jwt-audience=sync,sync-next"])).await;
    let issuer = &world.issuer;
    let say = |replaced: Value| issuer.sign(&claims(&world, &replaced));
    for bad in [json!({}), json!({"aud": "todo"}), json!({"aud": []}), json!({"aud": "sync,x"})] {
        assert_eq!(status(&node.url, &say(bad.clone())).await, 401, "{bad}");
    }
    for good in ["sync", "sync-next"] {
        issuer.set_audience(Some(good));
        assert_eq!(status(&node.url, &issuer.token("alice", HOUR)).await, 200, "{good}");
    }
    issuer.set_audience(Some("todo"));
    assert_eq!(status(&node.url, &issuer.token("alice", HOUR)).await, 401);
    assert_eq!(status(&node.url, &say(json!({"aud": ["todo", "sync"]}))).await, 200);
}

// P-1: without a token that holds, the answer is 401 `unauthenticated`, whatever the reason
#[tokio::test]
async fn a_node_with_an_issuer_takes_its_tokens_alone() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--jwt-issuer=https://id.mana"])).await;
    let issuer = &world.issuer;
    assert_eq!(status(&node.url, &issuer.token("alice", HOUR)).await, 401, "no issuer");
    for (name, expected) in [("https://id.mana", 200), ("https://id.mana/", 401), ("", 401)] {
        issuer.set_name(Some(name));
        assert_eq!(status(&node.url, &issuer.token("alice", HOUR)).await, expected, "{name}");
    }
    // Who asks for no issuer and no audience takes tokens that name any.
    issuer.set_audience(Some("todo"));
    let easy = world.node().await;
    assert_eq!(status(&easy.url, &issuer.token("alice", HOUR)).await, 200);
}

// P-5: A `kid` that a node does not know makes it fetch the key set once
#[tokio::test]
async fn a_new_key_is_fetched_and_made_up_ones_are_not() {
    let (world, node) = one_node().await;
    assert_eq!(status(&node.url, &world.issuer.token("alice", HOUR)).await, 200);
    let before = world.issuer.jwks_requests();
    let old = world.issuer.token("alice", HOUR);
    world.issuer.rotate_key().unwrap();
    assert_eq!(status(&node.url, &world.issuer.token("alice", HOUR)).await, 200);
    assert_eq!(world.issuer.jwks_requests(), before + 1);
    assert_eq!(status(&node.url, &old).await, 401, "the old key is published no more");
    let claims = world.issuer.claims("alice", HOUR);
    for made_up in 0..20 {
        let header = json!({"alg": "EdDSA", "kid": format!("made-up-{made_up}")});
        let token = world.issuer.sign_with_header(&header, &claims);
        assert_eq!(status(&node.url, &token).await, 401);
    }
    assert_eq!(world.issuer.jwks_requests(), before + 1);
}
