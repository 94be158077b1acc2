//! The world of a chaos run: a durable Postgres, an issuer, nodes, nginx before them, and a proxy on
//! every way between two of them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Mutex as StdMutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mana_sync::dev::issuer::Issuer;
use mana_sync::node::beside;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::database::{Database, Disk, Door};
use super::nodes::Slot;
use crate::Outcome;
use crate::client::Target;
use crate::fleet::SERVICE_KEY;
use crate::nginx::Nginx;
use crate::proxy::{Mode, Proxy};

/// Tokens are good for the whole run.
const TOKENS: Duration = Duration::from_hours(24 * 8);
/// Nodes behave as usual, but for what would take too long to be seen in a short run.
const FLAGS: [&str; 11] = [
    // Few users make all the load.
    "--limit-user-requests=0",
    "--limit-user-streams=0",
    "--database-pool-size=8",
    "--database-timeout-seconds=3",
    "--acquire-timeout-seconds=2",
    "--push-timeout-seconds=6",
    "--membership-life-seconds=3",
    "--heartbeat-ms=500",
    "--drain-delay-seconds=1",
    "--drain-spread-seconds=1",
    "--drain-deadline-seconds=6",
];
/// Whoever gives a push up knows after this that nothing comes of it any more: the nodes' patience
/// with a push, and their longest statement.
pub(super) const AFTERMATH: Duration = Duration::from_secs(9);

/// What there is to break.
pub(super) struct World {
    pub(super) issuer: Issuer,
    pub(super) auth: Proxy,
    pub(super) billing: Proxy,
    pub(super) nodes: Vec<Slot>,
    pub(super) database: Mutex<Database>,
    door: StdMutex<Door>,
    pub(super) disk: Option<Disk>,
    /// Streams of clients that stand still read nothing while this is set.
    pub(super) stalled: watch::Sender<bool>,
    /// Streams of the crowd that came in.
    pub(super) crowd: AtomicU64,
    /// nginx.
    pub(super) entrance: Target,
    /// Each node without nginx.
    doors: Vec<Target>,
    // Ends when it is dropped.
    _nginx: Nginx,
    logs: Logs,
    _issuing: DropGuard,
}

/// The nodes' logs: removed at the end, unless something is wrong.
struct Logs {
    folder: PathBuf,
    kept: bool,
}

impl Drop for Logs {
    fn drop(&mut self) {
        if !self.kept {
            // At the worst it stays among the temporary files.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl World {
    /// Starts all but the nodes, which are started as they are kept. `mutant` names what is wrong
    /// with them.
    pub(super) async fn start(
        count: usize,
        disk: Option<Disk>,
        mutant: Option<&str>,
    ) -> Outcome<Self> {
        let database = Database::start(disk.as_ref()).await?;
        let issuer = Issuer::new(SERVICE_KEY)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let stop = CancellationToken::new();
        beside(issuer.router(), listener, stop.clone());
        let (auth, billing) = (Proxy::start(port).await?, Proxy::start(port).await?);
        let folder = std::env::temp_dir().join(format!("loadtest-chaos-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let logs = Logs { folder, kept: false };
        let (mut nodes, mut doors) = (Vec::new(), Vec::new());
        for number in 0..count {
            let ways = (Proxy::start(database.port()).await?, Proxy::start(0).await?);
            let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
            flags.extend([
                format!("--database-url={}", database.url(ways.0.port())?),
                format!("--jwks-url=http://127.0.0.1:{}/.well-known/jwks.json", auth.port()),
                format!("--mana-auth-url=http://127.0.0.1:{}", auth.port()),
                format!("--mana-credits-url=http://127.0.0.1:{}", billing.port()),
            ]);
            flags.extend(mutant.map(|mutant| format!("--mutant={mutant}")));
            let url = format!("http://127.0.0.1:{}", ways.1.port()).parse()?;
            doors.push(Target::resolve(&url).await?);
            nodes.push(Slot::new(number, ways, flags, &logs.folder));
        }
        let ports: Vec<u16> = nodes.iter().map(|node| node.clients.port()).collect();
        let nginx = Nginx::start("", |port| ingress(port, &ports)).await?;
        Ok(Self {
            issuer,
            auth,
            billing,
            nodes,
            door: StdMutex::new(database.door()),
            database: Mutex::new(database),
            disk,
            stalled: watch::channel(false).0,
            crowd: AtomicU64::new(0),
            entrance: nginx.target.clone(),
            doors,
            _nginx: nginx,
            logs,
            _issuing: stop.drop_guard(),
        })
    }

    /// A token of a user.
    pub(super) fn token(&self, user: &str) -> String {
        self.issuer.token(user, TOKENS)
    }

    /// The place of this node.
    pub(super) fn node(&self, number: usize) -> Outcome<&Slot> {
        Ok(self.nodes.get(number).ok_or("no such node")?)
    }

    /// The node of this number, without nginx.
    pub(super) fn direct(&self, number: usize) -> &Target {
        self.doors.get(number % self.doors.len().max(1)).unwrap_or(&self.entrance)
    }

    /// How a superuser reaches the database at the moment.
    pub(super) fn door(&self) -> Door {
        self.door.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The database is another server now: all ways lead to it.
    pub(super) fn lead_to(&self, database: &Database) {
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) = database.door();
        for node in &self.nodes {
            node.database.lead(database.port());
        }
    }

    /// All ways are passable.
    pub(super) fn clear_ways(&self) {
        let nodes = self.nodes.iter().flat_map(|node| [&node.database, &node.clients]);
        for way in nodes.chain([&self.auth, &self.billing]) {
            way.set(Mode::Pass);
        }
    }

    /// Keeps all nodes running.
    pub(super) async fn keep(&self, say: impl Fn(&str)) {
        let keeping = self.nodes.iter().map(|node| node.keep(&say));
        futures::future::join_all(keeping).await;
    }

    /// Waits until all nodes are ready.
    pub(super) async fn ready(&self) -> Outcome {
        for node in &self.nodes {
            node.comes().await?;
        }
        Ok(())
    }

    /// Something is wrong: the logs stay, here.
    pub(super) fn keep_logs(&mut self) -> PathBuf {
        self.logs.kept = true;
        self.logs.folder.clone()
    }
}

/// nginx before the nodes, as it is advised to be set up.
fn ingress(port: u16, nodes: &[u16]) -> String {
    let servers =
        nodes.iter().map(|node| format!("server 127.0.0.1:{node} max_fails=2 fail_timeout=1s;"));
    let servers: String = servers.collect();
    format!(
        "upstream nodes {{ {servers} keepalive 32; }}
        server {{
            listen 127.0.0.1:{port} backlog=4096;
            client_max_body_size 12m;
            location / {{
                proxy_pass http://nodes;
                proxy_http_version 1.1; proxy_set_header Connection \"\";
                proxy_buffering off; proxy_read_timeout 1h; proxy_connect_timeout 2s;
            }}
        }}"
    )
}
