//! What a port serves, and to whom; and that the threat model names tests that there are.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use reqwest::StatusCode;

use crate::memberships::invalidate_at;
use crate::protocol::talk::http;
use crate::support::World;
use crate::support::world::TestNode;

async fn status(url: &str, path: &str) -> StatusCode {
    http().get(format!("{url}{path}")).send().await.unwrap().status()
}

#[tokio::test]
async fn a_port_for_operators_takes_theirs_away_from_the_clients() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.admin_address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let TestNode { url, node } = world.start(settings).await;
    let admin = format!("http://{}", node.admin_address());
    assert_ne!(url, admin);
    assert_eq!(status(&url, "/metrics").await, StatusCode::NOT_FOUND);
    assert_eq!(invalidate_at(&url, "alice").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(status(&admin, "/metrics").await, StatusCode::OK);
    assert_eq!(invalidate_at(&admin, "alice").await.status(), StatusCode::NO_CONTENT);
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(
            (status(&url, path).await, status(&admin, path).await),
            (StatusCode::OK, StatusCode::OK)
        );
    }
    for path in ["/sync/todo/pull", "/sync/todo/stream", "/ws"] {
        assert_eq!(status(&admin, path).await, StatusCode::NOT_FOUND);
        assert_ne!(status(&url, path).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn without_one_a_port_serves_all() {
    let world = World::new().await;
    let TestNode { url, node } = world.node().await;
    assert_eq!(url, format!("http://{}", node.admin_address()));
    for path in ["/metrics", "/health/ready"] {
        assert_eq!(status(&url, path).await, StatusCode::OK);
    }
}

/// An empty changeset, compressed by gzip.
const COMPRESSED: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 206, 72, 204, 75, 79, 45, 86, 178, 138, 142, 173,
    5, 0, 203, 205, 88, 83, 14, 0, 0, 0,
];

#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let world = World::new().await;
    let node = world.node().await;
    let request = http()
        .post(format!("{}/sync/todo", node.url))
        .bearer_auth(world.client("alice", "a").token)
        .header("Content-Encoding", "gzip")
        .body(COMPRESSED);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(answer.text().await.unwrap().contains("invalid_json"));
}

/// The names of all tests below a folder.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let marked = text.split("#[test]").skip(1);
        for after in marked.chain(text.split("#[tokio::test").skip(1)) {
            let name = after.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            found.extend(name.map(str::to_owned));
        }
    }
}

#[test]
fn the_threat_model_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    for folder in ["src", "tests/it"] {
        tests(&root.join(folder), &mut there);
    }
    let text = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 4);
    let mut named = 0;
    for row in rows.filter(|row| !row.starts_with("| attack")) {
        let shown = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        for name in shown.split('`').skip(1).step_by(2) {
            assert!(there.contains(name), "there is no test {name}: {row}");
            named += 1;
        }
    }
    assert!(named > 60, "only {named} tests are named");
}
