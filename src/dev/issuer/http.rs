//! The issuer's endpoints.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Issuer, NOBODY};

const DEFAULT_TTL: Duration = Duration::from_hours(1);

pub(super) fn router(issuer: Issuer) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(jwks))
        .route("/token", get(token))
        .route("/api/v1/internal/users/{user}/memberships", get(memberships))
        .route("/api/v1/internal/sync/status/{user}", get(billing))
        .route("/spaces/{space}/members/{user}", post(join).delete(leave))
        .with_state(issuer)
}

async fn jwks(State(issuer): State<Issuer>) -> Response {
    let (answer, body) = {
        let mut state = issuer.state();
        (state.jwks.heard(NOBODY), state.key.jwks())
    };
    reply(answer, body).await
}

#[derive(Deserialize)]
struct TokenQuery {
    user: String,
    /// Seconds.
    ttl: Option<u64>,
}

async fn token(State(issuer): State<Issuer>, Query(query): Query<TokenQuery>) -> impl IntoResponse {
    let token = issuer.token(&query.user, query.ttl.map_or(DEFAULT_TTL, Duration::from_secs));
    ([(header::CACHE_CONTROL, "no-store")], token)
}

async fn memberships(
    State(issuer): State<Issuer>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Response {
    let (answer, body) = {
        let mut state = issuer.state();
        let answer = state.memberships.heard(&user);
        let spaces = state.members.get(&user).into_iter().flatten();
        let memberships: Vec<_> =
            spaces.map(|space| json!({ "organizationId": space, "role": "member" })).collect();
        (answer, json!({ "userId": user, "memberships": memberships }))
    };
    if issuer.trusts(&headers) { reply(answer, body).await } else { refuse() }
}

async fn billing(
    State(issuer): State<Issuer>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Response {
    let (answer, body) = {
        let mut state = issuer.state();
        let active = !state.inactive.contains(&user);
        (state.billing.heard(&user), json!({ "active": active, "userId": user }))
    };
    if issuer.trusts(&headers) { reply(answer, body).await } else { refuse() }
}

async fn join(
    State(issuer): State<Issuer>,
    Path((space, user)): Path<(String, String)>,
) -> StatusCode {
    issuer.join(&user, &space);
    StatusCode::NO_CONTENT
}

async fn leave(
    State(issuer): State<Issuer>,
    Path((space, user)): Path<(String, String)>,
) -> StatusCode {
    issuer.leave(&user, &space);
    StatusCode::NO_CONTENT
}

impl Issuer {
    fn trusts(&self, headers: &HeaderMap) -> bool {
        headers.get("x-service-key").is_some_and(|key| key == self.0.service_key.as_str())
    }
}

fn refuse() -> Response {
    (StatusCode::UNAUTHORIZED, Json(json!({ "error": "unauthorized" }))).into_response()
}

async fn reply(answer: Answer, body: Value) -> Response {
    match answer {
        Answer::Normal => Json(body).into_response(),
        Answer::Slow(by) => {
            tokio::time::sleep(by).await;
            Json(body).into_response()
        }
        Answer::Rubbish => "{\"rubbish\":".into_response(),
        Answer::Status(code) => {
            StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
    }
}
