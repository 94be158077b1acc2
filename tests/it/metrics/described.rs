//! Each metric is described in the operators' pages, and each that is described is told.

use std::collections::BTreeMap;

use mana_sync::metrics::ALL;

use super::{metrics, read, section};
use crate::processes::serve;
use crate::support::{World, insert};

/// A metric's type and labels, by its name.
type Described = BTreeMap<String, (String, Vec<String>)>;

/// The table of docs/operations.md.
fn described() -> Described {
    let rows = section(&read("docs/operations.md"), "Metrics");
    let rows = rows.lines().filter(|line| line.starts_with("| `"));
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning, todo] = cells[..] else { panic!("{line}") };
        assert!(meaning.len() > 5 && todo.len() > 5, "says too little: {line}");
        let names: Vec<String> = quoted(name);
        (names[0].clone(), (kind.to_owned(), quoted(labels)))
    };
    rows.map(row).collect()
}

#[test]
fn the_operators_page_describes_each_metric_of_the_table_and_no_other() {
    let row = |metric: &mana_sync::metrics::Metric| {
        let labels = metric.labels.iter().map(|(label, _)| (*label).to_owned()).collect();
        (metric.name.to_owned(), (format!("{:?}", metric.kind).to_lowercase(), labels))
    };
    let table: Described = ALL.iter().map(row).collect();
    assert_eq!(described(), table);
}

#[tokio::test]
async fn a_node_tells_each_metric_that_is_described_and_no_other() {
    let world = World::new().await;
    let node = serve(&world, &[]).await;
    world.client("alice", "a").push(&node.url, &[insert("t1", &serde_json::json!({}))]).await;
    // Requests are counted once they are answered, this one too.
    metrics(&node).await;
    let text = metrics(&node).await;
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let told: BTreeMap<_, _> =
        told.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    let described = described().into_iter().map(|(name, (kind, _))| (name, kind));
    assert_eq!(told, described.collect());
}
