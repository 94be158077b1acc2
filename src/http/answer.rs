//! Answers on their way out: larger ones hold room, and go to a socket in chunks.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::quota::Share;
use super::room::{Flow, NoRoom, Room};

/// What a socket is given at once, and what goes uncounted: connections are bounded themselves.
pub(super) const CHUNK: usize = 64 * 1024;

/// Room for `bytes` on their way to a user, to be held until they are sent; few need none.
pub(super) fn room(share: &Share, flow: Flow, bytes: usize) -> Result<Option<Room>, NoRoom> {
    if bytes <= CHUNK { Ok(None) } else { share.room(flow, bytes).map(Some) }
}

/// The next chunk of what is left; the rest stays.
pub(super) fn chunk(left: &mut Bytes) -> Bytes {
    left.split_to(left.len().min(CHUNK))
}

/// A body that holds its room until its last chunk is taken.
struct Sending {
    left: Bytes,
    _room: Option<Room>,
}

/// A body of these bytes.
pub(super) fn body(bytes: Vec<u8>, room: Option<Room>) -> Body {
    Body::new(Sending { left: bytes.into(), _room: room })
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
