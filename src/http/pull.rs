//! `GET /sync/{appId}/pull`: a page of what is new.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, debug_span};

use super::Api;
use super::answer;
use super::error::ApiError;
use super::extract::{Caller, Params};
use super::openapi::shapes::{AppParam, ClientParam, Page, Refusals};
use super::page::{ReadPage, Wanted};
use super::room::{Flow, Room};
use crate::id::TableName;
use crate::protocol::limits::PAGE_ROWS;
use crate::protocol::{BadTables, Cursor, PageBody, Tables, Unpublished};
use crate::store::ChangeRow;

#[utoipa::path(
    get,
    path = "/sync/{app_id}/pull",
    description = "A page of what is new in some tables.",
    params(
        AppParam,
        ClientParam,
        ("collections" = String, Query, description = "The tables, comma-separated, at most 1000. Old clients name a single one, as `collection`.", example = "tasks,notes", min_length = 1, pattern = r"^[^,\x00]{0,255}(,[^,\x00]{0,255})*$"),
        ("since" = String, Query, description = "The cursor to read from.", example = "1970-01-01T00:00:00Z"),
        ("limit" = Option<u32>, Query, description = "The most changes.", example = 100, minimum = 1, maximum = 1000)
    ),
    responses((status = 200, description = "What is new since the cursor.", body = Page), Refusals),
    security(("token" = []))
)]
pub(super) async fn pull(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Response, ApiError> {
    let names = params.get("collections").or(params.get("collection")).unwrap_or("");
    if names.is_empty() {
        return Err(ApiError::Invalid("the parameter collection is missing".to_owned()));
    }
    // One name of `collection` may hold a comma; `collections` is a list.
    let tables = match params.get("collections") {
        Some(list) => Tables::parse(list),
        None => TableName::new(names)
            .map(Tables::one)
            .map_err(|reason| BadTables::Name { name: names.to_owned(), reason }),
    };
    let tables = tables.map_err(|why| ApiError::Invalid(why.to_string()))?;
    let since = params.get("since");
    let since = since.ok_or_else(|| ApiError::Invalid("the parameter since is missing".into()))?;
    let max_rows = params.get("limit").map_or(Ok(PAGE_ROWS), limit)?;
    let wanted = Wanted { max_rows, ..Wanted::new(&tables, Cursor::parse(since)) };
    let page = api.page(&caller.reader(), &wanted).instrument(debug_span!("read")).await?;
    let out = json(&page, &[]);
    let room = answer::room(&caller.known.share, Flow::Answers, out.len())?;
    Ok(respond(out, room))
}

fn limit(text: &str) -> Result<usize, ApiError> {
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_ROWS).contains(limit));
    limit.ok_or_else(|| {
        ApiError::Invalid(format!("the parameter limit must be a number from 1 to {PAGE_ROWS}"))
    })
}

/// The answer of pull and push.
pub(super) fn json(page: &ReadPage, unpublished: &[Unpublished<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let until = page.until.to_string();
    let body =
        PageBody { until: &until, has_more: page.more, spaces: page.told_spaces(), unpublished };
    body.write(&mut out, &page.rows, ChangeRow::write);
    out
}

pub(super) fn respond(out: Vec<u8>, room: Option<Room>) -> Response {
    let head = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (head, answer::body(out, room)).into_response()
}
