//! Who is asking, and for what: the only place that grants permission.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::Api;
use super::access::Asked;
use super::error::ApiError;
use super::quota::Share;
use crate::grant::{Reader, Writer};
use crate::id::{AppId, ClientId, UserId};

/// The device, in every request of a client.
const CLIENT_HEADER: &str = "x-client-id";

/// A verified caller, in the app of the path, whose sync is paid for.
#[derive(Debug)]
pub(super) struct Caller {
    user: UserId,
    app: AppId,
    client: Option<ClientId>,
    /// The request, for the log.
    pub(super) asked: Arc<Asked>,
    /// What is left to the user.
    pub(super) share: Arc<Share>,
    /// When the token runs out.
    pub(super) expires: SystemTime,
}

impl Caller {
    pub(super) fn user(&self) -> &UserId {
        &self.user
    }

    pub(super) fn reader(&self) -> Reader {
        Reader::grant(self.user.clone(), self.app.clone(), self.client.clone())
    }

    /// The header's client id wins over the body's.
    pub(super) fn writer(&self, named: Option<ClientId>) -> Writer {
        let client = self.client.clone().or(named);
        Writer::grant(self.user.clone(), self.app.clone(), client)
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let identity = api.auth.verify(bearer(&parts.headers)).await;
        let identity = identity.map_err(ApiError::Unauthenticated)?;
        let asked = parts.extensions.get::<Arc<Asked>>().cloned().ok_or(ApiError::Internal)?;
        api.access.name(&asked, &identity.user);
        let share = api.quotas.admit(&identity.user).await?;
        let Path(path) = Path::<HashMap<String, String>>::from_request_parts(parts, api)
            .await
            .map_err(|_| not_utf8())?;
        let app = path.get("app_id").ok_or(ApiError::NotFound)?;
        let app = app_id(app)?;
        if !api.billing.active(&identity.user, &app).await {
            return Err(ApiError::Inactive);
        }
        let client = client(&parts.headers)?;
        Ok(Self { user: identity.user, app, client, asked, share, expires: identity.expires })
    }
}

/// The one variable segment of a path.
pub(super) fn segment(path: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(segment) = path.map_err(|_| not_utf8())?;
    Ok(segment)
}

fn not_utf8() -> ApiError {
    ApiError::Invalid("the path is not UTF-8".to_owned())
}

pub(super) fn app_id(text: &str) -> Result<AppId, ApiError> {
    AppId::new(text).map_err(|why| ApiError::Invalid(format!("the app id {why}")))
}

/// The token of the `Authorization` header; empty where there is none.
fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = value.and_then(|value| value.split_once(' ')) else { return "" };
    if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" }
}

fn client(headers: &HeaderMap) -> Result<Option<ClientId>, ApiError> {
    let Some(value) = headers.get(CLIENT_HEADER) else { return Ok(None) };
    let invalid = |why: &dyn std::fmt::Display| ApiError::Invalid(format!("X-Client-Id {why}"));
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| invalid(&"is not UTF-8"))?;
    if text.is_empty() {
        return Ok(None);
    }
    ClientId::new(text).map(Some).map_err(|why| invalid(&why))
}

/// The parameters of the query, the last one of a name.
pub(super) struct Params(HashMap<String, String>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Self(pairs.into_iter().collect())),
            Err(_) => Err(ApiError::Invalid("the query is malformed".to_owned())),
        }
    }
}
