//! Counts, times and logs every request, by route.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::Api;
use super::access::{Asked, Peer, REQUEST_ID, span};
use crate::metrics;

fn known(route: &str) -> Option<&'static str> {
    metrics::ROUTES.iter().find(|known| **known == route).copied()
}

/// What is said of a request whose client did not wait for the answer.
const GIVEN_UP: u16 = 499;

/// Says how a request ended, also where its future is dropped.
struct Ending {
    asked: Arc<Asked>,
    method: &'static str,
    route: &'static str,
    begun: Instant,
    status: u16,
}

impl Drop for Ending {
    fn drop(&mut self) {
        metrics::http_request(self.route, self.method, self.status, self.begun.elapsed());
        self.asked.answered(self.method, self.route, self.status);
    }
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
    let method = metrics::known_method(request.method().as_str());
    let span = span(method, route, request.headers());
    let mut ending = Ending { asked, method, route, begun, status: GIVEN_UP };
    let mut response = next.run(request).instrument(span.clone()).await;
    ending.status = response.status().as_u16();
    span.record("http.response.status_code", ending.status);
    response.headers_mut().insert(REQUEST_ID, ending.asked.id().clone());
    drop(ending);
    response
}
