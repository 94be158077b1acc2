//! `serve` with wrong settings, `migrate`, and `token`.

use sqlx::{Connection, PgConnection};

use super::{Process, serve};
use crate::support::world::{ROLE, postgres};
use crate::support::{World, eventually};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const JWKS: &str = "http://127.0.0.1:1/jwks.json";

/// Runs `serve` to its refusal, and gives the sentence.
async fn refusal(variables: &[(&str, &str)]) -> String {
    let mut process = Process::start_with("serve", &[], variables);
    assert_eq!(process.ended().await.code(), Some(2), "{}", process.err());
    assert_eq!(process.out(), "");
    let said = process.err();
    assert_eq!(said.trim_end().lines().count(), 1, "one sentence: {said:?}");
    said
}

#[tokio::test]
async fn wrong_settings_end_with_one_sentence_that_names_the_variable() {
    let right = [("DATABASE_URL", NOWHERE), ("JWKS_URL", JWKS)];
    let cases = [
        ("PORT", "eighty"),
        ("BIND", "localhost"),
        ("DATABASE_URL", "mysql://db/sync"),
        ("LISTEN_DATABASE_URL", "not a url"),
        ("JWKS_URL", "ftp://issuer/keys"),
        ("MANA_AUTH_URL", "issuer"),
        ("CORS_ORIGINS", "https://a.example/path"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("DATABASE_POOL_SIZE", "2"),
        ("WRITER_LANES", "0"),
        ("HEARTBEAT_MS", "1"),
        ("LIMIT_STREAMS", "many"),
        ("DRAIN_DEADLINE_SECONDS", "1"),
        ("PUSH_TIMEOUT_SECONDS", "2"),
        ("LOG_FORMAT", "xml"),
        ("LOG", "mana_sync=loud"),
    ];
    for (name, value) in cases {
        let said = refusal(&[&right[..], &[(name, value)]].concat()).await;
        let sentence = said.trim_start_matches("mana-sync: ");
        assert!(sentence.starts_with(name), "{name}={value}: {said:?}");
    }
    let key = refusal(&[&right[..], &[("MANA_AUTH_URL", "http://auth")]].concat()).await;
    assert!(key.contains("MANA_SERVICE_KEY must be set"), "{key:?}");
    let missing = refusal(&[]).await;
    assert!(missing.contains("DATABASE_URL") && missing.contains("JWKS_URL"), "{missing:?}");
    let secret = "postgres://nobody:hunter2@127.0.0.1:99999/nothing";
    let hidden = refusal(&[("DATABASE_URL", secret), ("JWKS_URL", JWKS)]).await;
    assert!(!hidden.contains("hunter2"), "a password is never printed: {hidden:?}");
}

#[tokio::test]
async fn a_role_that_bypasses_row_level_security_is_refused_with_a_way_out() {
    World::new().await;
    let url = postgres().await.url("postgres", "postgres");
    for command in ["serve", "migrate"] {
        let url = format!("--database-url={url}");
        let jwks = format!("--jwks-url={JWKS}");
        let flags = [url.as_str(), jwks.as_str()];
        let flags = if command == "serve" { &flags[..] } else { &flags[..1] };
        let mut process = Process::start(command, flags);
        assert_eq!(process.ended().await.code(), Some(2));
        let said = process.err();
        assert_eq!(said.trim_end().lines().count(), 1, "one sentence: {said:?}");
        assert!(said.contains("bypasses row-level security"), "{said:?}");
        assert!(said.contains("create role mana_sync login"), "{said:?}");
    }
}

#[tokio::test]
async fn migrate_prepares_an_empty_database_and_may_be_repeated() {
    let postgres = postgres().await;
    let name = format!("migrate_{}", std::process::id());
    postgres.create_database(&name, ROLE, None).await.unwrap();
    let url = postgres.url(ROLE, &name);
    for _ in 0..2 {
        let mut process = Process::start("migrate", &[&format!("--database-url={url}")]);
        assert_eq!(process.ended().await.code(), Some(0), "{}", process.err());
        assert_eq!(process.out(), "The database is up to date.\n");
    }
    let mut sql = PgConnection::connect(&url).await.unwrap();
    let clock: bool =
        sqlx::query_scalar("select sync_horizon() is not null").fetch_one(&mut sql).await.unwrap();
    assert!(clock);
}

#[tokio::test]
async fn nodes_may_start_at_once_on_an_empty_database() {
    let mut world = World::new().await;
    let postgres = postgres().await;
    let name = format!("together_{}", std::process::id());
    postgres.create_database(&name, ROLE, None).await.unwrap();
    world.database = postgres.url(ROLE, &name);
    let serve = || serve(&world, &[]);
    let (first, second, third) = tokio::join!(serve(), serve(), serve());
    for node in [first, second, third] {
        assert_eq!(node.status("/health/ready").await, Some(200));
    }
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_is_said_in_one_sentence() {
    let said = refusal(&[("DATABASE_URL", NOWHERE), ("JWKS_URL", JWKS)]).await;
    assert!(said.contains("database"), "{said:?}");
}

#[tokio::test]
async fn health_tells_a_ready_node_from_one_that_is_not() {
    let world = World::new().await;
    let mut node =
        serve(&world, &["--drain-delay-seconds=20", "--drain-deadline-seconds=60"]).await;
    let port = node.url.rsplit(':').next().unwrap().to_owned();
    let health = async || {
        let mut process = Process::start_with("health", &[], &[("PORT", &port)]);
        (process.ended().await.code(), process.out() + &process.err())
    };
    assert_eq!(health().await, (Some(0), "ready\n".to_owned()));
    node.signal("TERM");
    let said = eventually("the leave", async || {
        let (code, said) = health().await;
        (code == Some(1)).then_some(said)
    });
    let said = said.await;
    assert!(said.contains("is not ready") && said.contains("the node is leaving"), "{said:?}");
    node.signal("KILL");
    node.ended().await;
    let (code, said) = health().await;
    assert!(code == Some(1) && said.contains("no node answers at 127.0.0.1:"), "{said:?}");
}
