//! Health and metrics, for those who operate the node.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use crate::metrics as gauges;

/// Deaf for longer than this, and without a database to ask, the node is not ready.
const DEAF: Duration = Duration::from_secs(30);

/// `GET /health`: what the old server answered.
pub(super) async fn health(State(api): State<Arc<Api>>) -> Json<Value> {
    let (connections, users) = api.presence.counts();
    Json(json!({
        "status": "ok",
        "service": "mana-sync",
        "timestamp": jiff::Timestamp::now().to_string(),
        "connections": connections,
        "users": users,
    }))
}

/// `GET /health/live`: the process answers. Never asks the database.
pub(super) async fn live() -> &'static str {
    "live"
}

/// `GET /health/ready`: whether to send clients here.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    let (status, reason) = if api.drain.unready.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        match api.store.is_current().await {
            Ok(true) => (StatusCode::OK, "ready"),
            Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, "migrations are missing"),
            // A short absence of the database is ridden out: pushes are told to retry.
            Err(_) if api.hearing.silence() < DEAF => (StatusCode::OK, "database away"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database is away"),
        }
    };
    (status, Json(json!({ "status": reason }))).into_response()
}

/// `GET /metrics`: Prometheus text.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let (size, idle) = api.store.connections();
    gauges::pool(size, idle);
    gauges::inflight_bytes(
        api.limits.body_bytes.saturating_sub(api.bodies.available_permits() * 1024),
    );
    gauges::heartbeat_age(api.hearing.silence());
    let head = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (head, api.metrics.render()).into_response()
}
