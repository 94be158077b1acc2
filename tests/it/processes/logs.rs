//! Log lines for programs.

use serde_json::{Value, json};

use super::{Process, launch};
use crate::support::{World, insert};

/// The lines that a node has written when it has come and gone.
async fn log(mut node: Process) -> String {
    node.ready().await;
    node.signal("TERM");
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.err());
    assert_eq!(node.out(), "", "lines go to standard error");
    node.err()
}

const AT_ONCE: [&str; 2] = ["--drain-delay-seconds=0", "--drain-spread-seconds=0"];

#[tokio::test]
async fn each_line_is_an_object_where_that_is_asked_for() {
    let world = World::new().await;
    let asked = [("LOG_FORMAT", "json"), ("LOG", "info,mana_sync=debug")];
    let text = log(launch(&world, &AT_ONCE, &asked)).await;
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line:?}")))
        .collect();
    for line in &lines {
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line[name].is_string(), "no {name} in {line}");
        }
        let time = line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>();
        assert!(time.is_ok(), "{line}");
    }
    let said = |message: &str| lines.iter().find(|line| line["message"] == message);
    let serving = said("serving").expect("it says that it serves");
    let address = serving["address"].as_str().unwrap();
    assert!(address.parse::<std::net::SocketAddr>().is_ok(), "a field is a field: {serving}");
    assert!(said("leaving").is_some(), "{text}");
}

#[tokio::test]
async fn lines_are_for_people_otherwise() {
    let world = World::new().await;
    let text = log(launch(&world, &AT_ONCE, &[])).await;
    assert!(text.lines().any(|line| line.contains("INFO") && line.contains("serving")), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours in a file: {text}");
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_err()), "{text}");
}

#[tokio::test]
async fn a_request_is_one_line_that_names_its_user_by_a_pseudonym_alone() {
    let world = World::new().await;
    let asked = [("LOG_FORMAT", "json"), ("LOG_USER_KEY", "k"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let mut node = launch(&world, &AT_ONCE, &asked);
    node.ready().await;
    let (alice, http) = (world.client("alice", "laptop"), reqwest::Client::new());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let said = alice.push(&node.url, &[insert("r1", &json!({"title": "Milk"}))]).await;
    assert!(said["syncedUntil"].is_string());
    let pull = format!("{}/sync/todo/pull?collection=tasks&since=", node.url);
    let answer = http
        .get(pull.replace("todo", &alice.app))
        .bearer_auth(&alice.token)
        .header("x-request-id", "from-the-ingress")
        .header("x-forwarded-for", "6.6.6.6, 203.0.113.7")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-request-id"], "from-the-ingress");
    let refused = http.get(pull).bearer_auth("not.a.token").send().await.unwrap();
    let given = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
    let stream = alice.stream(&node.url, "tasks", "").await;
    let text = log(node).await;
    drop(stream);

    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // A probe that finds the node not ready yet is a line too.
    let asked = |line: &&Value| {
        line["message"] == "request" && line["route"].as_str().unwrap().starts_with("/sync/")
    };
    let requests: Vec<_> = lines.iter().filter(asked).collect();
    let seen: Vec<_> = requests
        .iter()
        .map(|line| {
            let part = |key: &str| line[key].as_str().unwrap().to_owned();
            (part("method"), part("route"), line["status"].as_u64().unwrap())
        })
        .collect();
    let expected = [
        ("POST", "/sync/{app_id}", 200),
        ("GET", "/sync/{app_id}/pull", 200),
        ("GET", "/sync/{app_id}/pull", 401),
        ("GET", "/sync/{app_id}/stream", 200),
    ];
    let expected = expected.map(|(method, route, status)| (method.into(), route.into(), status));
    assert_eq!(seen, expected, "{text}");
    let [push, pull, unknown, stream] = requests[..] else { unreachable!() };
    let name = push["user"].as_str().unwrap();
    assert!(name.len() == 16 && pull["user"] == name && stream["user"] == name, "{text}");
    assert!(unknown["user"].is_null(), "{unknown}");
    assert!(requests.iter().all(|line| line["duration_ms"].as_f64() > Some(0.0)), "{text}");
    assert_eq!(pull["request_id"], "from-the-ingress");
    assert_eq!((&pull["trace_id"], &pull["client"]), (&json!(trace), &json!("203.0.113.7")));
    assert_eq!((&unknown["request_id"], &unknown["client"]), (&json!(given), &json!("127.0.0.1")));
    let ended = lines.iter().find(|line| line["message"] == "ended").expect("the stream's end");
    assert_eq!((&ended["reason"], &ended["kind"]), (&json!("drained"), &json!("stream")));
    assert_eq!((&ended["request_id"], &ended["user"]), (&stream["request_id"], &json!(name)));
    for secret in ["alice", &alice.token, "not.a.token", "Milk", "tasks", "laptop"] {
        assert!(!text.contains(secret), "{secret} stands in the log: {text}");
    }
}
