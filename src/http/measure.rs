//! Counts, times and logs every request, by route.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::Api;
use super::access::{Peer, REQUEST_ID, span};
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

/// Requests by route and status, and how long the answer's head took. The answer names the request.
pub(super) async fn measure(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let peer = request.extensions().get::<Peer>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address);
    let asked = api.access.asked(peer, request.headers());
    request.extensions_mut().insert(Arc::clone(&asked));
    let route = request.extensions().get::<MatchedPath>();
    let route = route.and_then(|route| known(route.as_str())).unwrap_or("none");
    let method = request.method().clone();
    let method = method.as_str();
    let span = span(method, route, request.headers());
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    metrics::http_request(route, method, status, begun.elapsed());
    asked.answered(method, route, status);
    response.headers_mut().insert(REQUEST_ID, asked.id().clone());
    response
}
