//! Lookups at the services that know the users: one request, one answer, nothing kept.
//!
//! Invariant: an answer is only taken for the user who was asked about. A user id is text chosen
//! by somebody else, so it travels as one path segment or not at all.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use url::Url;

use crate::auth::FetchError;
use crate::auth::fetch::fetch;
use crate::id::{SpaceId, UserId};

const MAX_ANSWER_BYTES: usize = 1 << 20;

/// More spaces of one user are refused.
const MAX_SPACES: usize = 10_000;

/// All but the characters that never need an escape.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a lookup gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The service gave no answer of use.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answer is no JSON of the agreed shape.
    #[error("answered with something unreadable")]
    Malformed,
    /// The answer speaks of somebody else.
    #[error("answered for another user")]
    WrongUser,
    /// The user is in more spaces than are served.
    #[error("answered with more than {MAX_SPACES} spaces")]
    TooManySpaces,
    /// The user id is `.` or `..`, which no URL can carry as a path segment, escaped or not.
    #[error("this user id can't be a part of a path")]
    Unaddressable,
}

impl LookupError {
    /// Whether the service itself is away, rather than this answer of no use.
    #[must_use]
    pub fn not_reached(&self) -> bool {
        matches!(self, Self::Fetch(FetchError::TimedOut | FetchError::Unreachable { .. }))
    }
}

/// The secret by which services know us. Never printed.
#[derive(Clone)]
pub struct ServiceKey(HeaderValue);

/// The text can't be sent as a service key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a service key has only visible ASCII characters")]
pub struct BadServiceKey;

impl ServiceKey {
    /// Takes `key` as the secret.
    ///
    /// # Errors
    /// [`BadServiceKey`] where an HTTP header can't carry it, a line end among other things.
    pub fn new(key: &str) -> Result<Self, BadServiceKey> {
        let mut value = HeaderValue::from_str(key).map_err(|_| BadServiceKey)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Whether `given` is the key, found out in a time that does not tell how much of it fits.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        let key = self.0.as_bytes();
        let differing = key.iter().zip(given).fold(0, |bits, (a, b)| bits | (a ^ b));
        key.len() == given.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceKey(…)")
    }
}

/// A service that is asked about users.
#[derive(Clone)]
pub(super) struct Service {
    base: Url,
    key: ServiceKey,
    http: Client,
}

impl Service {
    pub(super) fn new(base: Url, key: ServiceKey, http: Client) -> Self {
        Self { base, key, http }
    }

    /// GETs the path `before`, user, `after`, below the base.
    pub(super) async fn get(
        &self,
        before: &str,
        user: &UserId,
        after: &str,
    ) -> Result<Vec<u8>, LookupError> {
        let url = address(&self.base, before, user, after)?;
        let request = self.http.get(url).header("x-service-key", self.key.0.clone());
        Ok(fetch(request, MAX_ANSWER_BYTES).await?)
    }
}

/// The address of what `before` and `after` say of `user`.
///
/// A URL takes `%2E%2E` for `..` and climbs, as the standard demands, so escaping does not help.
/// Hence the comparison: a path that came out other than it was put in would ask for something
/// else.
fn address(base: &Url, before: &str, user: &UserId, after: &str) -> Result<Url, LookupError> {
    let user = utf8_percent_encode(user.as_str(), ESCAPED);
    let path = format!("{}{before}{user}{after}", base.path().trim_end_matches('/'));
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(&path);
    if url.path() == path { Ok(url) } else { Err(LookupError::Unaddressable) }
}

/// The auth service, which knows who is a member of what.
#[derive(Clone)]
pub struct AuthService(Service);

impl AuthService {
    /// Asks at `base`, which may have a path. `http` must follow no redirects, or it would carry
    /// the key elsewhere.
    #[must_use]
    pub fn new(base: Url, key: ServiceKey, http: Client) -> Self {
        Self(Service::new(base, key, http))
    }

    /// The spaces of `user`, sorted, each once. What can't be a space's id is left out.
    ///
    /// # Errors
    /// [`LookupError`] where the service gives no answer, or one that can't be trusted.
    pub async fn memberships(&self, user: &UserId) -> Result<Vec<SpaceId>, LookupError> {
        let answer = self.0.get("/api/v1/internal/users/", user, "/memberships").await?;
        spaces(&answer, user)
    }
}

impl fmt::Debug for AuthService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthService").field("host", &self.0.base.host_str()).finish_non_exhaustive()
    }
}

/// Reads an answer about `user`.
///
/// Only an id that is well-formed JSON text and yet no space is left out. An entry without an id
/// makes the answer unreadable: were it left out, a service that renames a field would end every
/// membership of every user.
fn spaces(answer: &[u8], user: &UserId) -> Result<Vec<SpaceId>, LookupError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        user_id: Option<String>,
        memberships: Vec<Membership>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Membership {
        organization_id: String,
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| LookupError::Malformed)?;
    if answer.user_id.is_some_and(|named| named != user.as_str()) {
        return Err(LookupError::WrongUser);
    }
    let ids = answer.memberships.iter().map(|membership| &membership.organization_id);
    let mut spaces: Vec<_> = ids.filter_map(|id| SpaceId::new(id).ok()).collect();
    spaces.sort_unstable();
    spaces.dedup();
    if spaces.len() > MAX_SPACES { Err(LookupError::TooManySpaces) } else { Ok(spaces) }
}

#[cfg(test)]
mod tests;
