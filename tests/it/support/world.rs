//! A database, an issuer, and nodes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mana_sync::config::{Config, pg_bindir};
use mana_sync::dev::issuer::Issuer;
use mana_sync::dev::postgres::{Durability, EmbeddedPostgres, Settings as PostgresSettings};
use mana_sync::node::{Node, Settings};
use mana_sync::store::Store;
use sqlx::{Connection, PgConnection};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use super::Client;

/// The role of the nodes: an ordinary one, to which row-level security applies.
pub const ROLE: &str = "mana_sync";
/// The secret of the issuer and the nodes.
pub const SERVICE_KEY: &str = "test-service-key";
/// A migrated database that tests copy.
const TEMPLATE: &str = "template_sync";

static POSTGRES: OnceCell<EmbeddedPostgres> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The Postgres of this test run: one for all tests. It dies with the process.
pub async fn postgres() -> &'static EmbeddedPostgres {
    POSTGRES
        .get_or_init(async || {
            let postgres = EmbeddedPostgres::start(PostgresSettings {
                bindir: pg_bindir(),
                data: None,
                durability: Durability::Fast,
                extra: vec![
                    ("max_connections".into(), "400".into()),
                    ("shared_preload_libraries".into(), "pg_stat_statements,auto_explain".into()),
                ],
            })
            .await
            .expect("a private Postgres starts");
            postgres.create_role(ROLE).await.unwrap();
            postgres.create_database(TEMPLATE, ROLE, None).await.unwrap();
            Store::prepare(&postgres.url(ROLE, TEMPLATE)).await.unwrap();
            postgres
        })
        .await
}

/// A database of its own, an issuer of its own, and nodes on them.
pub struct World {
    /// The URL of the database, as the nodes' role.
    pub database: String,
    /// Issues tokens, knows members and who pays; has knobs for faults.
    pub issuer: Issuer,
    /// Where the issuer listens.
    pub issuer_address: SocketAddr,
    name: String,
}

/// A running node.
pub struct TestNode {
    /// `http://127.0.0.1:port`
    pub url: String,
    /// The node.
    pub node: Node,
}

impl World {
    /// A new world.
    pub async fn new() -> Self {
        let postgres = postgres().await;
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        postgres.create_database(&name, ROLE, Some(TEMPLATE)).await.unwrap();
        let issuer = Issuer::new(SERVICE_KEY).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer_address = listener.local_addr().unwrap();
        let router = issuer.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { database: postgres.url(ROLE, &name), issuer, issuer_address, name }
    }

    /// The settings of a node of this world, on a free port.
    pub fn settings(&self) -> Settings {
        self.settings_with(&[])
    }

    /// The settings, with further flags of `mana-sync serve`.
    pub fn settings_with(&self, flags: &[&str]) -> Settings {
        let own = self.flags();
        let flags = own.iter().map(String::as_str).chain(flags.iter().copied());
        let config = Config::from_flags(flags).expect("the flags are right");
        let mut settings = Settings::new(&config).unwrap();
        settings.address.set_port(0);
        settings
    }

    /// The flags of `mana-sync serve` in this world, without a port.
    pub fn flags(&self) -> Vec<String> {
        let issuer = self.issuer_address;
        vec![
            format!("--database-url={}", self.database),
            format!("--jwks-url=http://{issuer}/.well-known/jwks.json"),
            format!("--mana-auth-url=http://{issuer}"),
            format!("--mana-credits-url=http://{issuer}"),
            format!("--mana-service-key={SERVICE_KEY}"),
            "--bind=127.0.0.1".to_owned(),
            "--database-pool-size=8".to_owned(),
        ]
    }

    /// Starts a node.
    pub async fn node(&self) -> TestNode {
        self.start(self.settings()).await
    }

    /// Starts a node with settings of its own.
    pub async fn start(&self, settings: Settings) -> TestNode {
        let node = Node::start(settings).await.expect("a node starts");
        TestNode { url: format!("http://{}", node.address()), node }
    }

    /// A client of `user`, the device `client`, with a fresh token.
    pub fn client(&self, user: &str, client: &str) -> Client {
        Client::new(self.issuer.token(user, Duration::from_hours(1)), client)
    }

    /// A connection as the nodes' role.
    pub async fn sql(&self) -> PgConnection {
        PgConnection::connect(&self.database).await.unwrap()
    }

    /// A connection as the superuser, to whom row-level security does not apply.
    pub async fn admin(&self) -> PgConnection {
        let url = postgres().await.url("postgres", &self.name);
        PgConnection::connect(&url).await.unwrap()
    }
}

/// Runs statements that need no answer.
pub async fn psql(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}
