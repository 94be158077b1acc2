//! Answers on their way out: bounded all together, in bytes.
//!
//! A client may read as slowly as it likes, and what waits for it stays in memory. So the bytes of
//! all larger answers and events of the node share a bound, and go to a socket in chunks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics;

/// What a socket is given at once, and what goes uncounted: connections are bounded themselves.
pub(super) const CHUNK: usize = 64 * 1024;

/// A share of what all answers may take.
pub(super) type Share = Option<OwnedSemaphorePermit>;

/// There is no room for another answer.
#[derive(Debug)]
pub(super) struct NoRoom;

/// A share for `bytes`, to be kept until they are sent. `room` counts kibibytes.
pub(super) fn share(room: &Arc<Semaphore>, bytes: usize) -> Result<Share, NoRoom> {
    if bytes <= CHUNK {
        return Ok(None);
    }
    let kibibytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
    let share = Arc::clone(room).try_acquire_many_owned(kibibytes).map_err(|_| {
        metrics::overflow("answer_bytes");
        NoRoom
    })?;
    Ok(Some(share))
}

/// Makes a share fit for `bytes`.
pub(super) fn resize(room: &Arc<Semaphore>, held: Share, bytes: usize) -> Result<Share, NoRoom> {
    let held_bytes = held.as_ref().map_or(0, |held| held.num_permits() * 1024);
    if bytes > held_bytes {
        drop(held);
        return share(room, bytes);
    }
    let wanted = if bytes <= CHUNK { 0 } else { bytes / 1024 };
    Ok(held.and_then(|mut held| held.split(wanted)).filter(|_| wanted > 0))
}

/// The next chunk of what is left; the rest stays.
pub(super) fn chunk(left: &mut Bytes) -> Bytes {
    left.split_to(left.len().min(CHUNK))
}

/// A body that holds its share until its last chunk is taken.
struct Sending {
    left: Bytes,
    _share: Share,
}

/// A body of these bytes.
pub(super) fn body(bytes: Vec<u8>, share: Share) -> Body {
    Body::new(Sending { left: bytes.into(), _share: share })
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let chunk = chunk(&mut self.left);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
