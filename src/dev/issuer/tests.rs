//! Over its router, as a node would ask.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use tower::ServiceExt;

use super::*;

const SERVICE_KEY: &str = "secret";
const DAY: Duration = Duration::from_hours(24);

async fn ask(issuer: &Issuer, method: &str, path: &str, key: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).header("x-service-key", key);
    let request = request.body(Body::empty()).unwrap();
    let response = issuer.router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

async fn get(issuer: &Issuer, path: &str) -> (StatusCode, String) {
    ask(issuer, "GET", path, SERVICE_KEY).await
}

async fn get_json(issuer: &Issuer, path: &str) -> Value {
    let (status, body) = get(issuer, path).await;
    assert_eq!(status, StatusCode::OK);
    serde_json::from_str(&body).unwrap()
}

/// The claims of a token, if it is valid by the published keys.
async fn verified(issuer: &Issuer, token: &str) -> Option<Value> {
    let keys = get_json(issuer, "/.well-known/jwks.json").await;
    let keys: JwkSet = serde_json::from_value(keys).unwrap();
    let key = keys.find(&decode_header(token).ok()?.kid?)?;
    let key = DecodingKey::from_jwk(key).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["sync"]);
    decode::<Value>(token, &key, &validation).ok().map(|token| token.claims)
}

#[tokio::test]
async fn a_token_is_valid_by_the_published_key() {
    let issuer = Issuer::new(SERVICE_KEY).unwrap();
    issuer.set_audience(Some("sync"));
    issuer.set_name(Some("here"));
    let (status, token) = get(&issuer, "/token?user=alice%2Fb&ttl=60").await;
    assert_eq!(status, StatusCode::OK);
    let claims = verified(&issuer, &token).await.unwrap();
    assert_eq!(claims["sub"], "alice/b");
    assert_eq!(claims["iss"], "here");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);

    let keys = get_json(&issuer, "/.well-known/jwks.json").await;
    let key = &keys["keys"][0];
    assert_eq!(key["kty"], "OKP");
    assert_eq!(key["crv"], "Ed25519");
    assert_eq!(key["alg"], "EdDSA");
    assert_eq!(key["kid"], issuer.kid());
    assert_eq!(issuer.jwks_requests(), 2);
}

#[tokio::test]
async fn a_rotated_key_is_gone() {
    let issuer = Issuer::new(SERVICE_KEY).unwrap();
    let old = issuer.token("alice", DAY);
    issuer.rotate_key().unwrap();
    assert!(verified(&issuer, &old).await.is_none());
    assert!(verified(&issuer, &issuer.token("alice", DAY)).await.is_some());
}

#[tokio::test]
async fn hostile_tokens_can_be_made() {
    let issuer = Issuer::new(SERVICE_KEY).unwrap();
    let claims = issuer.claims("alice", DAY);
    let honest = json!({ "alg": "EdDSA", "kid": issuer.kid() });
    assert!(verified(&issuer, &issuer.sign_with_header(&honest, &claims)).await.is_some());
    for header in [
        json!({ "alg": "none", "kid": issuer.kid() }),
        json!({ "alg": "HS256", "kid": issuer.kid() }),
        json!({ "alg": "EdDSA", "kid": "another" }),
        json!({ "alg": "EdDSA" }),
    ] {
        let token = issuer.sign_with_header(&header, &claims);
        assert!(verified(&issuer, &token).await.is_none(), "{header}");
    }
    let impostor = Issuer::new(SERVICE_KEY).unwrap().sign_with_header(&honest, &claims);
    assert!(verified(&issuer, &impostor).await.is_none());
}

#[tokio::test]
async fn memberships_of_users_with_any_id() {
    let issuer = Issuer::new(SERVICE_KEY).unwrap();
    let path = "/api/v1/internal/users/..%2F%C3%BCser%20%2E%3F/memberships";
    let user = "../üser .?";
    issuer.join(user, "org-1");
    ask(&issuer, "POST", "/spaces/org%2F2/members/..%2F%C3%BCser%20%2E%3F", "").await;
    let expected = json!({ "userId": user, "memberships": [
        { "organizationId": "org-1", "role": "member" },
        { "organizationId": "org/2", "role": "member" },
    ] });
    assert_eq!(get_json(&issuer, path).await, expected);

    issuer.leave(user, "org-1");
    ask(&issuer, "DELETE", "/spaces/org%2F2/members/..%2F%C3%BCser%20%2E%3F", "").await;
    assert_eq!(get_json(&issuer, path).await, json!({ "userId": user, "memberships": [] }));
    assert_eq!(ask(&issuer, "GET", path, "wrong").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(issuer.lookups(user), 3);
    assert_eq!(issuer.lookups("someone else"), 0);
}

#[tokio::test]
async fn billing_by_user() {
    let issuer = Issuer::new(SERVICE_KEY).unwrap();
    let path = "/api/v1/internal/sync/status/alice";
    assert_eq!(get_json(&issuer, path).await["active"], true);
    issuer.set_active("alice", false);
    assert_eq!(get_json(&issuer, path).await["active"], false);
    issuer.set_active("alice", true);
    assert_eq!(get_json(&issuer, path).await["active"], true);
    assert_eq!(ask(&issuer, "GET", path, "wrong").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(issuer.billing_lookups("alice"), 4);
}

#[tokio::test]
async fn services_fail_as_told() {
    let issuer = Issuer::new(SERVICE_KEY).unwrap();
    let path = "/api/v1/internal/users/alice/memberships";
    issuer.answer_memberships(Answer::Status(502));
    assert_eq!(get(&issuer, path).await, (StatusCode::BAD_GATEWAY, String::new()));
    issuer.answer_memberships(Answer::Rubbish);
    let (status, body) = get(&issuer, path).await;
    assert_eq!(status, StatusCode::OK);
    assert!(serde_json::from_str::<Value>(&body).is_err());
    issuer.answer_billing(Answer::Status(500));
    issuer.answer_jwks(Answer::Status(503));
    let (status, _) = get(&issuer, "/api/v1/internal/sync/status/alice").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let (status, _) = get(&issuer, "/.well-known/jwks.json").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_slow_answer_tells_what_was_true_when_it_was_asked_for() {
    let issuer = Issuer::new(SERVICE_KEY).unwrap();
    issuer.answer_memberships(Answer::Slow(Duration::from_millis(20)));
    let changed_meanwhile = async {
        while issuer.lookups("alice") == 0 {
            tokio::task::yield_now().await;
        }
        issuer.join("alice", "org-1");
    };
    let asked = get_json(&issuer, "/api/v1/internal/users/alice/memberships");
    let (answer, ()) = tokio::join!(asked, changed_meanwhile);
    assert_eq!(answer["memberships"], json!([]));
}
