//! `/openapi.json` and docs/protocol.md say the same of routes, parameters and codes; the routes are
//! those that the node has.

use std::collections::BTreeSet;

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
async fn its_routes_are_the_node_s_and_the_protocol_s() {
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
    for (method, path, _) in operations(&document) {
        let ways = [
            format!("{method} {}", path.replace("{app_id}", "todo")),
            format!("{method} {}", path.replace("{user_id}", "{userId}")),
            format!("`{}`", path.replace("{app_id}", "{appId}")),
        ];
        assert!(ways.iter().any(|way| PROTOCOL.contains(way)), "not in the protocol: {ways:?}");
    }
}

#[tokio::test]
async fn its_parameters_are_the_protocol_s() {
    for (_, path, says) in operations(&document().await) {
        for parameter in says["parameters"].as_array().into_iter().flatten() {
            let (name, place) = (parameter["name"].as_str().unwrap(), &parameter["in"]);
            let is_known = PROTOCOL.contains(&format!("`{name}`")) || *place == "path";
            assert!(is_known, "{path}: the protocol has no {name} in {place}");
        }
    }
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
