//! `/internal`: for the auth service, not for clients.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::error::ApiError;
use super::{Api, extract};
use crate::auth::AuthError;
use crate::id::UserId;

/// `POST /internal/memberships/{userId}/invalidate`: the fleet forgets what it knows of a user,
/// and asks at once.
pub(super) async fn invalidate(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let given = headers.get("x-service-key").map(reqwest::header::HeaderValue::as_bytes);
    let known = api.service_key.as_ref();
    if !known.is_some_and(|key| given.is_some_and(|given| key.matches(given))) {
        return Err(ApiError::Unauthenticated(AuthError::Missing));
    }
    let user = UserId::new(&extract::segment(path)?)
        .map_err(|why| ApiError::Invalid(format!("the user id {why}")))?;
    api.members.invalidate(&user).await?;
    Ok(StatusCode::NO_CONTENT)
}
