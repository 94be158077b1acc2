//! Counts and times every request, by route.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;

use crate::metrics;

/// The patterns of the router's paths.
const ROUTES: [&str; 10] = [
    "/sync/{app_id}",
    "/sync/{app_id}/pull",
    "/sync/{app_id}/stream",
    "/ws",
    "/ws/{app_id}",
    "/internal/memberships/{user_id}/invalidate",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
];

fn known(route: &str) -> Option<&'static str> {
    ROUTES.into_iter().find(|known| *known == route)
}

/// Requests by route and status, and how long the answer's head took.
pub(super) async fn measure(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().and_then(|route| known(route.as_str())).unwrap_or("none");
    metrics::http_request(route, method.as_str(), response.status().as_u16(), begun.elapsed());
    response
}
