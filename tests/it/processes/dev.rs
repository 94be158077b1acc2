//! `mana-sync dev`: the guide, the tour, and that nothing is left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::Process;
use super::process::is_alive;
use crate::support::eventually;

/// A folder that the account of the fleet's Postgres can reach.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

pub fn data(folder: &TempDir) -> String {
    format!("--data={}", folder.path().join("data").display())
}

/// The fleet's Postgres: the first line of its lock file.
fn postgres_of(folder: &Path) -> u32 {
    let file = folder.join("data/postgres/postmaster.pid");
    let text =
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().next().unwrap().parse().unwrap()
}

/// A fleet whose guide is printed: it, its folder, and the curl lines.
pub async fn fleet() -> (Process, TempDir, Vec<String>) {
    let folder = folder();
    let fleet = Process::start("dev", &["--port=0", &data(&folder)]);
    fleet.says("Ctrl-C stops everything.\n").await;
    let guide = fleet.out();
    let lines = guide.lines().map(str::trim).filter(|line| line.starts_with("curl "));
    let lines = lines.map(ToOwned::to_owned).collect();
    (fleet, folder, lines)
}

/// What a line of the guide prints, run to its end.
async fn shell(line: &str) -> String {
    let mut process = Process::shell(line);
    assert_eq!(process.ended().await.code(), Some(0), "{line}: {}", process.err());
    process.out()
}

#[tokio::test]
async fn the_lines_of_the_guide_work_as_printed() {
    let (mut fleet, folder, lines) = fleet().await;
    let [stream, push, pull] = lines.as_slice() else { panic!("three lines: {}", fleet.out()) };
    let bob = Process::shell(stream);
    bob.says("event: spaces\n").await;
    let answer = shell(push).await;
    assert!(answer.contains("\"syncedUntil\""), "{answer}");
    assert!(!answer.contains("unpublished"), "alice is a member: {answer}");
    bob.says("\"title\":\"Milk\"").await;
    let pulled = shell(pull).await;
    assert!(pulled.contains("\"title\":\"Milk\""), "{pulled}");

    let mut token = Process::start("token", &["--user=bob", &data(&folder)]);
    assert_eq!(token.ended().await.code(), Some(0), "{}", token.err());
    let url = pull.rsplit(' ').next().unwrap();
    let with_token = format!("curl -s -H 'Authorization: Bearer {}' {url}", token.out().trim());
    assert_eq!(shell(&with_token).await, pulled, "with a token of the command");

    let postgres = postgres_of(folder.path());
    assert!(is_alive(postgres));
    fleet.signal("INT");
    assert_eq!(fleet.ended().await.code(), Some(0), "{}", fleet.err());
    assert!(!is_alive(postgres), "Postgres is left running");
}

#[tokio::test]
async fn a_killed_fleet_leaves_nothing_running() {
    let (mut fleet, folder, _) = fleet().await;
    let postgres = postgres_of(folder.path());
    assert!(is_alive(postgres));
    fleet.kill();
    eventually("the end of Postgres", async || (!is_alive(postgres)).then_some(())).await;
    let mut again = Process::start("dev", &["--port=0", "--demo", &data(&folder)]);
    assert_eq!(again.ended().await.code(), Some(0), "it starts again: {}", again.err());
}

#[tokio::test]
async fn the_tour_tells_what_was_pushed_where_and_what_arrived_where() {
    let folder = folder();
    let mut tour = Process::start("dev", &["--demo", "--port=0", "--replicas=3", &data(&folder)]);
    assert_eq!(tour.ended().await.code(), Some(0), "{}", tour.err());
    let told = tour.out();
    for replica in 1..=3 {
        let pushed = format!("through replica {replica}: acknowledged after ");
        let received = format!("bob received it through replica {replica}, ");
        assert!(told.contains(&pushed) && told.contains(&received), "replica {replica}: {told}");
    }
    assert!(told.contains(" ms after the push."), "{told}");
    let lock = folder.path().join("data/postgres/postmaster.pid");
    assert!(!Path::new(&lock).exists(), "Postgres was stopped in good order");
}

#[tokio::test]
async fn a_token_is_printed_without_a_fleet() {
    let folder = folder();
    let mut token = Process::start("token", &["--user=alice", "--ttl=60", &data(&folder)]);
    assert_eq!(token.ended().await.code(), Some(0), "{}", token.err());
    assert_eq!(token.out().trim().split('.').count(), 3, "{}", token.out());
}
