//! A node: its parts, put together, started, and brought to an end.
//!
//! The only file that spawns. Every task is on a tracker and ends when told.

mod probe;
mod services;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::FutureExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use probe::{NotReady, probe};
pub use settings::{Leaving, Settings};

use services::Services;

use crate::config::{Config, Secret};
use crate::directory::members;
use crate::feed::Feeds;
use crate::http::{AccessLog, Api, Drain, Presence, Quotas, STRANGERS, Server, Serves, router};
use crate::id::Stamp;
use crate::listener::{Hearing, Listener, beat};
use crate::metrics;
use crate::news;
use crate::progress::progress;
use crate::recent::Recent;
use crate::relay::{self, Relay};
use crate::store::{self, StartError, Store};
use crate::telemetry;
use crate::writer::writer;

/// Doorbells that wait for the relay; it is quick.
const DOORBELLS: usize = 4096;

/// How often is looked for publishing that a node has left undone.
const SWEEP: Duration = Duration::from_secs(30);

/// How often the database server is asked how it is.
const VITALS: Duration = Duration::from_secs(30);

/// How long the tasks of a node may take to end.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The database does not suit.
    #[error(transparent)]
    Database(#[from] StartError),
    /// The address can't be had.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The HTTP client can't be built.
    #[error("cannot make outgoing requests: {0}")]
    Client(#[from] reqwest::Error),
    /// Metrics can't be gathered.
    #[error(transparent)]
    Metrics(#[from] telemetry::RecorderError),
    /// A setting does not go with another.
    #[error("{0}")]
    Settings(&'static str),
}

impl From<store::StoreError> for NodeError {
    fn from(error: store::StoreError) -> Self {
        Self::Database(error.into())
    }
}

/// Places in the one order of all changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The last stamp given.
    pub clock: Stamp,
    /// The last stamp before which nothing is in flight.
    pub horizon: Stamp,
    /// The stamp up to which the node has heard everything ring.
    pub watermark: Stamp,
}

/// A running node.
pub struct Node {
    /// For clients, and for operators: the same, unless those have a port of their own.
    addresses: [SocketAddr; 2],
    leaving: Leaving,
    api: Arc<Api>,
    /// Ends accepting, and each connection once its request is answered.
    connections_stop: CancellationToken,
    connections: TaskTracker,
    parts: Parts,
}

/// The tasks behind. None of them ends before it is told to.
#[derive(Default)]
struct Parts {
    stop: CancellationToken,
    failed: CancellationToken,
    tasks: TaskTracker,
}

impl Parts {
    fn spawn(&self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        self.tasks.spawn(async move {
            let panicked = AssertUnwindSafe(part).catch_unwind().await.is_err();
            if !stop.is_cancelled() {
                tracing::error!(name, panicked, "a part of the node ended, and was not told to");
                failed.cancel();
            }
        });
    }
}

impl Node {
    /// Prepares the database, and starts all parts.
    ///
    /// # Errors
    /// [`NodeError`], a sentence that says what to do.
    pub async fn start(settings: Settings) -> Result<Self, NodeError> {
        Store::prepare(&settings.listener.url).await?;
        Store::vet(&settings.database.url, &settings.listener.url).await?;
        let store = Store::new(&settings.database)?;
        let start = store.horizon().await?;
        let feeds = Arc::new(Feeds::new(start, settings.tail_bytes));
        let (advance, progress) = progress(start);
        let (writer, lanes) = writer(&store, progress.clone(), &settings.writer);
        let recent = Arc::new(Recent::new(start, settings.auth_url.is_some()));
        let (news, asking) = news::news(&store, progress.clone(), Arc::clone(&recent));
        let (heard, doorbells) = mpsc::channel(DOORBELLS);
        let hearing = Hearing::default();
        let connections = TaskTracker::new();
        let drain = Drain {
            unready: CancellationToken::new(),
            streams: CancellationToken::new(),
            spread: settings.leaving.spread,
            sockets: connections.clone(),
        };
        let Services { auth, members, requests, billing } = Services::new(&settings, &store)?;
        let metrics = telemetry::metrics_handle()?;
        let log_key = settings.log_key.as_ref().map(Secret::reveal);
        let api = Arc::new(Api {
            auth: auth.clone(),
            billing,
            members: members.clone(),
            writer,
            news,
            store: store.clone(),
            progress: progress.clone(),
            feeds: Arc::clone(&feeds),
            presence: Presence::default(),
            access: AccessLog::new(settings.proxies.clone(), log_key),
            quotas: Quotas::new(&settings.limits),
            hearing: hearing.clone(),
            drain,
            service_key: settings.service_key.clone(),
            metrics: metrics.clone(),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            limits: settings.limits.clone(),
        });
        let (servers, addresses) = bind(&api, &settings)?;
        let parts = Parts::default();
        let stop = || parts.stop.clone();
        let inner = store.beside(&settings.database)?;
        let (feeds, longest) = (Arc::clone(&feeds), store.patience());
        let relay = Relay::new(inner.clone(), feeds, recent, advance, doorbells, start, longest);
        parts.spawn("relay", relay.run(settings.compare_every, stop()));
        parts.spawn("vitals", vitals(inner.clone(), stop()));
        parts.spawn("heartbeat", beat(inner, progress, settings.listener.heartbeat, stop()));
        let listener = Listener::new(settings.listener, heard, hearing);
        parts.spawn("listener", listener.run(stop()));
        let keys_stop = stop();
        parts.spawn("keys", async move { auth.run(keys_stop).await });
        parts.spawn("members", members.run(requests, stop()));
        parts.spawn("sweep", members::sweep(store.clone(), SWEEP, stop()));
        parts.spawn("upkeep", telemetry::run_upkeep(metrics, stop()));
        for lane in lanes.run(stop()) {
            parts.spawn("lane", lane);
        }
        for lane in asking.run(stop()) {
            parts.spawn("news", lane);
        }
        let connections_stop = CancellationToken::new();
        for server in servers {
            let ends = (connections_stop.clone(), stop());
            parts.spawn("accept", accept(server, connections.clone(), ends));
        }
        Ok(Self { addresses, leaving: settings.leaving, api, connections_stop, connections, parts })
    }

    /// Where it listens for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let [clients, _] = self.addresses;
        clients
    }

    /// Where it listens for those who operate it.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        let [_, operators] = self.addresses;
        operators
    }

    /// Where it stands in the one order of all changes.
    ///
    /// # Errors
    /// Where the database can't say.
    pub async fn order(&self) -> Result<Order, store::StoreError> {
        let clock = self.api.store.clock().await?;
        let horizon = self.api.store.shared_horizon().await?;
        Ok(Order { clock, horizon, watermark: self.api.progress.at() })
    }

    /// Waits until a part of the node has failed for good: it is to be started anew.
    pub async fn failed(&self) {
        self.parts.failed.cancelled().await;
    }

    /// Leaves in order: unready, then no new connections, then streams end spread over a while,
    /// pushes under way are answered, and all stops; at the latest at the deadline.
    pub async fn leave(self) {
        let leaving = self.leaving.clone();
        metrics::draining(true);
        self.api.drain.unready.cancel();
        let orderly = async {
            sleep(leaving.delay).await;
            self.connections_stop.cancel();
            self.api.drain.streams.cancel();
            self.api.feeds.wake_all();
            self.connections.close();
            self.connections.wait().await;
        };
        // Half of what is left when all streams should have ended is for the tasks behind.
        let left = leaving.deadline.saturating_sub(leaving.delay + leaving.spread);
        let reserve = STOP_TIME.min(left / 2);
        if timeout(leaving.deadline.saturating_sub(reserve), orderly).await.is_err() {
            tracing::warn!("the deadline came before all connections had ended");
        }
        self.stop_within(reserve).await;
    }

    /// Stops at once: connections break.
    pub async fn stop(self) {
        self.stop_within(STOP_TIME).await;
    }

    async fn stop_within(self, time: Duration) {
        self.connections_stop.cancel();
        self.api.drain.unready.cancel();
        // WebSockets have tasks of their own.
        self.api.drain.streams.cancel();
        self.parts.stop.cancel();
        self.parts.tasks.close();
        let orderly = async {
            self.parts.tasks.wait().await;
            self.api.store.close().await;
        };
        if timeout(time, orderly).await.is_err() {
            tracing::warn!("some tasks did not end");
        }
    }
}

/// Opens the ports; gives where clients come, and where operators do.
fn bind(api: &Arc<Api>, settings: &Settings) -> Result<(Vec<Server>, [SocketAddr; 2]), NodeError> {
    let open = |address, serves| {
        let router = router(Arc::clone(api), &settings.origins, serves, settings.console);
        let server = Server::bind(address, router, settings.server.clone());
        server
            .and_then(|server| server.address().map(|address| (server, address)))
            .map_err(|error| NodeError::Bind(address, error))
    };
    let Some(admin) = settings.admin_address else {
        let (server, address) = open(settings.address, Serves::All)?;
        return Ok((vec![server], [address, address]));
    };
    let (clients, address) = open(settings.address, Serves::Clients)?;
    let (operators, admin_address) = open(admin, Serves::Operators)?;
    Ok((vec![clients, operators], [address, admin_address]))
}

/// Looks how the database server is, until told to stop; a look under way ends with that.
async fn vitals(store: Store, stop: CancellationToken) {
    stop.run_until_cancelled(relay::watch(store, VITALS, stop.clone())).await;
}

/// Accepts connections until the first token ends that. They break at the second one, and with
/// that this ends.
async fn accept(
    server: Server,
    connections: TaskTracker,
    (stop, end): (CancellationToken, CancellationToken),
) {
    while let Some(connection) = stop.run_until_cancelled(server.accept(stop.clone())).await {
        connections.spawn(end.clone().run_until_cancelled_owned(connection));
    }
    drop(server);
    end.cancelled().await;
}

/// Runs a node as a process of its own: until SIGTERM, after which it drains, or until a part of
/// it fails.
///
/// # Errors
/// One sentence that says what is wrong.
pub async fn serve(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    config.check()?;
    let log = &config.log;
    let collector = log.otlp_endpoint.as_ref();
    let _logging = telemetry::start_logging(&log.log_filter, log.log_format, collector)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node = tokio::select! {
        node = Node::start(Settings::new(config)?) => node?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tracing::info!(address = %node.address(), admin = %node.admin_address(), "serving");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = node.failed() => {
            node.stop().await;
            return Err("a part of the node failed; it is to be started anew".into());
        }
    }
    tracing::info!("leaving");
    tokio::select! {
        () = node.leave() => {}
        _ = interrupt.recv() => tracing::warn!("interrupted again: ending at once"),
    }
    Ok(())
}

/// Serves something beside the nodes in this process until told to stop: the `dev` fleet's issuer.
#[expect(clippy::disallowed_methods, reason = "this file is the one that spawns")]
pub fn beside(router: Router, listener: TcpListener, stop: CancellationToken) {
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "a server beside the nodes ended");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_untold_fails_the_node_and_one_that_was_told_does_not() {
        for (told, fails) in [(true, false), (false, true)] {
            let parts = Parts::default();
            if told {
                parts.stop.cancel();
            }
            parts.spawn("returns", async {});
            parts.tasks.close();
            parts.tasks.wait().await;
            assert_eq!(parts.failed.is_cancelled(), fails, "told: {told}");
        }
    }
}
