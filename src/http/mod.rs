//! The wire: routes, and what each does.
//!
//! Handlers are thin: they take a verified caller, ask the parts, and write the
//! answer as text. Errors become statuses in `error` alone.

mod access;
mod answer;
mod body;
pub mod console;
mod error;
mod extract;
mod handoff;
mod health;
mod internal;
mod linger;
mod measure;
mod openapi;
mod page;
mod presence;
mod quota;
mod room;
mod pull;
mod push;
mod serve;
mod session;
mod stream;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Method, header};
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

pub use access::AccessLog;
pub use presence::Presence;
pub use quota::Quotas;
pub use serve::{Server, ServerSettings};

use crate::auth::Authenticator;
use crate::directory::billing::Billing;
use crate::directory::members::Members;
use crate::directory::services::ServiceKey;
use crate::feed::Feeds;
use crate::listener::Hearing;
use crate::news::News;
use crate::progress::Progress;
use crate::store::Store;
use crate::writer::Writer;
use error::ApiError;

/// Everything the handlers use.
pub struct Api {
    /// Verifies tokens.
    pub auth: Authenticator,
    /// Who pays.
    pub billing: Billing,
    /// Who is a member of what.
    pub members: Members,
    /// Stores pushes.
    pub writer: Writer,
    /// Knows whether there is anything to read.
    pub news: News,
    /// Reads pages.
    pub store: Store,
    /// How far the node has heard.
    pub progress: Progress,
    /// What streams follow.
    pub feeds: Arc<Feeds>,
    /// Who is connected.
    pub presence: Presence,
    /// Says who asked for what.
    pub access: AccessLog,
    /// What each user may ask.
    pub quotas: Quotas,
    /// When the listener heard something last.
    pub hearing: Hearing,
    /// When the node leaves.
    pub drain: Drain,
    /// The secret of `/internal`; without one it is closed.
    pub service_key: Option<ServiceKey>,
    /// Renders `/metrics`.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// Bounds of this layer.
    pub limits: Limits,
    /// WebSockets that may not have said who they are.
    pub strangers: Arc<Semaphore>,
}

/// Bounds of the HTTP layer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all request bodies in flight together; as many of all answers, and of all events.
    pub inflight_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// Streams and `WebSockets` of the node together.
    pub streams: usize,
    /// Those of one user.
    pub user_streams: usize,
    /// Requests of one user a second.
    pub user_requests: usize,
    /// Those of one user.
    pub user_inflight_bytes: usize,
    /// Changes of one user that may be in the writer.
    pub user_changes: usize,
    /// How often a stream sends its heartbeat.
    pub heartbeat: Duration,
}

/// How the node takes its leave.
#[derive(Debug, Clone)]
pub struct Drain {
    /// Cancelled when the node is no longer ready.
    pub unready: tokio_util::sync::CancellationToken,
    /// Cancelled when streams are to end, which are then woken; they don't wait for it.
    pub streams: tokio_util::sync::CancellationToken,
    /// Their ends are spread over this.
    pub spread: Duration,
    /// Counts WebSockets, so that their ends are waited for.
    pub sockets: tokio_util::task::TaskTracker,
}

/// The most WebSockets that have not said who they are.
pub const STRANGERS: usize = 1024;

/// Whom a port serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// Everybody.
    All,
    /// Clients alone: there is another port for those who operate the node.
    Clients,
    /// Those who operate the node.
    Operators,
}

/// The routes of a port. `origins`: pages of these origins may call. `console`: it is served to
/// clients.
pub fn router(api: Arc<Api>, origins: &[HeaderValue], serves: Serves, console: bool) -> Router {
    let mut routes = Router::new()
        .route("/openapi.json", get(openapi::document))
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready));
    if serves != Serves::Operators {
        routes = routes
            .route("/sync/{app_id}", post(push::push))
            .route("/sync/{app_id}/pull", get(pull::pull))
            .route("/sync/{app_id}/stream", get(stream::of_app))
            .route("/stream", get(stream::of_apps))
            .route("/ws", get(websocket::all_apps))
            .route("/ws/{app_id}", get(websocket::one_app));
    }
    if console && serves != Serves::Operators {
        routes = routes.merge(console::of_node());
    }
    if serves != Serves::Clients {
        routes = routes
            .route("/internal/memberships/{user_id}/invalidate", post(internal::invalidate))
            .route("/metrics", get(health::metrics));
    }
    routes
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(axum::middleware::from_fn(linger::linger))
        .layer(CatchPanicLayer::custom(|_| {
            axum::response::IntoResponse::into_response(ApiError::Internal)
        }))
        .layer(cors(origins))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&api), measure::measure))
        .with_state(api)
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::RETRY_AFTER])
        .max_age(Duration::from_hours(1))
}
