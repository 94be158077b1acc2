//! A fleet of this machine's own: a durable Postgres, an issuer, and nodes, each a process.
//!
//! Everything listens on 127.0.0.1 and ends with this process.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use mana_sync::config::pg_bindir;
use mana_sync::dev::issuer::Issuer;
use mana_sync::dev::postgres::{Durability, EmbeddedPostgres, Settings};
use mana_sync::node::beside;
use mana_sync::store::Store;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::Outcome;
use crate::client::Target;
use crate::tokens::Tokens;

/// The ordinary role of the nodes.
pub(crate) const ROLE: &str = "mana_sync";
/// The secret of the nodes and the issuer.
pub(crate) const SERVICE_KEY: &str = "loadtest";
/// A node is ready within this.
const READY: Duration = Duration::from_secs(30);

/// A durable Postgres and an issuer, for nodes and baselines.
pub(crate) struct Ground {
    pub(crate) postgres: EmbeddedPostgres,
    pub(crate) issuer: Issuer,
    issuer_address: SocketAddr,
    _stop: tokio_util::sync::DropGuard,
}

/// A node's process.
pub(crate) struct NodeProcess {
    pub(crate) url: Url,
    pub(crate) target: Target,
    pub(crate) port: u16,
    pub(crate) pid: u32,
    child: Child,
}

impl Ground {
    /// Starts both. `synchronous_commit` is on, as in production.
    pub(crate) async fn start() -> Outcome<Self> {
        let extra = [
            ("max_connections", "600"),
            ("shared_preload_libraries", "pg_stat_statements"),
            ("shared_buffers", "1GB"),
            ("max_wal_size", "8GB"),
        ];
        let postgres = EmbeddedPostgres::start(Settings {
            bindir: pg_bindir(),
            data: None,
            durability: Durability::Durable,
            extra: extra.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        })
        .await?;
        postgres.create_role(ROLE).await?;
        let issuer = Issuer::new(SERVICE_KEY)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let issuer_address = listener.local_addr()?;
        let stop = CancellationToken::new();
        beside(issuer.router(), listener, stop.clone());
        Ok(Self { postgres, issuer, issuer_address, _stop: stop.drop_guard() })
    }

    /// A new database with our schema; its URL as the nodes' role.
    pub(crate) async fn database(&self, name: &str) -> Outcome<String> {
        self.postgres.create_database(name, ROLE, None).await?;
        let url = self.postgres.url(ROLE, name);
        Store::prepare(&url).await?;
        Ok(url)
    }

    /// The URL of a database as the superuser.
    pub(crate) fn admin_url(&self, database: &str) -> String {
        self.postgres.url("postgres", database)
    }

    /// Tokens of the issuer, good for a long time.
    pub(crate) fn tokens(&self) -> Outcome<Tokens> {
        Tokens::new(&format!("http://{}/token?user={{user}}&ttl=86400", self.issuer_address))
    }

    /// Starts a node on a database, with further flags of `mana-sync serve`.
    pub(crate) async fn node(&self, database: &str, flags: &[&str]) -> Outcome<NodeProcess> {
        self.node_at(free_port()?, database, flags).await
    }

    /// The same, on this port.
    pub(crate) async fn node_at(
        &self,
        port: u16,
        database: &str,
        flags: &[&str],
    ) -> Outcome<NodeProcess> {
        let issuer = format!("http://{}", self.issuer_address);
        let mut all = vec![
            format!("--database-url={database}"),
            format!("--jwks-url={issuer}/.well-known/jwks.json"),
            format!("--mana-auth-url={issuer}"),
            "--membership-life-seconds=3600".to_owned(),
            // Few users make all the load.
            "--limit-user-requests=0".to_owned(),
            "--limit-user-streams=0".to_owned(),
            "--drain-delay-seconds=0".to_owned(),
            "--drain-spread-seconds=0".to_owned(),
            "--drain-deadline-seconds=3".to_owned(),
        ];
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        all.retain(|own| flags.iter().all(|flag| name(flag) != name(own)));
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let node = NodeProcess::launch_at(port, &all, Stdio::inherit(), &[]).await?;
        node.ready().await?;
        Ok(node)
    }
}

impl NodeProcess {
    /// Starts a node with these flags, on a free port; what it logs goes to `log`. `variables` are
    /// put into its environment.
    pub(crate) async fn launch(
        flags: &[String],
        log: Stdio,
        variables: &[(&str, String)],
    ) -> Outcome<Self> {
        Self::launch_at(free_port()?, flags, log, variables).await
    }

    async fn launch_at(
        port: u16,
        flags: &[String],
        log: Stdio,
        variables: &[(&str, String)],
    ) -> Outcome<Self> {
        let child = Command::new(std::env::current_exe()?)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .arg("node")
            .args(["--bind=127.0.0.1", "--log=warn"])
            .arg(format!("--port={port}"))
            .arg(format!("--mana-service-key={SERVICE_KEY}"))
            .args(flags)
            .stdin(Stdio::null())
            .stderr(log)
            // Ctrl-C is for this process, which ends the node when it has done with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let url: Url = format!("http://127.0.0.1:{port}").parse()?;
        let target = Target::resolve(&url).await?;
        let pid = child.id().ok_or("a node ended at once")?;
        Ok(Self { url, target, port, pid, child })
    }

    /// Whether a node is ready at this moment.
    pub(crate) async fn answers(target: &Target) -> bool {
        match target.connect().await {
            Ok(mut connection) => {
                let answer = connection.get("/health/ready", "", "").await;
                answer.is_ok_and(|answer| answer.status == 200)
            }
            Err(_) => false,
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    async fn ready(&self) -> Outcome {
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            if Self::answers(&self.target).await {
                return Ok(());
            }
            // The process offers nothing else to wait for.
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("{} was not ready after {READY:?}", self.url).into())
    }

    /// Ends the process and waits for that.
    pub(crate) async fn stop(mut self) -> Outcome {
        self.child.kill().await?;
        Ok(())
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A port that nobody listens on at the moment, and that stays free while whoever had it is away:
/// the system gives none of these to connections that go out.
pub(crate) fn lasting_port() -> Outcome<u16> {
    let is_free = |port: &u16| StdListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports = std::iter::repeat_with(|| fastrand::u16(20_000..30_000)).take(1_000);
    Ok(ports.into_iter().find(is_free).ok_or("no port is free")?)
}
