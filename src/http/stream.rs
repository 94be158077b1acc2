//! `GET /sync/{appId}/stream`: the head of an event stream. A [`Session`] goes on behind it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use super::extract::{Caller, Params};
use super::handoff::HandOff;
use super::openapi::events::Event;
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
pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    Extension(hand_off): Extension<HandOff>,
    method: Method,
    version: Version,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let tables = Tables::parse(params.get("collections").unwrap_or(""))
        .map_err(|why| ApiError::Invalid(why.to_string()))?;
    if api.drain.unready.is_cancelled() {
        return Err(ApiError::Busy("the node is about to leave"));
    }
    let asked = Arc::clone(&caller.asked);
    let present = api.presence.enter(caller.user(), Kind::Stream, asked, &api.limits)?;
    let since = since(&headers, params.get("since"));
    let session = Session::new(api, &caller, tables, since, present);
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

/// A browser that reconnects repeats the old `since` and sends what it has seen last.
fn since(headers: &HeaderMap, parameter: Option<&str>) -> Cursor {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = last.map(Cursor::parse).filter(|cursor| *cursor != Cursor::START);
    last.unwrap_or_else(|| Cursor::parse(parameter.unwrap_or("")))
}
