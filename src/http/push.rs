//! `POST /sync/{appId}`: stores a changeset, and answers with what others changed.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use tracing::{Instrument, debug_span};

use super::error::ApiError;
use super::extract::Caller;
use super::openapi::shapes::{AppParam, ClientParam, Page, PushBody, Refusal, Refusals};
use super::page::{ReadPage, Wanted};
use super::room::Flow;
use super::{Api, answer, body, pull};
use crate::grant::Writer;
use crate::id::SpaceId;
use crate::metrics;
use crate::protocol::{Changeset, NewChange, Tables, Unpublished};
use crate::writer;

#[utoipa::path(
    post,
    path = "/sync/{app_id}",
    description = "Stores the changes of one client, all or none, and answers with what others changed.",
    params(
        AppParam,
        ClientParam
    ),
    request_body = PushBody,
    responses(
        (status = 200, description = "Stored; what is new since the cursor.", body = Page),
        (status = 408, description = "The body did not come in time.", body = Refusal),
        (status = 413, description = "The body or the changeset is too large.", body = Refusal),
        Refusals
    ),
    security(("token" = []))
)]
pub(super) async fn push(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let answer = store_and_read(&api, &caller, &headers, body).await;
    if let Err(error) = &answer {
        metrics::push(match error {
            ApiError::Invalid(_) | ApiError::Changeset(_) | ApiError::TooLarge { .. } => "invalid",
            ApiError::BodyTimeout | ApiError::BodyBroken => "timeout",
            _ => "failed",
        });
    }
    answer
}

async fn store_and_read(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body::Held { bytes, room } = body::read(api, &caller.known.share, headers, body).await?;
    let (held, size): (writer::Room, _) = (Arc::new(room), bytes.len());
    let Changeset { client, since, changes } = Changeset::parse(bytes)?;
    let writer = caller.writer(client);
    let changes: Arc<[NewChange]> = changes.into();
    let (mut unpublished, mut own) = (Vec::new(), None);
    // Before the append, so that a member's change enters its space at once.
    let fresh =
        api.members.refresh(writer.reader().user()).instrument(debug_span!("members")).await;
    if !changes.is_empty() {
        let begun = Instant::now();
        let turn = caller.known.share.turn(changes.len(), size, api.writer.patience()).await?;
        // The writer keeps both until it is done with the push, also when nobody waits any more.
        let held: writer::Room = Arc::new((Arc::clone(&held), turn));
        let stored = api.writer.push(&writer, Arc::clone(&changes), held, begun);
        let stored = stored.instrument(debug_span!("store", changes = changes.len())).await?;
        (unpublished, own) = (stored.unpublished, Some(stored.own));
    }
    let wanted = Wanted::new(&Tables::All, since);
    let page = api.page_with(writer.reader(), &wanted, fresh, own.as_ref());
    let page = match page.instrument(debug_span!("read")).await {
        // What is stored is acknowledged: an old client would send it again under other ids.
        Err(error) if !changes.is_empty() => {
            tracing::warn!(%error, "a push was stored, and the page of its answer not read");
            ReadPage::unread(since, api.progress.at())
        }
        page => page?,
    };
    if !unpublished.is_empty() {
        publish_late(api, &writer, &changes, &page, &mut unpublished).await;
    }
    let unpublished: Vec<_> = unpublished.iter().filter_map(|place| changes.get(*place)).collect();
    let unpublished: Vec<_> = unpublished.into_iter().filter_map(Unpublished::of).collect();
    metrics::push(if changes.is_empty() { "empty" } else { "stored" });
    drop(held);
    let mut out = pull::json(&page, &unpublished);
    let room = answer::room(&caller.known.share, Flow::Answers, out.len()).unwrap_or_else(|_| {
        // Stored all the same: the client reads on when there is room.
        out = pull::json(&ReadPage::unread(since, api.progress.at()), &unpublished);
        None
    });
    Ok(pull::respond(out, room))
}

/// What was left unpublished although the author is a member by now: another node is verifying
/// the membership at this moment. Publishing is seen to here, so that the answer can leave it out.
async fn publish_late(
    api: &Api,
    writer: &Writer,
    changes: &[NewChange],
    page: &ReadPage,
    unpublished: &mut Vec<usize>,
) {
    let space_of = |place: &usize| changes.get(*place).and_then(|change| change.space.as_ref());
    if !unpublished.iter().filter_map(space_of).any(|space| page.may_be_in(space)) {
        return;
    }
    let is_member = |place: &usize, spaces: Option<&[SpaceId]>| {
        space_of(place).zip(spaces).is_some_and(|(space, spaces)| spaces.contains(space))
    };
    let user = writer.reader().user();
    let published = async {
        api.store.publish(user).await?;
        // The membership may have ended before anything was.
        api.store.spaces(user).await
    };
    match published.await {
        Ok(now) => unpublished.retain(|place| !is_member(place, now.as_deref())),
        Err(error) => tracing::warn!(%error, "publishing is left to the sweep"),
    }
}
