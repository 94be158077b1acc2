//! Log lines for programs.

use serde_json::Value;

use super::{Process, launch};
use crate::support::World;

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
