//! Paths, methods, and who may call.

use reqwest::Method;
use reqwest::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, ORIGIN};

use super::talk::{http, one_node, refusal};
use crate::support::World;

const GET_ONLY: [&str; 8] = [
    "/sync/todo/pull",
    "/sync/todo/stream",
    "/ws",
    "/ws/todo",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
];

// P-95: An unknown path gets 404
#[tokio::test]
async fn there_is_nothing_elsewhere() {
    let (_world, node) = one_node().await;
    for path in ["/", "/sync", "/sync/", "/sync/todo/", "/sync/todo/push", "/Health", "/ws/a/b"] {
        for method in [Method::GET, Method::POST] {
            let request = http().request(method, format!("{}{path}", node.url));
            let (status, code, _) = refusal(request.send().await.unwrap()).await;
            assert_eq!((status, code.as_str()), (404, "not_found"), "{path}");
        }
    }
}

// P-95: a wrong method 405 with `Allow`
#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let (_world, node) = one_node().await;
    let get = GET_ONLY.map(|path| (path, Method::POST, "GET"));
    let invalidate = "/internal/memberships/alice/invalidate";
    let post = ["/sync/todo", invalidate].map(|path| (path, Method::GET, "POST"));
    for (path, wrong, right) in get.into_iter().chain(post) {
        for method in [wrong, Method::PUT, Method::DELETE, Method::PATCH] {
            let request = http().request(method.clone(), format!("{}{path}", node.url));
            let response = request.send().await.unwrap();
            let allow = response.headers()[ALLOW].to_str().unwrap().to_owned();
            assert!(allow.split(',').any(|one| one.trim() == right), "{path}: {allow}");
            let (status, code, _) = refusal(response).await;
            assert_eq!((status, code.as_str()), (405, "method_not_allowed"), "{method} {path}");
        }
    }
}

// P-99: `HEAD` answers as `GET` does, without a body.
#[tokio::test]
async fn a_head_is_a_get_without_a_body() {
    let (world, node) = one_node().await;
    let token = world.client("alice", "laptop").token;
    let head = async |path: &str| {
        let request = http().head(format!("{}{path}", node.url)).bearer_auth(&token);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap().len())
    };
    for path in ["/health", "/health/ready", "/metrics", "/sync/todo/stream"] {
        assert_eq!(head(path).await, (200, 0), "{path}");
    }
    assert_eq!(head("/sync/todo/pull?collection=a&since=").await, (200, 0));
    assert_eq!(head("/sync/todo/pull").await, (400, 0));
    assert_eq!(head("/nowhere").await, (404, 0));
}

/// What pages send along.
const HEADERS: [&str; 4] = ["authorization", "content-type", "x-client-id", "last-event-id"];

// P-100: Pages of the origins in `CORS_ORIGINS`, exactly as written there, may call the node
#[tokio::test]
async fn only_known_origins_may_call() {
    let world = World::new().await;
    let flag = "--cors-origins=https://app.example,http://localhost:5173";
    let node = world.start(world.settings_with(&[flag])).await;
    let allowed = async |method: Method, origin: &str| {
        let request = http().request(method, format!("{}/sync/todo", node.url));
        let request = request
            .header(ORIGIN, origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", HEADERS.join(","));
        let response = request.send().await.unwrap();
        let origin = response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN);
        (origin.map(|o| o.to_str().unwrap().to_owned()), response)
    };
    for origin in ["https://app.example", "http://localhost:5173"] {
        let (named, preflight) = allowed(Method::OPTIONS, origin).await;
        assert_eq!((named.as_deref(), preflight.status().as_u16()), (Some(origin), 200));
        let names = preflight.headers()["access-control-allow-headers"].to_str().unwrap();
        for name in HEADERS {
            assert!(names.contains(name), "{names}");
        }
        // A page must be able to read a refusal, too.
        let (named, refused) = allowed(Method::POST, origin).await;
        assert_eq!((named.as_deref(), refused.status().as_u16()), (Some(origin), 401));
    }
    for origin in [
        "https://app.example.evil.com",
        "https://evil-app.example",
        "http://app.example",
        "null",
        "https://app.example:8443",
        "http://localhost:5174",
        "https://app.example/",
        "*",
    ] {
        for method in [Method::OPTIONS, Method::POST] {
            assert_eq!(allowed(method, origin).await.0, None, "{origin}");
        }
    }
}
