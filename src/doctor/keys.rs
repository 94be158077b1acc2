//! The issuer's keys, its clock, and the other services.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::fmt::rfc2822;
use reqwest::header::DATE;
use reqwest::{Client, Response};

use crate::auth::{fetch, usable_keys};
use crate::config::Config;
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
    let services = [
        ("MANA_AUTH_URL", &config.services.mana_auth_url),
        ("MANA_CREDITS_URL", &config.services.mana_credits_url),
    ];
    for (name, url) in services {
        let Some(url) = url else { continue };
        found.push(match client.get(url.clone()).send().await {
            Ok(_) => Finding::well(format!("{name} answers")),
            Err(error) => {
                Finding::wrong(format!("{name} ({url}) does not answer: {}", cause(&error)))
            }
        });
    }
    found
}

async fn key_set(client: &Client, config: &Config) -> Vec<Finding> {
    let url = &config.tokens.jwks_url;
    let wrong = |why: String| vec![Finding::wrong(format!("JWKS_URL ({url}) {why}"))];
    let answer = match client.get(url.clone()).send().await {
        Ok(answer) if answer.status().is_success() => answer,
        Ok(answer) => return wrong(format!("answers {}", answer.status())),
        Err(error) => return wrong(format!("does not answer: {}", cause(&error))),
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
    let there = rfc2822::parse(date).ok()?.timestamp().as_second();
    let here = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    // The header has whole seconds.
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    Some(apart("the issuer's clock", there as f64 + 0.5 - here))
}

/// What the system says, without what is said around it.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
