//! Bodies: bounded each, in time, and all together.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Api;
use super::error::{ApiError, RETRY_AFTER};
use super::quota::Share;
use crate::metrics;
use crate::protocol::limits::MAX_BODY_BYTES;

/// A body, and its share of what all bodies of the node may take; kept until it is done with.
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Room,
}

/// A share of what all bodies of the node, and all of the user, may take.
#[derive(Debug)]
pub(super) struct Room {
    of_node: OwnedSemaphorePermit,
    of_user: OwnedSemaphorePermit,
}

impl Room {
    fn take(api: &Api, user: &Share, kibibytes: usize) -> Result<Self, ApiError> {
        let count = u32::try_from(kibibytes).unwrap_or(u32::MAX);
        let of_user = Arc::clone(&user.bodies).try_acquire_many_owned(count).map_err(|_| {
            metrics::overflow("user_inflight_bytes");
            ApiError::TooMany { what: "request bodies in flight", after: RETRY_AFTER }
        })?;
        let of_node =
            Arc::clone(&api.quotas.bodies).try_acquire_many_owned(count).map_err(|_| {
                metrics::overflow("inflight_bytes");
                ApiError::Busy("too many request bodies are in flight")
            })?;
        Ok(Self { of_node, of_user })
    }

    fn kibibytes(&self) -> usize {
        self.of_node.num_permits()
    }

    fn merge(&mut self, other: Self) {
        self.of_node.merge(other.of_node);
        self.of_user.merge(other.of_user);
    }
}

/// Reads a body of this user.
pub(super) async fn read(
    api: &Api,
    user: &Share,
    headers: &HeaderMap,
    body: Body,
) -> Result<Held, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY_BYTES) {
        return Err(ApiError::TooLarge { max: MAX_BODY_BYTES });
    }
    let read = timeout(api.limits.body_time, collect(api, user, announced.unwrap_or(0), body));
    read.await.unwrap_or(Err(ApiError::BodyTimeout))
}

async fn collect(
    api: &Api,
    user: &Share,
    announced: usize,
    mut body: Body,
) -> Result<Held, ApiError> {
    let mut room = Room::take(api, user, 1)?;
    let mut bytes = Vec::with_capacity(announced.min(64 * 1024));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::BodyBroken)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY_BYTES {
            return Err(ApiError::TooLarge { max: MAX_BODY_BYTES });
        }
        bytes.extend_from_slice(&data);
        let needed = bytes.len() / 1024 + 1;
        if needed > room.kibibytes() {
            room.merge(Room::take(api, user, needed - room.kibibytes())?);
        }
    }
    Ok(Held { bytes, room })
}
