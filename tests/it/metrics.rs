//! What an operator stands on: metrics that are described, rules that are tested, a dashboard of
//! which every query has an answer.

mod described;
mod lint;
mod prometheus;
mod rules;
mod series;
mod states;

use std::fs;
use std::path::{Path, PathBuf};

use crate::processes::Process;

/// A file of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap()
}

/// What `/metrics` of a node says.
async fn metrics(node: &Process) -> String {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = http.get(format!("{}/metrics", node.url)).send().await.unwrap();
    response.text().await.unwrap()
}

/// The part of a document below a heading, up to the next of its kind.
fn section(document: &str, heading: &str) -> String {
    let from = document.find(&format!("\n## {heading}\n")).unwrap() + 1;
    let rest = &document[from..];
    let to = rest[3..].find("\n## ").map_or(rest.len(), |to| to + 4);
    rest[..to].to_owned()
}
