//! `/internal`: for the auth service, not for clients.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::error::ApiError;
use super::openapi::shapes::Refusal;
use super::{Api, extract};
use crate::auth::AuthError;
use crate::id::UserId;

/// `POST /internal/memberships/{userId}/invalidate`: the fleet forgets what it knows of a user,
/// and asks at once.
#[utoipa::path(
    post,
    path = "/internal/memberships/{user_id}/invalidate",
    description = "Makes all nodes ask again for a user's memberships; for the auth service.",
    params(("user_id" = String, Path, description = "The user.", min_length = 1, max_length = 255)),
    responses(
        (status = 204, description = "Forgotten."),
        (status = 400, description = "That is no user id.", body = Refusal),
        (status = 401, description = "The key is wrong.", body = Refusal),
        (status = 414, description = "The path and the query are too long. This one has no body."),
        (status = 431, description = "The head of the request is too large. This one has no body."),
        (status = 500, description = "A fault of the node.", body = Refusal),
        (status = 503, description = "The database is away.", body = Refusal)
    ),
    security(("service" = []))
)]
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
