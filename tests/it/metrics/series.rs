//! The number of time series does not grow with what clients send.

use std::collections::BTreeSet;

use futures::future::join_all;
use mana_sync::metrics::ALL;
use reqwest::{Method, header};
use serde_json::json;

use super::metrics;
use crate::processes::{Process, serve};
use crate::support::world::SERVICE_KEY;
use crate::support::{World, insert, say};

/// As many users, apps, tables, spaces and rubbish of each kind.
const CROWD: usize = 150;

/// The series of a node: names with their labels.
async fn series(node: &Process) -> BTreeSet<String> {
    let text = metrics(node).await;
    let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

/// Whatever one user can think of.
async fn everything(world: &World, node: &Process, name: &str) {
    let client = world.client(&format!("user-{name}"), name).app(&format!("app-{name}"));
    world.issuer.join(&format!("user-{name}"), &format!("space-{name}"));
    let stream = client.stream(&node.url, &format!("table-{name}"), "").await;
    let mut change = insert(name, &json!({ "name": name }));
    change["table"] = json!(format!("table-{name}"));
    change["spaceId"] = json!(format!("space-{name}"));
    client.push(&node.url, &[change]).await;
    client.pull(&node.url, &format!("table-{name}"), "").await;
    client.post(&node.url, format!("{{\"{name}\":")).await;
    drop(stream);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let invented = Method::from_bytes(format!("BREW{name}").as_bytes()).unwrap();
    let asks = [
        (Method::GET, format!("/{name}")),
        (Method::GET, format!("/sync/{name}/{name}")),
        (Method::GET, format!("/ws/{name}")),
        (Method::DELETE, format!("/sync/{name}")),
        (Method::GET, format!("/metrics/{name}?{name}={name}")),
        (invented, format!("/sync/{name}")),
        (Method::POST, format!("/internal/memberships/{name}/invalidate")),
    ];
    for (method, path) in asks {
        let asked = http.request(method, format!("{}{path}", node.url));
        let asked = asked.header("x-service-key", SERVICE_KEY).header("x-request-id", name);
        asked.header(header::AUTHORIZATION, format!("Bearer {name}")).send().await.unwrap();
    }
}

async fn crowd(world: &World, node: &Process, round: char) {
    let names: Vec<_> = (0..CROWD).map(|n| format!("{round}{n}z")).collect();
    for some in names.chunks(15) {
        join_all(some.iter().map(|name| everything(world, node, name))).await;
    }
}

#[tokio::test]
async fn the_number_of_series_does_not_grow_with_users_apps_tables_and_rubbish() {
    let world = World::new().await;
    let node = serve(&world, &[]).await;
    everything(&world, &node, "first").await;
    // Counted once it is answered.
    series(&node).await;
    let before = series(&node).await;
    for round in ['a', 'b'] {
        crowd(&world, &node, round).await;
    }
    let after = series(&node).await;
    // A node that is busy may have had to say so.
    let busy = |series: &&String| series.contains("status=\"503\"");
    let new: Vec<_> = after.difference(&before).filter(|series| !busy(series)).collect();
    assert!(new.is_empty(), "{} more series: {new:?}", new.len());
    let stray: Vec<_> = after.iter().filter(|series| !is_known(series)).collect();
    assert!(stray.is_empty(), "labels that the table does not have: {stray:?}");
    say(&format!(
        "the_number_of_series…: {} after one user, {} after {} more",
        before.len(),
        after.len(),
        2 * CROWD
    ));
}

/// Whether each label of a series has one of the values that are enumerated for it.
fn is_known(series: &str) -> bool {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let parts = ["_bucket", "_sum", "_count"];
    let bare = parts.iter().find_map(|part| name.strip_suffix(part));
    let metric = ALL.iter().find(|metric| metric.name == name || Some(metric.name) == bare);
    let Some(metric) = metric else { return false };
    let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
    labels.map(|label| label.split_once("=\"").unwrap()).all(|(label, value)| {
        let value = value.trim_end_matches('"');
        let known = metric.labels.iter().find(|(named, _)| *named == label);
        label == "le" || known.is_some_and(|(_, all)| all.is_empty() || all.contains(&value))
    })
}

#[test]
fn what_is_not_enumerated_is_found() {
    assert!(is_known("mana_sync_draining"));
    assert!(is_known(r#"mana_sync_streams{state="live"}"#));
    assert!(is_known(
        r#"mana_sync_http_request_seconds_bucket{route="/ws",method="GET",le="0.1"}"#
    ));
    assert!(!is_known(r#"mana_sync_streams{state="alice"}"#));
    assert!(!is_known(r#"mana_sync_streams{state="live",user="live"}"#));
    assert!(!is_known("mana_sync_unheard_of"));
}
