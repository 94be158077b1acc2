//! Sockets: accepts them, bounds them, and has hyper speak HTTP/1.1 on them, as long as they are
//! not handed off.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::access::Peer;
use super::handoff::{HandOff, Next};
use crate::metrics;

/// How sockets are served.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The most connections at once.
    pub connections: usize,
    /// How long a request's head may take to arrive, and a connection may be idle.
    pub header_time: Duration,
    /// A peer that acknowledges nothing for so long is gone.
    pub peer_time: Duration,
}

/// A listening socket.
pub struct Server {
    listener: TcpListener,
    router: Router,
    settings: ServerSettings,
    room: Arc<Semaphore>,
}

/// The most bytes of a request's head. A connection's buffer is an eighth of that until a head
/// needs more.
const MAX_HEAD: usize = 64 * 1024;

impl Server {
    /// Listens on `address`.
    ///
    /// # Errors
    /// Where the address can't be had.
    pub fn bind(address: SocketAddr, router: Router, settings: ServerSettings) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        Ok(Self {
            listener: TcpListener::from_std(socket.into())?,
            router,
            room: Arc::new(Semaphore::new(settings.connections)),
            settings,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the socket does not know.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection, to be run; it ends soon after `stop`, once the request under way is
    /// answered. When the node is full, waiting clients wait in the listen queue.
    pub async fn accept(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (stream, peer, permit) = loop {
            if self.room.available_permits() == 0 {
                metrics::overflow("connections");
            }
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => break (stream, Peer(peer.ip()), permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        metrics::connection_opened();
        let open = Connection(Arc::new(Open { _permit: permit }));
        let (router, settings) = (self.router.clone(), self.settings.clone());
        // Boxed, so that a connection that is handed off does not keep room for what it was.
        let served = Box::pin(serve((stream, peer), open.clone(), router, settings, stop));
        async move {
            if let Some((socket, next)) = served.await {
                next(socket).await;
            }
            drop(open);
        }
    }
}

/// A connection that counts as long as somebody holds this: its requests have it among their
/// extensions, and a WebSocket, which leaves the connection's task, keeps it.
#[derive(Debug, Clone)]
pub(super) struct Connection(#[expect(dead_code, reason = "held for its end")] Arc<Open>);

#[derive(Debug)]
struct Open {
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::connection_closed();
    }
}

/// Serves a connection; gives its socket, and what goes on with it, where it was handed off.
async fn serve(
    (stream, peer): (TcpStream, Peer),
    open: Connection,
    router: Router,
    settings: ServerSettings,
    stop: CancellationToken,
) -> Option<(TcpStream, Next)> {
    stream.set_nodelay(true).ok();
    let socket = SockRef::from(&stream);
    socket.set_tcp_user_timeout(Some(settings.peer_time)).ok();
    // A peer that is gone without a word is found out also where nothing is sent to it.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(settings.peer_time)).ok();
    let hand_off = HandOff::default();
    let lent = hand_off.lend(stream);
    let for_requests = hand_off.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(open.clone());
        request.extensions_mut().insert(for_requests.clone());
        router.clone().call(request)
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_time)
        .max_buf_size(MAX_HEAD)
        .serve_connection(lent, service)
        .with_upgrades();
    let mut ended = stop.run_until_cancelled(hand_off.run(&mut connection)).await;
    if ended.is_none() {
        Pin::new(&mut connection).graceful_shutdown();
        ended = Some(hand_off.run(&mut connection).await);
    }
    match ended? {
        Ok(next) => {
            let next = next?;
            Some((connection.into_parts()?.io.back(), next))
        }
        Err(error) => {
            tracing::debug!(%error, "a connection broke");
            None
        }
    }
}
