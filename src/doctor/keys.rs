//! The issuer's keys, its clock, and the other services.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::fmt::rfc2822;
use reqwest::header::{AGE, DATE};
use reqwest::{Client, Response};

use crate::auth::{FetchError, fetch, usable_keys};
use crate::config::Config;
use crate::directory::services::{AuthService, LookupError, ServiceKey};
use crate::id::UserId;
use crate::store::{Finding, apart};

/// More of a key set is not read.
const MAX_BYTES: usize = 1 << 20;

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(config.limits.outgoing_time.min(Duration::from_mins(1)))
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![Finding::wrong(format!("no request can be made: {error}"))],
    };
    let mut found = key_set(&client, config).await;
    found.extend(auth_service(&client, config).await);
    if let Some(url) = &config.services.mana_credits_url {
        found.push(match client.get(url.clone()).send().await {
            Ok(answer) if answer.status().is_server_error() => {
                Finding::wrong(format!("MANA_CREDITS_URL ({url}) answers {}", answer.status()))
            }
            Ok(_) => Finding::well("MANA_CREDITS_URL answers"),
            Err(error) => {
                Finding::wrong(format!("MANA_CREDITS_URL ({url}): {}", FetchError::from(error)))
            }
        });
    }
    found
}

/// Asks the auth service about a user who does not exist.
async fn auth_service(client: &Client, config: &Config) -> Option<Finding> {
    let url = config.services.mana_auth_url.clone()?;
    let key = ServiceKey::new(config.services.mana_service_key.as_ref()?.reveal()).ok()?;
    let nobody = UserId::new(&format!("mana-sync-doctor-{:x}", fastrand::u64(..))).ok()?;
    let asked = AuthService::new(url.clone(), key, client.clone()).memberships(&nobody).await;
    Some(match asked {
        Ok(_) | Err(LookupError::Fetch(FetchError::Status(404))) => {
            Finding::well("MANA_AUTH_URL answers, and takes the key")
        }
        Err(LookupError::Fetch(FetchError::Status(status @ (401 | 403)))) => {
            Finding::wrong(format!(
                "MANA_AUTH_URL ({url}) answers with status {status}: it does not take MANA_SERVICE_KEY"
            ))
        }
        Err(error) => Finding::wrong(format!("MANA_AUTH_URL ({url}): {error}")),
    })
}

async fn key_set(client: &Client, config: &Config) -> Vec<Finding> {
    let url = &config.tokens.jwks_url;
    let wrong = |why: String| vec![Finding::wrong(format!("JWKS_URL ({url}): {why}"))];
    let answer = match client.get(url.clone()).send().await {
        Ok(answer) if answer.status().is_success() => answer,
        Ok(answer) => return wrong(FetchError::Status(answer.status().as_u16()).to_string()),
        Err(error) => return wrong(FetchError::from(error).to_string()),
    };
    let clock = clock(&answer);
    let body = match fetch::read(answer, MAX_BYTES).await {
        Ok(body) => body,
        Err(error) => return wrong(error.to_string()),
    };
    let keys = match usable_keys(&body) {
        Ok(keys) => Finding::well(format!("JWKS_URL gives {} EdDSA keys", keys.len())),
        Err(error) => Finding::wrong(format!(
            "JWKS_URL ({url}) gives {error}: no token can be verified; let the issuer sign with \
             EdDSA and publish the key (kty OKP, crv Ed25519, with a kid)"
        )),
    };
    [keys].into_iter().chain(clock).collect()
}

/// The issuer's clock, where it tells the time. A node judges by its own when a token expires.
fn clock(answer: &Response) -> Option<Finding> {
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    // Where a cache keeps the answer: since when.
    let age = answer.headers().get(AGE).and_then(|age| age.to_str().ok()?.parse::<i64>().ok());
    let there = rfc2822::parse(date).ok()?.timestamp().as_second() + age.unwrap_or(0);
    let here = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    // The header has whole seconds.
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    Some(apart("the issuer's clock", there as f64 + 0.5 - here))
}
