//! Health and metrics, for those who operate the node.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Api;
use super::error::ApiError;
use super::openapi::shapes::{Health, Readiness, Refusal};
use super::room::Flow;
use crate::metrics as gauges;

/// Deaf for longer than this, and without a database to ask, the node is not ready.
const DEAF: Duration = Duration::from_secs(30);

/// A database that does not answer in this time is away. Shorter than probes wait.
const LOOK: Duration = Duration::from_secs(1);

/// `GET /health`: what the old server answered.
#[utoipa::path(
    get,
    path = "/health",
    responses((status = 200, description = "How the node is.", body = Health))
)]
pub(super) async fn health(State(api): State<Arc<Api>>) -> Json<Value> {
    let (connections, users) = api.presence.counts();
    Json(json!({
        "status": "ok",
        "service": "mana-sync",
        "timestamp": format!("{:.3}", jiff::Timestamp::now()),
        "connections": connections,
        "users": users,
    }))
}

/// `GET /health/live`: the process answers. Never asks the database.
#[utoipa::path(
    get,
    path = "/health/live",
    responses((status = 200, description = "The process answers.", body = String))
)]
pub(super) async fn live() -> &'static str {
    "live"
}

/// `GET /health/ready`: whether to send clients here.
#[utoipa::path(
    get,
    path = "/health/ready",
    responses(
        (status = 200, description = "Clients may be sent here.", body = Readiness),
        (status = 503, description = "Not at the moment.", body = Refusal)
    )
)]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Json<Value>, ApiError> {
    if api.drain.unready.is_cancelled() {
        return Err(ApiError::NotReady("the node is leaving"));
    }
    if !api.auth.ready() {
        return Err(ApiError::NotReady("the key set could not be loaded yet"));
    }
    match timeout(LOOK, api.store.is_current()).await {
        Ok(Ok(true)) => Ok(Json(json!({ "status": "ready" }))),
        Ok(Ok(false)) => Err(ApiError::NotReady("migrations are missing")),
        // A short absence of the database is ridden out: pushes are told to retry.
        _ if api.hearing.silence() < DEAF => {
            Ok(Json(json!({ "status": "ready, though the database is away" })))
        }
        _ => Err(ApiError::NotReady("the database is away")),
    }
}

/// `GET /metrics`: Prometheus text.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "Prometheus text.", body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let (size, idle) = api.store.connections();
    gauges::pool(size, idle);
    gauges::writer_queue(api.writer.waiting());
    for (lanes, busy, all) in api.writer.lanes().into_iter().chain([api.news.lanes()]) {
        gauges::lanes(lanes, busy, all);
    }
    for flow in Flow::ALL {
        gauges::inflight_bytes(flow.name(), api.quotas.inflight_bytes(flow));
    }
    gauges::heartbeat_age(api.hearing.silence());
    gauges::jwks_age(api.auth.keys_age());
    gauges::process();
    let head = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (head, gauges::without_false_types(api.metrics.render())).into_response()
}
