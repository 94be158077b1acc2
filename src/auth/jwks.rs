//! The issuer's published keys (JWKS), held and kept fresh.
//!
//! Whoever shows a token with an unknown `kid` makes the set be fetched anew, once for all who
//! wait, and seldom, for anybody can make up a `kid`. Invariant: once a usable set was loaded
//! there always is one; neither a failed fetch nor a set without usable keys replaces it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Brief, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::DecodingKey;
use reqwest::Client;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tracing::{info, warn};
use url::Url;

use super::AuthError;
use super::fetch::{FetchError, fetch};
use crate::metrics;

/// Time from one routine fetch to the next.
const REFRESH_EVERY: Duration = Duration::from_mins(10);

/// After a failed routine fetch: the first pause, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After a fetch for an unknown `kid`, no other `kid` causes one for so long.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);

/// The same after a fetch that was given up because its caller went away. It must not count in
/// full, or whoever hangs up would keep all others from a new key; and not nothing at all.
const ABANDONED_PAUSE: Duration = Duration::from_secs(1);

const MAX_SET_BYTES: usize = 1 << 20;

/// An Ed25519 public key.
pub(crate) type PublicKey = [u8; 32];

/// The keys by their `kid`.
pub(crate) type Keys = HashMap<String, PublicKey>;

/// A key set; each that differs from the one before has another generation.
struct KeySet {
    generation: u64,
    keys: Keys,
}

/// A key that may have signed a token.
pub(super) struct Key {
    pub(super) public: DecodingKey,
    pub(super) generation: u64,
}

/// The current key set, and the only way to fetch another.
pub(super) struct Keyring {
    url: Url,
    http: Client,
    current: ArcSwapOption<KeySet>,
    /// When it was fetched last; at first, when the node began.
    fetched: Brief<Instant>,
    /// Held by whoever fetches: until when no unknown `kid` causes a fetch.
    barred_until: Mutex<Option<Instant>>,
}

/// Why a fetched set was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("no JSON key set")]
    Malformed,
    #[error("no usable Ed25519 key in the set")]
    Unusable,
}

impl Keyring {
    pub(super) fn new(url: Url, http: Client) -> Self {
        let fetched = Brief::new(Instant::now());
        Self { url, http, current: ArcSwapOption::empty(), fetched, barred_until: Mutex::new(None) }
    }

    /// How long ago the set was fetched.
    pub(super) fn age(&self) -> Duration {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The current set's generation; none before the first.
    pub(super) fn generation(&self) -> Option<u64> {
        self.current.load().as_ref().map(|set| set.generation)
    }

    /// The key of this `kid`; where there is none, after fetching the set if that may be done.
    pub(super) async fn find(&self, kid: &str, now: Instant) -> Result<Key, AuthError> {
        if let Ok(key) = self.held(kid) {
            return Ok(key);
        }
        let mut barred_until = self.barred_until.lock().await;
        // Whoever held the lock before may have brought it.
        let key = self.held(kid);
        if key.is_ok() || barred_until.is_some_and(|until| now < until) {
            return key;
        }
        *barred_until = Some(now + ABANDONED_PAUSE);
        self.refresh().await;
        *barred_until = Some(now + UNKNOWN_KEY_PAUSE);
        self.held(kid)
    }

    fn held(&self, kid: &str) -> Result<Key, AuthError> {
        let current = self.current.load();
        let set = current.as_ref().ok_or(AuthError::KeysUnavailable)?;
        let public = set.keys.get(kid).ok_or(AuthError::UnknownKey)?;
        Ok(Key { public: DecodingKey::from_ed_der(public), generation: set.generation })
    }

    /// Fetches the set, again and again; sooner while that fails.
    pub(super) async fn keep_fresh(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.fetch_anyway().await {
                pause = FIRST_PAUSE;
                sleep(REFRESH_EVERY).await;
            } else {
                // Jitter, so that the nodes of a fleet do not come back all at once.
                sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Fetches the set, whatever may be barred; this bars nothing either.
    pub(super) async fn fetch_anyway(&self) -> bool {
        let _fetching = self.barred_until.lock().await;
        self.refresh().await
    }

    /// Fetches the set once; the caller holds the lock. Says whether it was of use.
    async fn refresh(&self) -> bool {
        let before = self.current.load_full();
        match self.fetch_keys().await {
            Ok(keys) => {
                metrics::lookup("jwks", "service");
                *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                if before.as_ref().is_none_or(|set| set.keys != keys) {
                    let generation = before.map_or(0, |set| set.generation + 1);
                    info!(generation, keys = keys.len(), "new key set");
                    self.current.store(Some(Arc::new(KeySet { generation, keys })));
                }
                true
            }
            Err(error) => {
                let kept = before.is_some();
                metrics::lookup("jwks", if kept { "last_known" } else { "none" });
                warn!(%error, kept, "key set not refreshed; a good one before it is kept");
                false
            }
        }
    }

    async fn fetch_keys(&self) -> Result<Keys, Refused> {
        let request = self.http.get(self.url.clone());
        usable_keys(&fetch(request, MAX_SET_BYTES).await?)
    }
}

/// A key of a set, as far as it matters.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
}

/// The Ed25519 verification keys of a set. Other keys are none of our business and are skipped,
/// whatever they look like; of two with one `kid`, the first counts.
pub(crate) fn usable_keys(set: &[u8]) -> Result<Keys, Refused> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }
    let set: Set<'_> = serde_json::from_slice(set).map_err(|_| Refused::Malformed)?;
    let mut keys = Keys::new();
    for raw in set.keys {
        if let Ok(jwk) = serde_json::from_str::<Jwk>(raw.get())
            && let Some(public) = jwk.public_key()
        {
            keys.entry(jwk.kid).or_insert(public);
        }
    }
    if keys.is_empty() { Err(Refused::Unusable) } else { Ok(keys) }
}

impl Jwk {
    fn public_key(&self) -> Option<PublicKey> {
        let fits = self.kty == "OKP"
            && self.crv == "Ed25519"
            && self.alg.as_deref().is_none_or(|alg| alg == "EdDSA" || alg == "Ed25519")
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !fits {
            return None;
        }
        let key = DecodingKey::from_ed_components(&self.x).ok()?;
        key.try_get_as_bytes().ok()?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn usable(keys: &Value) -> Result<Vec<String>, Refused> {
        let keys = usable_keys(json!({ "keys": keys }).to_string().as_bytes())?;
        let mut kids: Vec<_> = keys.into_keys().collect();
        kids.sort();
        Ok(kids)
    }

    #[test]
    fn only_ed25519_verification_keys_are_taken() {
        let good = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": X, "alg": "EdDSA"});
        let with = |name: &str, value: Value| {
            let mut key = good.clone();
            key["kid"] = json!("other");
            key[name] = value;
            key
        };
        let keys = json!([
            with("kty", json!("EC")),
            with("kty", json!(7)),
            with("crv", json!("X25519")),
            with("crv", json!("Ed448")),
            with("x", json!("AAAA")),
            with("x", json!("not base64!")),
            with("alg", json!("HS256")),
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("kid", json!(null)),
            with("kid", json!(5)),
            {"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"},
            null, 5, "text", [],
            good,
        ]);
        assert_eq!(usable(&keys), Ok(vec!["a".to_owned()]));
        let annotated = json!([with("use", json!("sig")), with("key_ops", json!(["verify"]))]);
        assert_eq!(usable(&annotated), Ok(vec!["other".to_owned()]));
    }

    #[test]
    fn a_set_without_usable_keys_is_told_from_no_set() {
        assert_eq!(usable(&json!([])), Err(Refused::Unusable));
        for rubbish in ["", "{}", "[]", "<html>", r#"{"keys":null}"#, r#"{"keys":[}"#] {
            assert_eq!(usable_keys(rubbish.as_bytes()), Err(Refused::Malformed), "{rubbish}");
        }
    }
}
