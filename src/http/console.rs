//! The console: a page that shows devices side by side, and what they and the nodes say to each
//! other.
//!
//! It is a page of files as they are: no build step, nothing of elsewhere. The JavaScript client
//! in it is that of `clients/js`, file by file. A browser lets it run these scripts alone, and
//! speak to the nodes alone (`Content-Security-Policy`).

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Whom a console speaks to.
#[derive(Debug, Clone)]
pub enum Console {
    /// The node that serves it.
    Node,
    /// A fleet of this machine, whose replicas have these origins. Who serves it also gives tokens
    /// and obeys `/dev`.
    Fleet(Vec<String>),
}

const PAGE: &str = include_str!("../../console/index.html");

/// What the page's root element says of whom it speaks to.
const SPEAKS_TO: &str = "data-speaks-to=\"node\"";

macro_rules! files {
    ($($folder:literal as $path:literal: [$($name:literal)*])*) => {
        &[$($((
            concat!($path, $name),
            include_str!(concat!("../../", $folder, $name)),
        ),)*)*]
    };
}

/// The files beside the page, by their path below `/console/`.
const FILES: &[(&str, &str)] = files! {
    "console/" as "": [
        "console.css" "icon.svg" "main.js" "device.js" "deviceView.js" "dom.js" "fleet.js"
        "fleetView.js" "history.js" "links.js" "listView.js" "orderView.js" "plot.js" "session.js"
        "wire.js" "wireView.js"
    ]
    "clients/js/src/" as "client/": [
        "client.js" "environment.js" "errors.js" "http.js" "index.js" "memory.js" "merge.js"
        "pace.js" "progress.js" "push.js" "read.js" "replica.js" "sse.js" "tabs.js" "time.js"
    ]
};

/// The console of a node.
pub(super) fn of_node<S: Clone + Send + Sync + 'static>() -> Router<S> {
    files().route("/", get(async || Console::Node.page()))
}

/// The files beside the page, for a router of any state.
pub fn files<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/console/{*file}", get(file))
}

async fn file(Path(path): Path<String>) -> Response {
    let Some((name, text)) = FILES.iter().find(|(name, _)| *name == path) else {
        return super::error::ApiError::NotFound.into_response();
    };
    let kind = match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "image/svg+xml",
    };
    // Another version of the program has other files of the same names.
    let head = [(header::CACHE_CONTROL, "no-cache"), (header::CONTENT_TYPE, kind)];
    (head, NOSNIFF, *text).into_response()
}

const NOSNIFF: [(HeaderName, &str); 1] = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

impl Console {
    /// The page.
    #[must_use]
    pub fn page(&self) -> Response {
        let (nodes, page) = match self {
            Self::Node => (String::new(), PAGE.to_owned()),
            Self::Fleet(origins) => {
                (origins.join(" "), PAGE.replace(SPEAKS_TO, "data-speaks-to=\"fleet\""))
            }
        };
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self' {nodes}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'"
        );
        let Ok(policy) = HeaderValue::try_from(policy) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let head = [
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        ];
        (head, NOSNIFF, page).into_response()
    }
}
