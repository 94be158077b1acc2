//! Against the machine's own Postgres.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Instant;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};

use super::*;

fn fast() -> Settings {
    Settings { durability: Durability::Fast, ..Settings::default() }
}

fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn an_ordinary_role_owns_its_database() {
    let postgres = EmbeddedPostgres::start(fast()).await.unwrap();
    for _ in 0..2 {
        postgres.create_role("app \"1\" /é").await.unwrap();
    }
    assert!(postgres.create_database("first", "app \"1\" /é", None).await.unwrap());
    assert!(!postgres.create_database("first", "app \"1\" /é", None).await.unwrap());

    let url = postgres.url("app \"1\" /é", "first");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("create table t (n int); insert into t values (1)").await.unwrap();
    let role = "select rolsuper or rolbypassrls from pg_roles where rolname = current_user";
    let above_policies: bool = connection.fetch_one(role).await.unwrap().get(0);
    assert!(!above_policies);
    connection.close().await.unwrap();

    postgres.create_database("second", "app \"1\" /é", Some("first")).await.unwrap();
    let url = postgres.url("app \"1\" /é", "second");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let copied: i32 = connection.fetch_one("select n from t").await.unwrap().get(0);
    assert_eq!(copied, 1);
    // Connected as it is.
    postgres.drop_database("second").await.unwrap();
    postgres.drop_database("second").await.unwrap();

    let (port, data) = (postgres.port(), postgres.data().to_owned());
    assert!(data.exists());
    drop(postgres);
    assert!(!accepts(port));
    assert!(!data.parent().unwrap().exists());
}

#[tokio::test]
async fn a_commit_survives_a_hard_kill() {
    let mut postgres = EmbeddedPostgres::start(fast()).await.unwrap();
    let url = postgres.url(SUPERUSER, "postgres");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("create table t as select 1 as n").await.unwrap();

    let pid = postgres.pid();
    postgres.kill_hard();
    assert!(!accepts(postgres.port()));
    postgres.restart().await.unwrap();
    assert_ne!(postgres.pid(), pid);
    assert_eq!(postgres.url(SUPERUSER, "postgres"), url);

    // Once more, while a connection's process may still hold the shared memory.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    postgres.restart().await.unwrap();
    assert!(connection.execute("select 1").await.is_err());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let kept: i32 = connection.fetch_one("select n from t").await.unwrap().get(0);
    assert_eq!(kept, 1);
    postgres.stop().await;
}

#[tokio::test]
async fn a_lasting_folder_keeps_its_data_and_takes_further_settings() {
    let parent = tempfile::tempdir().unwrap();
    // Whom root runs the server as must be able to enter.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(parent.path(), open).unwrap();
    let settings = Settings {
        data: Some(parent.path().join("below").join("data")),
        extra: vec![("max_connections".to_owned(), "7".to_owned())],
        ..Settings::default()
    };

    let postgres = EmbeddedPostgres::start(settings.clone()).await.unwrap();
    postgres.create_role("owner").await.unwrap();
    assert!(postgres.create_database("kept", "owner", None).await.unwrap());
    assert_eq!(std::fs::metadata(postgres.data()).unwrap().mode() & 0o777, 0o700);
    let mut controldata = postgres.command("pg_controldata");
    controldata.env("LC_ALL", "C").arg(postgres.data());
    postgres.stop().await;
    let state = String::from_utf8(controldata.output().unwrap().stdout).unwrap();
    assert!(state.contains("shut down\n"), "not stopped in good order: {state}");

    let postgres = EmbeddedPostgres::start(settings).await.unwrap();
    assert!(!postgres.create_database("kept", "owner", None).await.unwrap());
    let mut connection = PgConnection::connect(&postgres.url("owner", "kept")).await.unwrap();
    let most: String = connection.fetch_one("show max_connections").await.unwrap().get(0);
    assert_eq!(most, "7");
    let data = postgres.data().to_owned();
    drop(postgres);
    assert!(data.exists());
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let mut settings = fast();
    settings.extra.push(("no_such_setting".to_owned(), "1".to_owned()));
    let error = EmbeddedPostgres::start(settings).await.unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");

    let settings = Settings { bindir: Some(PathBuf::from("/nowhere")), ..fast() };
    let error = EmbeddedPostgres::start(settings).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
}

/// Distinguishes the run of [`life_of_a_parent`] that [`the_server_dies_with_a_killed_parent`]
/// starts from one that somebody starts with `--ignored`.
const AS_A_PARENT: &str = "as-a-parent";

#[test]
#[cfg(target_os = "linux")]
fn the_server_dies_with_a_killed_parent() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact"])
        .args(["dev::postgres::tests::life_of_a_parent", AS_A_PARENT])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let said = lines.map(Result::unwrap).find_map(|line| {
        let (port, data) = line.strip_prefix("started ")?.split_once(' ')?;
        Some((port.parse::<u16>().unwrap(), PathBuf::from(data)))
    });
    let (port, data) = said.expect("the parent says where its server is");
    assert!(accepts(port));

    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the port is closed", || !accepts(port));
    eventually("the folder can be swept", || {
        nest::Nest::sweep();
        !data.exists()
    });
}

#[tokio::test]
#[ignore = "a part of the_server_dies_with_a_killed_parent"]
async fn life_of_a_parent() {
    if std::env::args().any(|argument| argument == AS_A_PARENT) {
        let postgres = EmbeddedPostgres::start(fast()).await.unwrap();
        println!("started {} {}", postgres.port(), postgres.data().display());
        std::future::pending::<()>().await;
    }
}
