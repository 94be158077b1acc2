mod signer;

use std::pin::pin;
use std::time::UNIX_EPOCH;

use futures::future::{Either, join, join_all, select};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::time::timeout;

use self::signer::{Signer, claims, part, seconds_from_now, set, with};
use super::stub::{Answer, Stub, client};
use super::*;

/// An issuer that publishes these keys, and who trusts it.
async fn issuer(signers: &[&Signer]) -> (Stub, Authenticator) {
    let stub = Stub::start(Answer::Body("200 OK", set(signers).to_string())).await;
    let authenticator = authenticator(&stub, &[], None);
    (stub, authenticator)
}

fn authenticator(stub: &Stub, audience: &[&str], issuer: Option<&str>) -> Authenticator {
    let settings = Settings {
        jwks_url: stub.url("/jwks"),
        audience: audience.iter().map(ToString::to_string).collect(),
        issuer: issuer.map(str::to_owned),
    };
    Authenticator::new(settings, client())
}

async fn refusal(authenticator: &Authenticator, token: &str) -> AuthError {
    authenticator.verify(token).await.expect_err("refused")
}

#[tokio::test]
async fn a_good_token_names_its_user_and_its_end() {
    let ada = Signer::new("a", 1);
    let (_stub, authenticator) = issuer(&[&ada]).await;
    let exp = seconds_from_now(3_600);
    let identity = authenticator.verify(&ada.sign(&ada.header(), &with("exp", exp))).await;
    let identity = identity.expect("verified");
    assert_eq!(identity.user.as_str(), "ada");
    let exp = Duration::from_secs(exp.try_into().expect("after 1970"));
    assert_eq!(identity.expires, UNIX_EPOCH + exp);
}

#[tokio::test]
async fn only_a_signed_eddsa_token_of_a_known_key_is_read() {
    let ada = Signer::new("a", 1);
    let (stub, authenticator) = issuer(&[&ada]).await;
    let good = ada.token();
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let body = part(&claims());

    assert_eq!(refusal(&authenticator, "").await, AuthError::Missing);
    for text in ["x", "a.b.c", "....", message, "\u{fc}.\u{fc}.\u{fc}", &format!("{good}.x")] {
        assert_eq!(refusal(&authenticator, text).await, AuthError::Malformed, "{text}");
    }
    let long = ada.sign(&ada.header(), &with("long", "x".repeat(MAX_TOKEN_BYTES)));
    assert_eq!(refusal(&authenticator, &long).await, AuthError::Malformed);

    for alg in ["none", "None", "RS256", "PS256", "ES256", "HS256", "Ed25519", ""] {
        for (kid, signature) in [("a", ""), ("a", signature), ("unknown", signature)] {
            let header = part(&json!({"alg": alg, "kid": kid}));
            let token = format!("{header}.{body}.{signature}");
            assert_eq!(refusal(&authenticator, &token).await, AuthError::Algorithm, "{alg}");
        }
    }
    let header = part(&json!({"kid": "a"}));
    let token = format!("{header}.{body}.{signature}");
    assert_eq!(refusal(&authenticator, &token).await, AuthError::Algorithm);
    assert!(stub.heads().is_empty(), "what is refused anyway causes no fetch");

    // The public key as an HMAC secret, in both of its forms.
    let raw = DecodingKey::from_ed_components(&ada.x).expect("a key");
    for secret in [ada.x.as_bytes(), raw.try_get_as_bytes().expect("bytes")] {
        let header = Header { kid: Some("a".into()), ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims(), &EncodingKey::from_secret(secret)).expect("signed");
        assert_eq!(refusal(&authenticator, &token).await, AuthError::Algorithm);
    }

    let nameless = ada.sign(&Header::new(Algorithm::EdDSA), &claims());
    assert_eq!(refusal(&authenticator, &nameless).await, AuthError::Malformed);
    let critical = Header { crit: Some(vec!["b64".into()]), ..ada.header() };
    let critical = ada.sign(&critical, &claims());
    assert_eq!(refusal(&authenticator, &critical).await, AuthError::Malformed);
    let other = Signer::new("a", 2).token();
    assert_eq!(refusal(&authenticator, &other).await, AuthError::Signature);
    let forged = good.replace(good.split('.').nth(1).expect("claims"), &part(&with("sub", "eve")));
    assert_eq!(refusal(&authenticator, &forged).await, AuthError::Signature);
    let stranger = Signer::new("b", 1).token();
    assert_eq!(refusal(&authenticator, &stranger).await, AuthError::UnknownKey);
    assert!(authenticator.verify(&good).await.is_ok());
}

#[tokio::test]
async fn claims_are_judged() {
    let ada = Signer::new("a", 1);
    let (stub, free) = issuer(&[&ada]).await;
    let strict = authenticator(&stub, &["sync"], Some("auth"));
    for (claims, free_says, strict_says) in [
        (with("exp", seconds_from_now(-60)), Some(AuthError::Expired), AuthError::Expired),
        (with("nbf", seconds_from_now(60)), Some(AuthError::NotYet), AuthError::NotYet),
        (with("exp", Value::Null), Some(AuthError::Malformed), AuthError::Malformed),
        (with("exp", "soon"), Some(AuthError::Malformed), AuthError::Malformed),
        (with("sub", ""), Some(AuthError::Subject), AuthError::Audience),
        (claims(), None, AuthError::Audience),
        (with("aud", "other"), None, AuthError::Audience),
        (with("aud", "sync"), None, AuthError::Issuer),
    ] {
        let token = ada.sign(&ada.header(), &claims);
        assert_eq!(free.verify(&token).await.err(), free_says, "{claims}");
        assert_eq!(refusal(&strict, &token).await, strict_says, "{claims}");
    }
    let mut whole = with("aud", json!(["x", "sync"]));
    whole["iss"] = "auth".into();
    assert!(strict.verify(&ada.sign(&ada.header(), &whole)).await.is_ok());
}

#[tokio::test]
async fn key_addresses_in_a_token_are_ignored() {
    let (ada, eve) = (Signer::new("a", 1), Signer::new("a", 2));
    let (_stub, authenticator) = issuer(&[&ada]).await;
    let trap = Stub::start(Answer::Body("200 OK", set(&[&eve]).to_string())).await;
    let elsewhere = Some(trap.url("/jwks").to_string());
    let jwk = serde_json::from_value(eve.jwk()).expect("a key");
    let header = Header { jku: elsewhere.clone(), x5u: elsewhere, jwk: Some(jwk), ..eve.header() };
    let token = eve.sign(&header, &claims());
    assert_eq!(refusal(&authenticator, &token).await, AuthError::Signature);
    assert_eq!(trap.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_hundred_callers_with_new_keys_cause_one_fetch() {
    let (ada, bob) = (Signer::new("a", 1), Signer::new("b", 2));
    let (stub, authenticator) = issuer(&[&ada]).await;
    authenticator.keys.fetch_anyway().await;
    stub.body(&set(&[&ada, &bob]));
    let tokens: Vec<_> = (0..100).map(|n| bob.sign(&bob.header(), &with("n", n))).collect();
    let verified = join_all(tokens.iter().map(|token| authenticator.verify(token))).await;
    assert!(verified.iter().all(Result::is_ok));
    assert_eq!(stub.heads().len(), 2);
}

#[tokio::test]
async fn a_fetch_under_way_is_waited_for() {
    let ada = Signer::new("a", 1);
    let (stub, authenticator) = issuer(&[&ada]).await;
    let token = ada.token();
    let (fetched, verified) =
        join(authenticator.keys.fetch_anyway(), authenticator.verify(&token)).await;
    assert!(fetched && verified.is_ok());
    assert_eq!(stub.heads().len(), 1);
}

#[tokio::test]
async fn unknown_keys_cause_a_fetch_every_thirty_seconds_at_most() {
    let (ada, bob) = (Signer::new("a", 1), Signer::new("b", 2));
    let (stub, authenticator) = issuer(&[&ada]).await;
    let (token, start) = (bob.token(), Instant::now());
    let at = |seconds| {
        authenticator.verify_at(&token, SystemTime::now(), start + Duration::from_secs(seconds))
    };
    assert_eq!(at(0).await, Err(AuthError::UnknownKey));
    stub.body(&set(&[&bob]));
    assert_eq!(at(29).await, Err(AuthError::UnknownKey));
    assert_eq!(stub.heads().len(), 1);
    assert!(at(30).await.is_ok());
    assert_eq!(stub.heads().len(), 2);
}

#[tokio::test]
async fn a_caller_who_hangs_up_bars_the_others_for_a_second() {
    let ada = Signer::new("a", 1);
    let (stub, authenticator) = issuer(&[&ada]).await;
    stub.answer(Answer::Silence);
    let (token, start) = (ada.token(), Instant::now());
    let at = |millis| {
        authenticator.verify_at(&token, SystemTime::now(), start + Duration::from_millis(millis))
    };
    let Either::Right(_) = select(pin!(at(0)), pin!(stub.arrived(1))).await else {
        panic!("nothing was answered");
    };
    stub.body(&set(&[&ada]));
    assert_eq!(at(999).await, Err(AuthError::KeysUnavailable));
    assert!(at(1_000).await.is_ok());
}

#[tokio::test]
async fn the_last_good_set_is_kept() {
    let ada = Signer::new("a", 1);
    let (stub, authenticator) = issuer(&[&ada]).await;
    assert!(!authenticator.ready());
    assert!(authenticator.keys.fetch_anyway().await);
    assert!(authenticator.ready());
    for useless in [
        Answer::Body("500 Oh No", set(&[&Signer::new("a", 2)]).to_string()),
        Answer::Body("200 OK", "<html>".into()),
        Answer::Body("200 OK", json!({"keys": []}).to_string()),
        Answer::Body("200 OK", json!({"keys": [{"kty": "RSA", "kid": "a"}]}).to_string()),
        Answer::Head("302 Found\r\nlocation: /elsewhere"),
        Answer::Endless,
    ] {
        stub.answer(useless);
        assert!(!authenticator.keys.fetch_anyway().await);
        assert!(authenticator.verify(&ada.token()).await.is_ok());
    }
    assert!(stub.heads().iter().all(|head| head.starts_with("GET /jwks ")));
}

#[tokio::test]
async fn a_remembered_token_ends_with_its_time_and_its_key() {
    let (ada, bob) = (Signer::new("a", 1), Signer::new("b", 2));
    let (stub, authenticator) = issuer(&[&ada]).await;
    let token = ada.sign(&ada.header(), &with("exp", seconds_from_now(60)));
    let (now, tick) = (SystemTime::now(), Instant::now());
    assert!(authenticator.verify_at(&token, now, tick).await.is_ok());
    assert!(authenticator.remembered.contains_key(token.as_str()));
    assert!(authenticator.verify_at(&token, now, tick).await.is_ok());
    let late = now + Duration::from_secs(70);
    assert_eq!(authenticator.verify_at(&token, late, tick).await, Err(AuthError::Expired));

    stub.body(&set(&[&bob]));
    assert!(authenticator.keys.fetch_anyway().await);
    assert_eq!(authenticator.verify_at(&token, now, tick).await, Err(AuthError::UnknownKey));
}

#[tokio::test]
async fn without_keys_nothing_is_verified() {
    let ada = Signer::new("a", 1);
    let (stub, authenticator) = issuer(&[&ada]).await;
    stub.answer(Answer::Body("503 Later", String::new()));
    assert_eq!(refusal(&authenticator, &ada.token()).await, AuthError::KeysUnavailable);
    assert!(!authenticator.ready());
}

#[tokio::test]
async fn running_means_trying_until_there_are_keys() {
    let ada = Signer::new("a", 1);
    let (stub, authenticator) = issuer(&[&ada]).await;
    stub.answer(Answer::Body("503 Later", String::new()));
    let stop = CancellationToken::new();
    let watching = async {
        stub.arrived(2).await;
        stub.body(&set(&[&ada]));
        stub.arrived(3).await;
        let ready = async {
            while !authenticator.ready() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), ready).await.expect("keys in time");
        assert!(authenticator.verify(&ada.token()).await.is_ok());
        stop.cancel();
    };
    let running = authenticator.run(stop.clone());
    timeout(Duration::from_secs(30), join(running, watching)).await.expect("ended");
}
