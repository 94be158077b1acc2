//! `GET /sync/{appId}/stream`, and `GET /stream` for several apps: the head of an event stream. A [`Session`] goes on behind it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use super::extract::{Caller, Params, Subscriber};
use super::handoff::HandOff;
use super::openapi::events::{AppsEvent, Event};
use super::openapi::shapes::{AppParam, ClientParam, Refusals};
use super::presence::Kind;
use super::session::Session;
use crate::protocol::{Cursor, Tables};

#[utoipa::path(
    get,
    path = "/sync/{app_id}/stream",
    description = "What is new since the cursor, then what happens: events changes, spaces, heartbeat, expired, reconnect.",
    params(
        AppParam,
        ClientParam,
        ("collections" = Option<String>, Query, description = "The tables to follow, comma-separated, at most 1000; all where it is missing.", example = "tasks,notes", pattern = r"^[^,\x00]{0,255}(,[^,\x00]{0,255})*$"),
        ("since" = Option<String>, Query, description = "The cursor to begin at.", example = "1970-01-01T00:00:00Z"),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event's id; wins over `since`.")
    ),
    responses(
        (status = 200, description = "Events.", body = Event, content_type = "text/event-stream"),
        Refusals
    ),
    security(("token" = []))
)]
pub(super) async fn of_app(
    api: State<Arc<Api>>,
    caller: Caller,
    line: Line,
) -> Result<Response, ApiError> {
    let tables = Tables::parse(line.params.get("collections").unwrap_or(""))
        .map_err(|why| ApiError::Invalid(why.to_string()))?;
    let since = line.since();
    open(api, caller.into(), tables, since, line)
}

#[utoipa::path(
    get,
    path = "/stream",
    description = "The stream of several apps as one, with one cursor: events changes name their app.",
    params(
        ClientParam,
        ("apps" = String, Query, description = "The apps to follow, comma-separated; 32 at most.", example = "todo,calendar", pattern = r"^[^,\x00]{1,255}(,[^,\x00]{1,255}){0,31}$"),
        ("since" = Option<String>, Query, description = "The cursor to begin at, the least that the client has of these apps.", example = "1970-01-01T00:00:00Z"),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event's id; wins over `since`.")
    ),
    responses(
        (status = 200, description = "Events.", body = AppsEvent, content_type = "text/event-stream"),
        Refusals
    ),
    security(("token" = []))
)]
pub(super) async fn of_apps(
    api: State<Arc<Api>>,
    subscriber: Subscriber,
    line: Line,
) -> Result<Response, ApiError> {
    if line.params.get("collections").is_some() {
        let why = "a stream of several apps is of all their tables: collections can't be given";
        return Err(ApiError::Invalid(why.to_owned()));
    }
    // How far the history of a joined space was read is told by a cursor of one app, for that app.
    let since = Cursor::at(line.since().stamp);
    open(api, subscriber, Tables::All, since, line)
}

/// What the request of a stream says beside who asks.
pub(super) struct Line {
    hand_off: HandOff,
    method: Method,
    version: Version,
    headers: HeaderMap,
    params: Params,
}

fn open(
    State(api): State<Arc<Api>>,
    subscriber: Subscriber,
    tables: Tables,
    since: Cursor,
    Line { hand_off, method, version, .. }: Line,
) -> Result<Response, ApiError> {
    if api.drain.unready.is_cancelled() {
        return Err(ApiError::Busy("the node is about to leave"));
    }
    let known = &subscriber.known;
    let asked = Arc::clone(&known.asked);
    let present =
        api.presence.enter(&known.user, (Kind::Stream, subscriber.apps()), asked, &api.limits)?;
    let session = Session::new(api, subscriber, tables, since, present);
    let body = hand_off.body(move |socket| session.run(socket, version));
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut response = (head, body).into_response();
    if method != Method::HEAD {
        // It does close behind a stream, which proxies that keep connections want to know.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

impl<S: Send + Sync> FromRequestParts<S> for Line {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self {
            hand_off: parts.extensions.get().cloned().ok_or(ApiError::Internal)?,
            method: parts.method.clone(),
            version: parts.version,
            headers: parts.headers.clone(),
            params: Params::from_request_parts(parts, state).await?,
        })
    }
}

impl Line {
    /// A browser that reconnects repeats the old `since` and sends what it has seen last.
    fn since(&self) -> Cursor {
        let last = self.headers.get("last-event-id").and_then(|value| value.to_str().ok());
        let last = last.map(Cursor::parse).filter(|cursor| *cursor != Cursor::START);
        last.unwrap_or_else(|| Cursor::parse(self.params.get("since").unwrap_or("")))
    }
}
