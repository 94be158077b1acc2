//! Hand-off: a connection that leaves hyper once the head of its answer is out.
//!
//! A connection holds two buffers of 8 KB and much beside as long as hyper runs it, which is a lot
//! for a stream that mostly waits. So a stream's body is an empty one that asks, when it is polled
//! first, that its connection be handed off. Hyper goes on until the head is written; then the
//! connection is taken apart, and the socket goes to whoever asked for it.
//!
//! The invariant: the whole head is out, and nothing else, when the socket changes hands. It stands
//! on two habits of hyper (1.12, `proto/h1/dispatch.rs` and `proto/h1/io.rs`): it polls a body only
//! when it has encoded its head, and flushes the socket only when its own buffer is empty. The
//! tests below fail with a hyper that gives them up.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What goes on with the socket.
pub(super) type Next =
    Box<dyn FnOnce(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// One connection's way out of hyper. Requests have it among their extensions.
#[derive(Clone, Default)]
pub(super) struct HandOff(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Kept,
    /// A body has asked, so its head is in hyper's buffer.
    Asked(Next),
    /// The head is out.
    Due(Next),
}

impl HandOff {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A socket that knows when the head is out.
    pub(super) fn lend(&self, socket: TcpStream) -> Lent {
        Lent { io: TokioIo::new(socket), hand_off: self.clone() }
    }

    /// A body of unknown length that is empty, and after whose head `next` goes on with the
    /// socket. Where it is not sent at all, as with `HEAD`, the connection stays.
    pub(super) fn body<F>(&self, next: impl FnOnce(TcpStream) -> F + Send + 'static) -> Body
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let next: Next = Box::new(|socket| Box::pin(next(socket)));
        Body::new(HeadOnly { next: Some(next), hand_off: self.clone() })
    }

    /// Runs a connection to its end, or until its socket is due to be handed off.
    pub(super) async fn run<C, E>(&self, connection: &mut C) -> Result<Option<Next>, E>
    where
        C: Future<Output = Result<(), E>> + Unpin,
    {
        let run = std::future::poll_fn(|context| match Pin::new(&mut *connection).poll(context) {
            Poll::Ready(ended) => Poll::Ready(ended.map(|()| None)),
            // Where it has become due, that was within this poll.
            Poll::Pending => self.due().map_or(Poll::Pending, |next| Poll::Ready(Ok(Some(next)))),
        });
        run.await
    }

    fn flushed(&self) {
        let mut state = self.lock();
        *state = match std::mem::take(&mut *state) {
            State::Asked(next) => State::Due(next),
            other => other,
        };
    }

    fn due(&self) -> Option<Next> {
        let mut state = self.lock();
        match std::mem::take(&mut *state) {
            State::Due(next) => Some(next),
            other => {
                *state = other;
                None
            }
        }
    }
}

struct HeadOnly {
    next: Option<Next>,
    hand_off: HandOff,
}

impl HttpBody for HeadOnly {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(next) = self.next.take() {
            *self.hand_off.lock() = State::Asked(next);
        }
        // Nobody need wake it: it has nothing to say.
        Poll::Pending
    }
}

/// A connection's socket while hyper has it.
pub(super) struct Lent {
    io: TokioIo<TcpStream>,
    hand_off: HandOff,
}

impl Lent {
    /// The socket itself.
    pub(super) fn back(self) -> TcpStream {
        self.io.into_inner()
    }
}

impl Read for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = std::task::ready!(Pin::new(&mut self.io).poll_flush(context));
        self.hand_off.flushed();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
