//! `GET /sync/{appId}/stream`: the head of an event stream; its body is a [`Session`].

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures::stream;

use super::Api;
use super::error::ApiError;
use super::extract::{Caller, Params};
use super::presence::Kind;
use super::session::Session;
use crate::protocol::{Cursor, Tables};

pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let tables = Tables::parse(params.get("collections").unwrap_or(""))
        .map_err(|why| ApiError::Invalid(why.to_string()))?;
    let reader = caller.reader();
    let present = api.presence.enter(reader.user(), Kind::Stream, &api.limits)?;
    if api.drain.unready.is_cancelled() {
        return Err(ApiError::Busy("the node is about to leave"));
    }
    let since = since(&headers, params.get("since"));
    let session = Session::new(api, reader, tables, since, caller.expires, present);
    let body = stream::unfold(session, async |mut session| {
        let bytes = session.next().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), session))
    });
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((head, Body::from_stream(body)).into_response())
}

/// A browser that reconnects repeats the old `since` and sends what it has seen last.
fn since(headers: &HeaderMap, parameter: Option<&str>) -> Cursor {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = last.map(Cursor::parse).filter(|cursor| *cursor != Cursor::START);
    last.unwrap_or_else(|| Cursor::parse(parameter.unwrap_or("")))
}
