//! A local issuer and directory: the stand-in for the auth and billing services.
//!
//! A real HTTP server ([`Issuer::router`]; the caller serves it) that gives a token to whoever
//! asks, publishes its key, and says which spaces a user is a member of and whether sync is paid
//! for. Tests turn its knobs from the same process: keys rotate, memberships change, answers fail.
//!
//! The ids here are plain text and not this crate's newtypes: the services are strangers to the
//! node, and may say what the node must refuse.
//!
//! Invariant: an answer tells the state at the moment its request came, however late it is sent.

mod http;
mod key;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use jsonwebtoken::get_current_timestamp;
use serde_json::{Value, json};

use self::key::Key;

/// Why there is no issuer, or no new key.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The system gave no random bytes.
    #[error("no random bytes for a key: {0}")]
    Random(#[source] std::io::Error),
    /// The key file could not be read or made.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The key file holds something else.
    #[error("{} holds no Ed25519 key (PKCS#8, DER)", path.display())]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] jsonwebtoken::errors::Error),
}

/// How one of the services answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// As it should.
    #[default]
    Normal,
    /// With this status and no more.
    Status(u16),
    /// With status 200 and something that is no JSON.
    Rubbish,
    /// As it should, but so much later.
    Slow(Duration),
}

/// The issuer. Its clones are the same issuer.
#[derive(Debug, Clone)]
pub struct Issuer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service_key: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    key: Key,
    audience: Option<String>,
    name: Option<String>,
    /// user → spaces
    members: BTreeMap<String, BTreeSet<String>>,
    inactive: BTreeSet<String>,
    jwks: Endpoint,
    memberships: Endpoint,
    billing: Endpoint,
}

/// How a service answers, and what it was asked.
#[derive(Debug, Default)]
struct Endpoint {
    answer: Answer,
    /// The requests so far, by user.
    requests: BTreeMap<String, usize>,
}

impl Endpoint {
    fn heard(&mut self, user: &str) -> Answer {
        *self.requests.entry(user.to_owned()).or_default() += 1;
        self.answer
    }

    fn requests(&self, user: &str) -> usize {
        self.requests.get(user).copied().unwrap_or(0)
    }
}

/// The key set is asked for on nobody's behalf.
const NOBODY: &str = "";

impl Issuer {
    /// An issuer with a fresh key. Requests for memberships and billing must carry `service_key`.
    ///
    /// # Errors
    /// [`IssuerError::Random`] where the system has no randomness.
    pub fn new(service_key: &str) -> Result<Self, IssuerError> {
        Ok(Self::from_key(service_key, Key::generate()?))
    }

    /// An issuer with the key in the file at `path`, which is made where it is missing: so tokens
    /// outlive the process, and others can mint them. It is PKCS#8 in DER, which
    /// `openssl pkey -inform DER` reads.
    ///
    /// # Errors
    /// [`IssuerError`] where the file can't be read or made, or holds something else.
    pub fn with_key_file(service_key: &str, path: &Path) -> Result<Self, IssuerError> {
        Ok(Self::from_key(service_key, Key::load_or_create(path)?))
    }

    fn from_key(service_key: &str, key: Key) -> Self {
        let state = State {
            key,
            audience: None,
            name: None,
            members: BTreeMap::new(),
            inactive: BTreeSet::new(),
            jwks: Endpoint::default(),
            memberships: Endpoint::default(),
            billing: Endpoint::default(),
        };
        Self(Arc::new(Inner { service_key: service_key.to_owned(), state: Mutex::new(state) }))
    }

    /// The routes:
    ///
    /// ```text
    /// GET    /.well-known/jwks.json
    /// GET    /token?user=alice[&ttl=seconds]
    /// GET    /api/v1/internal/users/{user}/memberships     x-service-key
    /// GET    /api/v1/internal/sync/status/{user}           x-service-key
    /// POST   /spaces/{space}/members/{user}
    /// DELETE /spaces/{space}/members/{user}
    /// ```
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tokens and keys.
impl Issuer {
    /// A token of `user`, good for `ttl` from now.
    #[must_use]
    pub fn token(&self, user: &str, ttl: Duration) -> String {
        self.sign(&self.claims(user, ttl))
    }

    /// What [`Self::token`] signs, for tests to spoil.
    #[must_use]
    pub fn claims(&self, user: &str, ttl: Duration) -> Value {
        let now = get_current_timestamp();
        let mut claims = json!({ "sub": user, "iat": now, "exp": now + ttl.as_secs() });
        let state = self.state();
        if let Some(audience) = &state.audience {
            claims["aud"] = json!(audience);
        }
        if let Some(name) = &state.name {
            claims["iss"] = json!(name);
        }
        claims
    }

    /// A token with these claims and an honest header.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let state = self.state();
        state.key.sign(&state.key.header(), claims)
    }

    /// A token with these claims and any header, another `kid` or `alg` say. The signature is
    /// that of this issuer's key, whatever the header says.
    #[must_use]
    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        self.state().key.sign(header, claims)
    }

    /// The name of the key in use.
    #[must_use]
    pub fn kid(&self) -> String {
        self.state().key.kid().to_owned()
    }

    /// What is published of the key in use.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.state().key.jwks()
    }

    /// Takes a new key, with a new name. The old one is published no more; a key file stays as it
    /// is.
    ///
    /// # Errors
    /// [`IssuerError::Random`] where the system has no randomness.
    pub fn rotate_key(&self) -> Result<(), IssuerError> {
        self.state().key = Key::generate()?;
        Ok(())
    }

    /// Puts this `aud` into tokens from now on; `None` puts none.
    pub fn set_audience(&self, audience: Option<&str>) {
        self.state().audience = audience.map(str::to_owned);
    }

    /// Puts this `iss` into tokens from now on; `None` puts none.
    pub fn set_name(&self, name: Option<&str>) {
        self.state().name = name.map(str::to_owned);
    }
}

/// Memberships and billing.
impl Issuer {
    /// Makes `user` a member of `space`.
    pub fn join(&self, user: &str, space: &str) {
        let mut state = self.state();
        state.members.entry(user.to_owned()).or_default().insert(space.to_owned());
    }

    /// Makes `user` no member of `space`.
    pub fn leave(&self, user: &str, space: &str) {
        if let Some(spaces) = self.state().members.get_mut(user) {
            spaces.remove(space);
        }
    }

    /// Says whether sync is paid for, which it is by default.
    pub fn set_active(&self, user: &str, active: bool) {
        let mut state = self.state();
        if active {
            state.inactive.remove(user);
        } else {
            state.inactive.insert(user.to_owned());
        }
    }
}

/// Faults and counts.
impl Issuer {
    /// How the key set is answered from now on.
    pub fn answer_jwks(&self, answer: Answer) {
        self.state().jwks.answer = answer;
    }

    /// How memberships are answered from now on.
    pub fn answer_memberships(&self, answer: Answer) {
        self.state().memberships.answer = answer;
    }

    /// How billing is answered from now on.
    pub fn answer_billing(&self, answer: Answer) {
        self.state().billing.answer = answer;
    }

    /// How many requests for the key set have come.
    #[must_use]
    pub fn jwks_requests(&self) -> usize {
        self.state().jwks.requests(NOBODY)
    }

    /// How many requests for the memberships of `user` have come, refused ones included.
    #[must_use]
    pub fn lookups(&self, user: &str) -> usize {
        self.state().memberships.requests(user)
    }

    /// How many requests for the billing of `user` have come, refused ones included.
    #[must_use]
    pub fn billing_lookups(&self, user: &str) -> usize {
        self.state().billing.requests(user)
    }
}

#[cfg(test)]
mod tests;
