//! The replicas of a fleet: each runs, is leaving, or is stopped, and begins again where it was.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::command::{DevError, SERVICE_KEY, in_use};
use super::desk;
use super::issuer::Issuer;
use crate::config::{Config, Origin};
use crate::id::Stamp;
use crate::node::{self, Node, NodeError, Settings};
use crate::protocol::Cursor;

/// Orders that wait; each of them has somebody who waits for it.
const ORDERS: usize = 16;

/// What is to be done with a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Starts it.
    Start,
    /// Stops it as a crash does: connections break.
    Stop,
    /// Has it leave as on SIGTERM: it says so to its clients, and sends them elsewhere.
    Drain,
}

/// An order to a replica, and who waits for its end.
pub(super) type Order = (usize, Act, oneshot::Sender<Result<(), NodeError>>);

/// The fleet, as its desk knows it. Its clones are the same fleet.
#[derive(Clone)]
pub(super) struct Fleet {
    pub(super) issuer: SocketAddr,
    pub(super) tokens: Issuer,
    /// Where pages come from that may call the replicas, and have a token.
    pub(super) origins: Arc<[String]>,
    replicas: Arc<OnceLock<Vec<Replica>>>,
    orders: mpsc::Sender<Order>,
}

/// A replica: at its address whether it runs or not.
pub(super) struct Replica {
    settings: Settings,
    state: Mutex<State>,
}

enum State {
    Running(Node),
    Starting,
    Leaving,
    Stopped,
}

impl Replica {
    async fn start(mut settings: Settings) -> Result<Self, NodeError> {
        let node = Node::start(settings.clone()).await?;
        settings.address = node.address();
        Ok(Self { settings, state: Mutex::new(State::Running(node)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.settings.address
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(super) async fn runs(&self) -> bool {
        matches!(*self.state.lock().await, State::Running(_))
    }

    /// Does it; what it is doing already, or does not apply, is no error.
    async fn act(&self, act: Act) -> Result<(), NodeError> {
        let mut state = self.state.lock().await;
        match (act, &*state) {
            (Act::Start, State::Stopped) => {
                *state = State::Starting;
                drop(state);
                let started = Node::start(self.settings.clone()).await;
                let mut state = self.state.lock().await;
                match started {
                    Ok(node) => *state = State::Running(node),
                    Err(error) => {
                        *state = State::Stopped;
                        return Err(error);
                    }
                }
            }
            (Act::Stop | Act::Drain, State::Running(_)) => {
                if let State::Running(node) = std::mem::replace(&mut *state, State::Leaving) {
                    drop(state);
                    if act == Act::Drain {
                        node.leave().await;
                    } else {
                        node.stop().await;
                    }
                    *self.state.lock().await = State::Stopped;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What the console shows of it.
    pub(super) async fn told(&self) -> Value {
        let text = |stamp: Stamp| Cursor { stamp, history: None }.to_string();
        let state = self.state.lock().await;
        let (name, order) = match &*state {
            State::Running(node) => ("running", node.order().await.ok()),
            State::Starting => ("starting", None),
            State::Leaving => ("leaving", None),
            State::Stopped => ("stopped", None),
        };
        json!({
            "url": self.url(),
            "state": name,
            "clock": order.map(|order| text(order.clock)),
            "horizon": order.map(|order| text(order.horizon)),
            "watermark": order.map(|order| text(order.watermark)),
        })
    }
}

impl Fleet {
    /// Opens the desk: the issuer, the console, and what the console asks for. The replicas come
    /// later, since they look for the issuer.
    pub(super) async fn open(
        key: &Path,
        port: u16,
        further: &[Origin],
        stop: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<Order>), DevError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await.map_err(in_use(address))?;
        let (orders, receiver) = mpsc::channel(ORDERS);
        let issuer = listener.local_addr().map_err(in_use(address))?;
        let fleet = Self {
            issuer,
            origins: origins(issuer.port(), further),
            tokens: Issuer::with_key_file(SERVICE_KEY, key)?,
            replicas: Arc::default(),
            orders,
        };
        // The page of an app that is being developed asks here for its token.
        let pages = fleet.origins.iter().filter_map(|origin| origin.parse().ok());
        let issuer =
            fleet.tokens.router().layer(CorsLayer::new().allow_origin(AllowOrigin::list(pages)));
        let router = issuer.merge(desk::router(fleet.clone()));
        node::beside(router, listener, stop);
        Ok((fleet, receiver))
    }

    /// Starts the replicas: one at each of these ports.
    pub(super) async fn start(
        &self,
        database: &str,
        ports: impl Iterator<Item = u16>,
    ) -> Result<(), NodeError> {
        let mut replicas = Vec::new();
        for port in ports {
            replicas.push(Replica::start(self.settings(database, port)?).await?);
        }
        // Nobody else sets it.
        let _ = self.replicas.set(replicas);
        Ok(())
    }

    /// The replicas; none of them before all have started.
    pub(super) fn replicas(&self) -> &[Replica] {
        self.replicas.get().map_or(&[], Vec::as_slice)
    }

    /// Has a replica do something, and waits until it has; `None` where there is no such replica.
    pub(super) async fn order(&self, at: usize, act: Act) -> Option<Result<(), NodeError>> {
        self.replicas().get(at)?;
        let (done, wait) = oneshot::channel();
        self.orders.send((at, act, done)).await.ok()?;
        wait.await.ok()
    }

    /// Obeys an order. Whoever gave it may have gone: it is carried out all the same.
    pub(super) async fn obey(&self, (at, act, done): Order) {
        if let Some(replica) = self.replicas().get(at) {
            let _ = done.send(replica.act(act).await);
        }
    }

    /// Stops all replicas.
    pub(super) async fn stop(&self) {
        for replica in self.replicas() {
            let _ = replica.act(Act::Stop).await;
        }
    }

    /// What a replica is told: the defaults, at this database and this issuer.
    fn settings(&self, database: &str, port: u16) -> Result<Settings, NodeError> {
        let issuer = self.issuer;
        let flags = [
            format!("--database-url={database}"),
            format!("--jwks-url=http://{issuer}/.well-known/jwks.json"),
            format!("--mana-auth-url=http://{issuer}"),
            format!("--mana-credits-url=http://{issuer}"),
            format!("--mana-service-key={SERVICE_KEY}"),
            "--bind=127.0.0.1".to_owned(),
            format!("--cors-origins={}", self.origins.join(",")),
            // Somebody looks on.
            "--drain-delay-seconds=0".to_owned(),
            "--drain-spread-seconds=1".to_owned(),
            "--drain-deadline-seconds=4".to_owned(),
        ];
        let config = Config::from_flags(flags)
            .map_err(|_| NodeError::Settings("the dev fleet's own settings are refused"))?;
        let mut settings = Settings::new(&config)?;
        settings.address.set_port(port);
        Ok(settings)
    }
}

/// The console's own origins, that of a page that is being developed, and further ones.
fn origins(console: u16, further: &[Origin]) -> Arc<[String]> {
    let own = [
        format!("http://127.0.0.1:{console}"),
        format!("http://localhost:{console}"),
        "http://localhost:5173".to_owned(),
    ];
    own.into_iter().chain(further.iter().map(|origin| origin.as_str().to_owned())).collect()
}
