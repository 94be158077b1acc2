//! `mana-sync doctor` on set-ups that are broken in one way each. What it says stands in the docs.

use std::path::Path;

use axum::Router;
use axum::http::header::DATE;
use axum::routing::get;
use mana_sync::config::pg_bindir;
use mana_sync::dev::postgres::{Durability, EmbeddedPostgres, Settings};
use mana_sync::store::Store;
use sqlx::{Connection, Executor, PgConnection};
use tokio::net::{TcpListener, TcpStream};

use crate::processes::{Process, free_port};
use crate::support::world::{ROLE, SERVICE_KEY};
use crate::support::{World, eventually, say};

const DOCS: &str = include_str!("../../docs/operations.md");

/// What is said of a well node, among other things.
const WELL: [&str; 13] = [
    "the role is an ordinary one",
    "notifications arrive",
    "2 nodes take up to 40 connections (DATABASE_POOL_SIZE 16 and 4 each) of 97",
    "the database's clock agrees with this machine's",
    "no migration is missing",
    "what is acknowledged is on disk",
    "only roles that were named may connect",
    "notifications are read",
    "JWKS_URL gives 1 EdDSA keys",
    "MANA_AUTH_URL answers, and takes the key",
    "it is a primary",
    "it can be told from a copy",
    "CORS_ORIGINS names 1 origins",
];

/// What is said of a slow disk.
const SLOW_DISK: &str = "give the WAL (pg_wal) a disk that flushes quicker";

/// A node's variables, and a durable database of their own.
struct Clinic {
    world: World,
    server: EmbeddedPostgres,
    variables: Vec<(String, String)>,
}

impl Clinic {
    /// With a database that is prepared as the docs say.
    async fn new() -> Self {
        let server = EmbeddedPostgres::start(Settings {
            bindir: pg_bindir(),
            data: None,
            durability: Durability::Durable,
            extra: vec![("max_connections".to_owned(), "100".to_owned())],
        });
        let (world, server) = (World::new().await, server.await.unwrap());
        server.create_role(ROLE).await.unwrap();
        server.create_database("sync", ROLE, None).await.unwrap();
        let mut clinic = Self { world, server, variables: Vec::new() };
        clinic.run("revoke connect on database sync from public").await;
        let url = clinic.server.url(ROLE, "sync");
        Store::prepare(&url).await.unwrap();
        let issuer = clinic.world.issuer_address;
        clinic.set("DATABASE_URL", &url);
        clinic.set("JWKS_URL", &format!("http://{issuer}/.well-known/jwks.json"));
        clinic.set("MANA_AUTH_URL", &format!("http://{issuer}"));
        clinic.set("MANA_SERVICE_KEY", SERVICE_KEY);
        clinic.set("CORS_ORIGINS", "http://localhost:5173");
        clinic
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// As the superuser.
    async fn run(&self, sql: &str) {
        let mut admin = PgConnection::connect(&self.server.url("postgres", "sync")).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }

    /// What `doctor` says, by lines, and its exit code.
    async fn doctor(&self, flags: &[&str]) -> (Vec<String>, i32) {
        let variables: Vec<_> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut process = Process::start_with("doctor", flags, &variables);
        let code = process.ended().await.code().unwrap();
        assert_eq!(process.err(), "");
        (process.out().lines().map(str::to_owned).collect(), code)
    }

    /// What `doctor` finds wrong, each of which stands in the docs.
    async fn ails(&self, flags: &[&str]) -> Vec<String> {
        let (lines, code) = self.doctor(flags).await;
        let mut wrong: Vec<_> =
            lines.into_iter().filter(|line| line.starts_with("WRONG ")).collect();
        assert_eq!(code, i32::from(!wrong.is_empty()), "{wrong:?}");
        for line in &wrong {
            say(line);
            assert!(documented(line), "docs/operations.md does not show: {line}");
        }
        // Other tests may keep this machine's disk busy.
        wrong.retain(|line| !line.contains(SLOW_DISK));
        wrong
    }
}

/// Whether the docs show this line, but for numbers and what is made up anew each time.
fn documented(line: &str) -> bool {
    let plain = |line: &str| -> String {
        line.chars().filter(|sign| !sign.is_ascii_digit()).collect::<String>()
    };
    DOCS.lines().any(|shown| plain(shown) == plain(line))
}

/// The one thing that is wrong.
fn only(wrong: &[String]) -> &str {
    let [line] = wrong else { panic!("{wrong:#?}") };
    line
}

#[tokio::test]
async fn nothing_is_wrong_with_a_node_that_is_set_up_as_the_docs_say() {
    let clinic = Clinic::new().await;
    let (lines, _) = clinic.doctor(&["--nodes=2"]).await;
    for said in WELL {
        let line = format!("ok    {said}");
        assert!(lines.iter().any(|known| known.starts_with(&line)), "{said}: {lines:#?}");
    }
    assert!(clinic.ails(&["--nodes=2"]).await.is_empty());
}

#[tokio::test]
async fn a_superuser_and_a_missing_migration_are_told_of() {
    let mut clinic = Clinic::new().await;
    clinic.server.create_database("empty", ROLE, None).await.unwrap();
    clinic.set("DATABASE_URL", &clinic.server.url("postgres", "empty"));
    let wrong = clinic.ails(&[]).await;
    assert!(wrong[0].contains("bypasses row-level security"), "{wrong:#?}");
    assert!(wrong[1].contains("migrations are missing"), "{wrong:#?}");
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
}

#[tokio::test]
async fn listening_through_a_transaction_pooler_is_told_of() {
    let mut clinic = Clinic::new().await;
    let port = free_port();
    let settings = clinic.server.data().with_file_name("pooler.ini");
    // Any user is let in, as the role of the nodes.
    let text = format!(
        "[databases]\nsync = host=127.0.0.1 port={} user={ROLE}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\npool_mode = transaction\n\
         ignore_startup_parameters = options,extra_float_digits\n",
        clinic.server.port()
    );
    std::fs::write(&settings, text).unwrap();
    let known = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"];
    let program = known.into_iter().find(|path| Path::new(path).exists()).expect("pgbouncer");
    let mut command = clinic.server.command(program);
    let pooler = Process::spawn(command.arg(&settings));
    eventually("the pooler", async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
    clinic.set("LISTEN_DATABASE_URL", &format!("postgres://{ROLE}@127.0.0.1:{port}/sync"));
    let wrong = clinic.ails(&[]).await;
    assert!(
        only(&wrong).contains("LISTEN_DATABASE_URL leads through a pooler"),
        "{}",
        pooler.err()
    );
}

#[tokio::test]
async fn a_fleet_that_takes_more_connections_than_there_are_is_told_of() {
    let clinic = Clinic::new().await;
    let wrong = clinic.ails(&["--nodes=5"]).await;
    assert!(only(&wrong).contains("raise max_connections"), "{wrong:#?}");
    assert!(clinic.ails(&["--nodes=4"]).await.is_empty(), "80 of 97");
}

#[tokio::test]
async fn a_disk_that_flushes_slowly_is_told_of() {
    let clinic = Clinic::new().await;
    // Each commit waits so many microseconds for others to flush with.
    clinic.run("alter database sync set commit_siblings = 0").await;
    clinic.run("alter database sync set commit_delay = 40000").await;
    let (lines, code) = clinic.doctor(&[]).await;
    let line = lines.iter().find(|line| line.contains(SLOW_DISK)).expect("the disk");
    say(line);
    assert!(line.starts_with("WRONG ") && documented(line) && code == 1, "{lines:#?}");
}

#[tokio::test]
async fn an_issuer_without_eddsa_keys_or_with_a_wrong_clock_is_told_of() {
    let mut clinic = Clinic::new().await;
    let keys = || async {
        let hour = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
        let hour = hour.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap();
        let date = jiff::fmt::rfc2822::to_string(&hour).unwrap();
        ([(DATE, date)], r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/keys", get(keys));
    tokio::spawn(async move { axum::serve(listener, router).await });
    clinic.set("JWKS_URL", &format!("http://{address}/keys"));
    let wrong = clinic.ails(&[]).await;
    assert!(wrong[0].contains("no usable Ed25519 key"), "{wrong:#?}");
    assert!(wrong[1].contains("the issuer's clock is 3"), "{wrong:#?}");
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
    clinic.set("JWKS_URL", "http://127.0.0.1:1/keys");
    assert!(only(&clinic.ails(&[]).await).contains("not reached"));
}

#[tokio::test]
async fn origins_with_a_typing_error_are_told_of() {
    let mut clinic = Clinic::new().await;
    clinic.set("CORS_ORIGINS", "http://localhost:5173,htps://app.example,https://app.invalid");
    let wrong = clinic.ails(&[]).await;
    assert!(wrong[0].contains("no browser knows the scheme of htps://app.example"), "{wrong:#?}");
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    let (lines, _) = clinic.doctor(&[]).await;
    let note = "note  CORS_ORIGINS: the host of https://app.invalid is not known here";
    assert!(lines.iter().any(|line| line.starts_with(note) && documented(line)), "{lines:#?}");
}

#[tokio::test]
async fn a_key_that_the_auth_service_does_not_take_is_told_of() {
    let mut clinic = Clinic::new().await;
    clinic.set("MANA_SERVICE_KEY", "another");
    let wrong = clinic.ails(&[]).await;
    assert!(only(&wrong).contains("it does not take MANA_SERVICE_KEY"), "{wrong:#?}");
}

#[tokio::test]
async fn a_role_that_may_not_ask_which_database_it_is_is_told_of() {
    let clinic = Clinic::new().await;
    clinic.run("revoke execute on function pg_current_wal_lsn() from public").await;
    let wrong = clinic.ails(&[]).await;
    assert!(only(&wrong).contains("it can't be told from a copy"), "{wrong:#?}");
}
