//! Bodies: bounded each, in time, and all together.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Api;
use super::error::ApiError;
use crate::metrics;
use crate::protocol::limits::MAX_BODY_BYTES;

/// A body, and its share of what all bodies of the node may take; kept until it is done with.
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    pub(super) share: OwnedSemaphorePermit,
}

/// Reads a body.
pub(super) async fn read(api: &Api, headers: &HeaderMap, body: Body) -> Result<Held, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY_BYTES) {
        return Err(ApiError::TooLarge { max: MAX_BODY_BYTES });
    }
    let read = timeout(api.limits.body_time, collect(api, announced.unwrap_or(0), body));
    read.await.unwrap_or(Err(ApiError::BodyTimeout))
}

async fn collect(api: &Api, announced: usize, mut body: Body) -> Result<Held, ApiError> {
    let mut share = take(api, 1)?;
    let mut bytes = Vec::with_capacity(announced.min(64 * 1024));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::BodyBroken)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY_BYTES {
            return Err(ApiError::TooLarge { max: MAX_BODY_BYTES });
        }
        bytes.extend_from_slice(&data);
        let needed = bytes.len() / 1024 + 1;
        if needed > share.num_permits() {
            share.merge(take(api, needed - share.num_permits())?);
        }
    }
    Ok(Held { bytes, share })
}

fn take(api: &Api, kibibytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let kibibytes = u32::try_from(kibibytes).unwrap_or(u32::MAX);
    std::sync::Arc::clone(&api.bodies).try_acquire_many_owned(kibibytes).map_err(|_| {
        metrics::overflow("inflight_bytes");
        ApiError::Busy("too many request bodies are in flight")
    })
}
