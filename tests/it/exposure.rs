//! What a port serves, and to whom.

use std::net::SocketAddr;

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
