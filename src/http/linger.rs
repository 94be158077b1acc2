//! Lets a client finish sending what is refused anyway.
//!
//! A client that writes its whole body before it reads would find the connection closed under it,
//! and never learn why: that its token has expired, that its changeset is too large. So what is
//! left of a refused body is read and thrown away, within bounds, before the answer goes out.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;

use crate::protocol::limits::MAX_BODY_BYTES;

/// The most bytes that are thrown away.
const MAX_BYTES: usize = 3 * MAX_BODY_BYTES;

/// How long a client may take to send them.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that both a handler and this layer hold.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

/// Answers a refusal once the client has sent its body, or what is bearable of it.
pub(super) async fn linger(request: Request, next: Next) -> Response {
    // Who waits to be asked for the body, or announces more than is bearable, is answered at once.
    let waits = request.headers().contains_key(header::EXPECT);
    let announced = request.body().size_hint().lower();
    if waits || request.body().is_end_stream() || announced > MAX_BYTES as u64 {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let shared = Shared(Arc::new(Mutex::new(body)));
    let response = next.run(Request::from_parts(parts, Body::new(shared.clone()))).await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if refused && response.status() != StatusCode::REQUEST_TIMEOUT {
        // Whoever is too slow or sends too much is cut off: the answer goes out in any case.
        let _ = timeout(PATIENCE, discard(shared)).await;
    }
    response
}

async fn discard(mut body: Shared) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > MAX_BYTES {
            return;
        }
    }
}
