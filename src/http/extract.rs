//! Who is asking, and for what: the only place that grants permission.

use std::collections::{BTreeSet, HashMap};
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
use crate::protocol::limits::MAX_APPS;

/// The device, in every request of a client.
const CLIENT_HEADER: &str = "x-client-id";

/// A verified user, who has not asked too often.
#[derive(Debug)]
pub(super) struct Known {
    /// The token's `sub`.
    pub(super) user: UserId,
    /// The request, for the log.
    pub(super) asked: Arc<Asked>,
    /// What is left to the user.
    pub(super) share: Arc<Share>,
    /// When the token runs out.
    pub(super) expires: SystemTime,
}

impl Known {
    async fn from(parts: &Parts, api: &Api) -> Result<Self, ApiError> {
        let identity = api.auth.verify(bearer(&parts.headers)).await;
        let identity = identity.map_err(ApiError::Unauthenticated)?;
        let asked = parts.extensions.get::<Arc<Asked>>().cloned().ok_or(ApiError::Internal)?;
        api.access.name(&asked, &identity.user);
        let share = api.quotas.admit(&identity.user).await?;
        Ok(Self { user: identity.user, asked, share, expires: identity.expires })
    }

    /// Whether sync of the app is paid for.
    async fn pays(&self, api: &Api, app: &AppId) -> Result<(), ApiError> {
        let active = api.billing.active(&self.user, app).await;
        active.then_some(()).ok_or(ApiError::Inactive)
    }
}

/// A verified caller, in the app of the path, whose sync is paid for.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) known: Known,
    app: AppId,
    client: Option<ClientId>,
}

impl Caller {
    pub(super) fn reader(&self) -> Reader {
        Reader::grant(self.known.user.clone(), self.app.clone(), self.client.clone())
    }

    /// The header's client id wins over the body's.
    pub(super) fn writer(&self, named: Option<ClientId>) -> Writer {
        let client = self.client.clone().or(named);
        Writer::grant(self.known.user.clone(), self.app.clone(), client)
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let known = Known::from(parts, api).await?;
        let Path(path) = Path::<HashMap<String, String>>::from_request_parts(parts, api)
            .await
            .map_err(|_| not_utf8())?;
        let app = path.get("app_id").ok_or(ApiError::NotFound)?;
        let app = app_id(app)?;
        known.pays(api, &app).await?;
        Ok(Self { known, app, client: client(&parts.headers)? })
    }
}

/// Who opens a stream: a verified caller, and the apps that it is of, each of them paid for.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) known: Known,
    apps: Vec<AppId>,
    client: Option<ClientId>,
    /// Whether the apps were listed, so that events are to name theirs.
    pub(super) named: bool,
}

impl Subscriber {
    /// How many apps.
    pub(super) fn apps(&self) -> usize {
        self.apps.len()
    }

    /// One for each app.
    pub(super) fn readers(&self) -> impl Iterator<Item = Reader> {
        let reader =
            |app: &AppId| Reader::grant(self.known.user.clone(), app.clone(), self.client.clone());
        self.apps.iter().map(reader)
    }
}

impl From<Caller> for Subscriber {
    fn from(Caller { known, app, client }: Caller) -> Self {
        Self { known, apps: vec![app], client, named: false }
    }
}

impl FromRequestParts<Arc<Api>> for Subscriber {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let known = Known::from(parts, api).await?;
        let params = Params::from_request_parts(parts, api).await?;
        let apps = app_list(params.get("apps").unwrap_or(""))?;
        for app in &apps {
            known.pays(api, app).await?;
        }
        Ok(Self { known, apps, client: client(&parts.headers)?, named: true })
    }
}

/// The apps of a comma-separated list, each once.
fn app_list(text: &str) -> Result<Vec<AppId>, ApiError> {
    if text.is_empty() {
        return Err(ApiError::Invalid("the parameter apps is missing".to_owned()));
    }
    let apps: BTreeSet<AppId> = text.split(',').map(app_id).collect::<Result<_, _>>()?;
    if apps.len() > MAX_APPS {
        let why = format!("the parameter apps has more than {MAX_APPS} apps");
        return Err(ApiError::Invalid(why));
    }
    Ok(apps.into_iter().collect())
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
