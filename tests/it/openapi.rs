//! `/openapi.json` and docs/protocol.md say the same of routes, parameters and codes; the routes are
//! those that the node has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::codes::documented;
use crate::support::World;

const PROTOCOL: &str = include_str!("../../docs/protocol.md");

/// The document of a running node.
async fn document() -> Value {
    let world = World::new().await;
    let node = world.node().await;
    let answer = reqwest::get(format!("{}/openapi.json", node.url)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    answer.json().await.unwrap()
}

/// The operations: method, path, and what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap();
        methods.iter().map(|(method, says)| (method.to_uppercase(), path.clone(), says.clone()))
    });
    all.collect()
}

// P-105: `GET /openapi.json` describes all this for programs (OpenAPI 3.1)
#[tokio::test]
async fn its_routes_are_the_node_s() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let described: BTreeSet<String> =
        operations(&document).into_iter().map(|(_, path, _)| path).collect();
    let router = include_str!("../../src/http/mod.rs");
    let routed: BTreeSet<String> = router
        .split(".route(\"")
        .skip(1)
        .map(|route| route.split('"').next().unwrap().to_owned())
        .filter(|path| path != "/openapi.json")
        .collect();
    assert_eq!(described, routed, "left: the document, right: the router");
}

/// What a request takes: place, name, and whether it must be there.
type Parameters = BTreeSet<(String, String, bool)>;

/// The table of the protocol, by request, and what may stand in another's stead.
fn tabled() -> (BTreeMap<String, Parameters>, Vec<String>) {
    let (_, table) = PROTOCOL.split_once("| request | must have | may have |\n").unwrap();
    let (mut requests, mut others) = (BTreeMap::new(), Vec::new());
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [request, must, may] = cells[..] else { panic!("three cells in {row}") };
        let request = request.trim_matches('`').to_owned();
        let mut takes = Parameters::new();
        for (cell, is_needed) in [(must, true), (may, false)] {
            for item in cell.split(", ").filter(|item| *item != "–") {
                let words: Vec<&str> = item.split('`').collect();
                takes.insert((words[0].trim().to_owned(), words[1].to_owned(), is_needed));
                others.extend(words.get(3).map(|other| format!("{request}: {other}")));
            }
        }
        assert!(requests.insert(request, takes).is_none(), "twice: {row}");
    }
    (requests, others)
}

/// The same, as the document has it.
fn described(document: &Value) -> BTreeMap<String, Parameters> {
    let requests = operations(document).into_iter().map(|(method, path, says)| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let parameters = says["parameters"].as_array().into_iter().flatten();
        let mut takes: Parameters = parameters
            .map(|each| {
                let name = in_protocol(&text(&each["name"]));
                (text(&each["in"]), name, each["required"].as_bool().unwrap())
            })
            .collect();
        for proof in says["security"].as_array().into_iter().flatten() {
            let header = if proof.get("token").is_some() {
                "Authorization".to_owned()
            } else {
                let scheme = &document["components"]["securitySchemes"]["service"];
                assert!(proof.get("service").is_some() && scheme["in"] == "header", "{proof}");
                text(&scheme["name"])
            };
            takes.insert(("header".to_owned(), header, true));
        }
        (format!("{method} {}", in_protocol(&path)), takes)
    });
    requests.collect()
}

/// A path or a name as the protocol writes it.
fn in_protocol(text: &str) -> String {
    text.replace("app_id", "appId").replace("user_id", "userId")
}

#[tokio::test]
async fn its_requests_and_their_parameters_are_the_protocol_s() {
    let (requests, others) = tabled();
    assert_eq!(described(&document().await), requests, "left: the document, right: the protocol");
    // Of one of two, OpenAPI can't say that it must be there.
    assert_eq!(others, ["GET /sync/{appId}/pull: collection"]);
}

#[tokio::test]
async fn its_codes_and_statuses_are_the_protocol_s() {
    let document = document().await;
    let codes = document["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
    let codes: BTreeSet<String> = codes.iter().map(|c| c.as_str().unwrap().to_owned()).collect();
    let known = documented();
    assert_eq!(codes, known.keys().cloned().collect(), "left: the document, right: the protocol");
    let statuses: BTreeSet<u16> = operations(&document)
        .iter()
        .flat_map(|(_, _, says)| says["responses"].as_object().unwrap().keys().cloned())
        .map(|status| status.parse().unwrap())
        .filter(|status| *status >= 400)
        .collect();
    // Of other paths and methods than those described.
    let elsewhere = BTreeSet::from([404, 405]);
    // Given before there is a request: without a code.
    let without_code = BTreeSet::from([414, 431]);
    let expected: BTreeSet<u16> = known.into_values().flatten().collect();
    assert_eq!(
        &statuses | &elsewhere,
        &expected | &without_code,
        "left: the document, right: the protocol"
    );
}
