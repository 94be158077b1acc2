//! `mana-sync dev`: the guide, the tour, and that nothing is left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::Process;
use super::process::is_alive;
use crate::protocol::talk::http;
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

/// Where the guide says that something is.
pub fn place(guide: &str, name: &str) -> String {
    let line = guide.lines().find_map(|line| line.trim().strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} is not in {guide}"))
        .trim()
        .trim_end_matches('/')
        .to_owned()
}

#[tokio::test]
async fn the_console_stops_and_starts_replicas_and_makes_members() {
    let (fleet, _folder, _) = fleet().await;
    let (console, second) = (place(&fleet.out(), "console"), place(&fleet.out(), "replica 2"));
    let page = http().get(&console).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains(&second), "the page may speak to all replicas: {policy}");
    assert!(page.text().await.unwrap().contains("data-speaks-to=\"fleet\""));
    let post = async |path: &str| {
        let answer = http().post(format!("{console}/dev/{path}")).send().await.unwrap();
        answer.status().as_u16()
    };
    let told = async || {
        let answer = http().get(format!("{console}/dev/fleet")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["replicas"][1].clone()
    };
    let ready = async || http().get(format!("{second}/health/ready")).send().await.is_ok();

    for (act, state) in [("stop", "stopped"), ("start", "running"), ("drain", "stopped")] {
        assert_eq!(post(&format!("replicas/2/{act}")).await, 204, "{act}");
        assert_eq!(
            (told().await["state"].as_str(), ready().await),
            (Some(state), state == "running")
        );
    }
    assert_eq!(post("replicas/2/start").await, 204);
    let replica = told().await;
    assert_eq!(replica["url"], second, "it is where it was");
    assert!(replica["watermark"].as_str() >= replica["horizon"].as_str(), "{replica}");
    for wrong in ["replicas/3/stop", "replicas/0/stop", "replicas/1/burn"] {
        assert_eq!(post(wrong).await, 404, "{wrong}");
    }

    let token = http().get(format!("{console}/token?user=carol")).send().await.unwrap();
    let token = token.text().await.unwrap();
    let spaces = async || {
        let pull = format!("{second}/sync/todo/pull?collection=tasks&since=1970-01-01T00:00:00Z");
        let answer = http().get(pull).bearer_auth(&token).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["spaces"].clone()
    };
    assert_eq!(spaces().await, serde_json::json!([]));
    assert_eq!(post("spaces/home/members/carol").await, 204);
    assert_eq!(spaces().await, serde_json::json!(["home"]), "the fleet was told");
}

/// The origin that an answer allows to a page of `origin`.
async fn allowed(url: &str, origin: &str) -> Option<String> {
    let ask = http().get(url).header("origin", origin);
    let answer = ask.send().await.unwrap();
    let allowed = answer.headers().get("access-control-allow-origin");
    allowed.map(|origin| origin.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn pages_of_the_origins_that_the_guide_names_may_call_the_fleet() {
    let folder = folder();
    let own = "http://localhost:8080,https://app.test";
    let flags = ["--port=0", "--cors-origins", own, &data(&folder)];
    let fleet = Process::start("dev", &flags);
    fleet.says("Ctrl-C stops everything.\n").await;
    let (replica, named) = (place(&fleet.out(), "replica 2"), place(&fleet.out(), "pages of"));
    let console = place(&fleet.out(), "console");
    assert_eq!(
        named,
        format!(
            "{console}, {}, http://localhost:5173, {}",
            console.replace("127.0.0.1", "localhost"),
            own.replace(',', ", ")
        )
    );
    for url in [format!("{replica}/health"), format!("{console}/token?user=alice")] {
        for origin in named.split(", ") {
            assert_eq!(allowed(&url, origin).await.as_deref(), Some(origin), "{url}");
        }
        assert_eq!(allowed(&url, "http://localhost:8081").await, None, "{url}");
    }
}

#[tokio::test]
async fn the_fleet_obeys_no_page_of_another_origin() {
    let (fleet, _folder, _) = fleet().await;
    let console = place(&fleet.out(), "console");
    let stop = format!("{console}/dev/replicas/1/stop");
    let port = console.rsplit(':').next().unwrap();
    let strangers = [
        ("origin", "https://evil.example".to_owned()),
        ("origin", format!("http://evil.example:{port}")),
        ("origin", "null".to_owned()),
        // A name of theirs that leads here.
        ("host", format!("evil.example:{port}")),
    ];
    for (name, value) in strangers {
        let answer = http().post(&stop).header(name, &value).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    let answer = http().post(&stop).header("origin", &console).send().await.unwrap();
    assert_eq!(answer.status(), 204, "its own page is obeyed");
}
