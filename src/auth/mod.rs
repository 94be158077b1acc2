//! Who is speaking: verifies bearer tokens with the issuer's published keys.
//!
//! A token is signed once and shown hundreds of times, by every poll of a client, so a token that
//! was verified is remembered until it runs out or the keys change. Invariant: an [`Identity`] is
//! only ever made from a token whose signature, times, audience and issuer were all verified.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use moka::future::Cache;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::id::UserId;
use crate::metrics;

pub(crate) mod fetch;
mod jwks;
#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
mod tests;
mod token;

pub use fetch::FetchError;
use jwks::Keyring;
pub(crate) use jwks::usable_keys;
use token::Rules;

/// A longer token is refused unread.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A longer token is verified every time: with [`REMEMBERED_TOKENS`] this bounds the memory.
const MAX_REMEMBERED_BYTES: usize = 2 * 1024;

/// How many verified tokens are remembered.
const REMEMBERED_TOKENS: u64 = 10_000;

/// How long a verified token is remembered at most.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// What tokens are verified against.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the issuer publishes its keys.
    pub jwks_url: Url,
    /// The audiences this node goes by. Unless empty, a token must name one of them.
    pub audience: Vec<String>,
    /// Where given, a token must name this issuer.
    pub issuer: Option<String>,
}

/// The bearer of a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`.
    pub user: UserId,
    /// The token's `exp`, without leeway. What lives longer than a request ends here.
    pub expires: SystemTime,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There was no token.
    #[error("no token was given")]
    Missing,
    /// Too long, no JWT, or claims and header fields of the wrong shape, `exp` and `kid` among
    /// them.
    #[error("the token is malformed")]
    Malformed,
    /// The header names another algorithm than `EdDSA`, or none.
    #[error("the token is not signed with EdDSA")]
    Algorithm,
    /// The issuer has published no key of this `kid`.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// The key did not sign this token.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYet,
    /// The token is not meant for this node.
    #[error("the token is for another audience")]
    Audience,
    /// Somebody else issued the token.
    #[error("the token is from another issuer")]
    Issuer,
    /// `sub` is absent or can't be a user id.
    #[error("the token names no valid user")]
    Subject,
    /// No key set was ever loaded, so nothing can be verified.
    #[error("tokens can't be verified at the moment")]
    KeysUnavailable,
}

impl AuthError {
    /// The label of the metric.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Subject => "subject",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

/// Verifies tokens. Clones share the keys and what was verified.
#[derive(Clone)]
pub struct Authenticator {
    rules: Arc<Rules>,
    keys: Arc<Keyring>,
    remembered: Cache<Arc<str>, Remembered>,
}

/// A token that was verified, and with which key set: another set ends the remembrance.
#[derive(Clone)]
struct Remembered {
    identity: Identity,
    generation: u64,
}

impl Authenticator {
    /// Verifies against `settings`. `http` must follow no redirects.
    #[must_use]
    pub fn new(settings: Settings, http: reqwest::Client) -> Self {
        Self {
            rules: Arc::new(Rules { audience: settings.audience, issuer: settings.issuer }),
            keys: Arc::new(Keyring::new(settings.jwks_url, http)),
            remembered: Cache::builder()
                .max_capacity(REMEMBERED_TOKENS)
                .time_to_live(REMEMBERED_FOR)
                .build(),
        }
    }

    /// Says whose token this is. Pass an empty text where a request has none, so that it counts.
    ///
    /// # Errors
    /// [`AuthError`] where anything about the token does not hold.
    pub async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let outcome = self.verify_at(token, SystemTime::now(), Instant::now()).await;
        if let Err(error) = &outcome {
            metrics::auth_failure(error.reason());
        }
        outcome
    }

    async fn verify_at(
        &self,
        token: &str,
        now: SystemTime,
        tick: Instant,
    ) -> Result<Identity, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed);
        }
        if let Some(known) = self.remembered.get(token).await
            && self.keys.generation() == Some(known.generation)
            && !token::has_expired(known.identity.expires, now)
        {
            return Ok(known.identity);
        }
        let key = self.keys.find(&token::key_id(token)?, tick).await?;
        let identity = token::verified_claims(token, &key.public)?.check(&self.rules, now)?;
        if token.len() <= MAX_REMEMBERED_BYTES {
            let known = Remembered { identity: identity.clone(), generation: key.generation };
            self.remembered.insert(token.into(), known).await;
        }
        Ok(identity)
    }

    /// Loads the keys, trying until it succeeds, and loads them anew every ten minutes, until
    /// told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keys.keep_fresh()).await;
    }

    /// How long ago the key set was fetched; since the start, where it never was.
    #[must_use]
    pub fn keys_age(&self) -> Duration {
        self.keys.age()
    }

    /// Whether a key set was ever loaded.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.keys.generation().is_some()
    }
}
