//! A real Prometheus scrapes two real nodes under load, and is asked all that the dashboard asks.

mod load;
mod server;

use serde_json::Value;
use sqlx::Connection;

use self::load::Load;
use self::server::{Prometheus, Sample};
use super::{project, read};
use crate::faults::unrung;
use crate::processes::serve;
use crate::support::{World, eventually, psql, say};

/// One query of the dashboard: where it stands, and what it asks.
struct Query {
    panel: String,
    expr: String,
}

fn dashboard() -> Vec<Query> {
    let board: Value = serde_json::from_str(&read("deploy/grafana/dashboard.json")).unwrap();
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            let expr = expr.replace("$__rate_interval", "10s").replace("$job", "mana-sync");
            assert!(!expr.contains('$'), "an unknown variable in {expr}");
            let panel = format!("{title} [{}]", target["legendFormat"].as_str().unwrap());
            queries.push(Query { panel, expr });
        }
    }
    queries
}

/// What the rules record.
fn recorded(rules: &Value) -> Vec<Query> {
    let of_kind = |rule: &&Value| rule["type"] == "recording";
    let query = |rule: &Value| {
        assert_eq!(rule["health"], "ok", "{rule}");
        let name = rule["name"].as_str().unwrap();
        Query { panel: format!("rule {name}"), expr: name.to_owned() }
    };
    rules.as_array().unwrap().iter().filter(of_kind).map(query).collect()
}

/// A line of a few of the values.
fn figures(samples: &[Sample]) -> String {
    let label = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap());
    let one = |sample: &Sample| {
        let labels =
            sample.labels.iter().filter(|(name, _)| !["__name__", "job"].contains(&name.as_str()));
        let labels: Vec<_> = labels.map(label).collect();
        format!("{{{}}} {}", labels.join(","), sample.value)
    };
    let shown: Vec<_> = samples.iter().take(3).map(one).collect();
    let more =
        if samples.len() > 3 { format!(" and {} more", samples.len() - 3) } else { String::new() };
    shown.join(", ") + &more
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_the_dashboard_and_every_rule_has_an_answer() {
    let world = World::new().await;
    // The server counts rows once a connection has ended: before the nodes ask.
    let mut sql = world.sql().await;
    psql(&mut sql, &unrung("first")).await;
    sql.close().await.unwrap();
    let flags = ["--membership-life-seconds=1", "--compare-seconds=1"];
    let (first, mut second) = (serve(&world, &flags).await, serve(&world, &flags).await);
    let prometheus =
        Prometheus::start(&project("deploy/prometheus/rules.yaml"), &[&first, &second]);
    let load = Load::start(&world, [&first.url, &second.url]).await;
    prometheus.ready().await;
    eventually("rules that were evaluated", async || {
        let rules = prometheus.rules().await;
        let rules = rules.as_array().filter(|rules| !rules.is_empty())?;
        rules.iter().all(|rule| rule["health"] == "ok").then_some(())
    })
    .await;
    let queries: Vec<_> =
        recorded(&prometheus.rules().await).into_iter().chain(dashboard()).collect();
    for Query { panel, expr } in &queries {
        let what = format!("data for {panel}: {expr}");
        let samples = eventually(&what, async || prometheus.data(expr).await).await;
        say(&format!("every_query_of_the_dashboard… {panel}: {}", figures(&samples)));
    }
    let alerts = prometheus.alerts().await;
    say(&format!(
        "every_query_of_the_dashboard… {} queries have data; {} alerts are silent: {}",
        queries.len(),
        alerts.len(),
        alerts.iter().map(|(name, state)| format!("{name} {state}")).collect::<Vec<_>>().join(", ")
    ));
    assert!(alerts.len() >= 20, "only {} alerts", alerts.len());
    for (name, state) in &alerts {
        // How soon changes are delivered depends on what else this machine does.
        let excused = name.starts_with("ManaSyncDeliveryBurns") && state == "pending";
        assert!(state == "inactive" || excused, "{name} is {state}, and all is well");
    }
    load.stop().await;
    // And it is seen when something is not well.
    second.kill();
    eventually("an alert on a node that was killed", async || {
        let alerts = prometheus.alerts().await;
        alerts.into_iter().find(|(name, state)| name == "ManaSyncNodeDown" && state == "pending")
    })
    .await;
}
