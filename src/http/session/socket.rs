//! The socket of a stream, once the head of its answer is out.
//!
//! Nothing stands between the session and its socket: a stream that waits holds no buffer, and an
//! event that many streams send is the same bytes for all of them, written by one call each. The
//! invariant: each event goes out whole and in the frame that the head announced, or the
//! connection ends in the middle of it.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use axum::http::Version;
use tokio::net::TcpStream;

use super::Session;
use crate::protocol::wire::Framed;

/// What a client may send behind its request, to be thrown away. There is no reason to.
const SPARE: usize = 64 * 1024;

impl Session {
    /// Runs to the stream's end, or until the client is gone; the connection ends with it.
    pub(in crate::http) fn run(
        mut self,
        socket: TcpStream,
        version: Version,
    ) -> impl Future<Output = ()> + Send {
        let mut client = Client { socket, spare: SPARE };
        // As the head has told: before HTTP/1.1 there are no chunks, and the connection's end is
        // the body's.
        let chunked = version >= Version::HTTP_11;
        // Not an `async fn`, which would keep room for its arguments twice.
        async move {
            loop {
                let framed = tokio::select! {
                    biased;
                    framed = self.next() => framed,
                    () = poll_fn(|context| client.poll_gone(context)) => return,
                };
                let bytes = match &framed {
                    Some(framed) if chunked => framed.chunk(),
                    Some(framed) => framed.text(),
                    None if chunked => Framed::LAST,
                    None => return,
                };
                let sent = tokio::select! {
                    biased;
                    sent = client.send(bytes) => sent,
                    () = self.overdue() => false,
                };
                if !sent || framed.is_none() {
                    return;
                }
                self.present.blocked(false);
            }
        }
    }
}

/// Who listens to a stream.
struct Client {
    socket: TcpStream,
    /// How much more it may send.
    spare: usize,
}

impl Client {
    /// Writes all of it; false where the client is gone before.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let mut left = bytes;
        let sent = poll_fn(|context| match self.poll_write(context, &mut left) {
            Poll::Pending => self.poll_gone(context).map(|()| false),
            Poll::Ready(written) => Poll::Ready(written.is_ok()),
        });
        sent.await
    }

    fn poll_write(&self, context: &mut Context<'_>, left: &mut &[u8]) -> Poll<io::Result<()>> {
        while !left.is_empty() {
            ready!(self.socket.poll_write_ready(context))?;
            match self.socket.try_write(left) {
                Ok(written) => *left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once the client has hung up, or has sent more than it may.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Ok(()) = ready!(self.socket.poll_read_ready(context)) {
            let mut thrown = [0; 1024];
            match self.socket.try_read(&mut thrown) {
                Ok(read) if read > 0 && read <= self.spare => self.spare -= read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
        Poll::Ready(())
    }
}
