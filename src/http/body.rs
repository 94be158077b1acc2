//! Request bodies: bounded each, in time, and all together.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::Api;
use super::error::ApiError;
use super::quota::Share;
use super::room::{Flow, Room};
use crate::protocol::limits::MAX_BODY_BYTES;

/// A body, and the room that it takes; held until it is done with.
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Room,
}

/// Reads a body of this user.
pub(super) async fn read(
    api: &Api,
    share: &Share,
    headers: &HeaderMap,
    body: Body,
) -> Result<Held, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY_BYTES) {
        return Err(ApiError::TooLarge { max: MAX_BODY_BYTES });
    }
    let read = timeout(api.limits.body_time, collect(share, announced.unwrap_or(0), body));
    read.await.unwrap_or(Err(ApiError::BodyTimeout))
}

async fn collect(share: &Share, announced: usize, mut body: Body) -> Result<Held, ApiError> {
    let mut room = share.room(Flow::Bodies, 1)?;
    let mut bytes = Vec::with_capacity(announced.min(64 * 1024));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::BodyBroken)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY_BYTES {
            return Err(ApiError::TooLarge { max: MAX_BODY_BYTES });
        }
        bytes.extend_from_slice(&data);
        let needed = bytes.len() - bytes.len().min(room.bytes());
        if needed > 0 {
            room.merge(share.room(Flow::Bodies, needed)?);
        }
    }
    Ok(Held { bytes, room })
}
