//! A private Prometheus.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
use tempfile::TempDir;
use url::Url;

use crate::processes::{Process, free_port};
use crate::support::eventually;

/// A Prometheus that scrapes every second; it ends with this.
pub(super) struct Prometheus {
    process: Process,
    #[expect(dead_code, reason = "held for its end")]
    folder: TempDir,
    url: String,
}

/// A value that a query gave.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) labels: Map<String, Value>,
    pub(super) value: f64,
}

impl Prometheus {
    pub(super) fn start(rules: &Path, nodes: &[&Process]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let targets: Vec<_> =
            nodes.iter().map(|node| node.url.trim_start_matches("http://")).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs:\n  - job_name: mana-sync\n    static_configs: [{{targets: {targets:?}}}]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, config).unwrap();
        let port = free_port();
        let process = Process::shell(&format!(
            "prometheus --config.file={} --storage.tsdb.path={} --web.listen-address=127.0.0.1:{port}",
            file.display(),
            folder.path().join("data").display()
        ));
        Self { process, folder, url: format!("http://127.0.0.1:{port}") }
    }

    /// Waits until it serves.
    pub(super) async fn ready(&self) {
        eventually("a Prometheus (scripts/setup installs it)", async || {
            let asked = self.try_get("/-/ready", &[]).await;
            if asked.is_none() {
                assert!(!self.process.err().contains("not found"), "{}", self.process.err());
            }
            asked
        })
        .await;
    }

    async fn try_get(&self, path: &str, query: &[(&str, &str)]) -> Option<String> {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = Url::parse_with_params(&format!("{}{path}", self.url), query).unwrap();
        let answer = http.get(url).send().await.ok()?;
        let (status, text) = (answer.status(), answer.text().await.ok()?);
        assert!(status.is_success() || status == 503, "{query:?}: {text}");
        status.is_success().then_some(text)
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let text = self.try_get(path, query).await.expect("Prometheus answers");
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].take()
    }

    /// What a query gives; `None` where that is nothing. A quantile of what did not happen is no
    /// number, and nothing.
    pub(super) async fn data(&self, expr: &str) -> Option<Vec<Sample>> {
        let mut data = self.get("/api/v1/query", &[("query", expr)]).await;
        let sample = |sample: &mut Value| {
            let value = sample["value"][1].as_str().unwrap().parse::<f64>().unwrap();
            let Value::Object(labels) = sample["metric"].take() else { panic!("{sample}") };
            value.is_finite().then_some(Sample { labels, value })
        };
        let samples = data["result"].as_array_mut().unwrap().iter_mut().filter_map(sample);
        Some(samples.collect()).filter(|samples: &Vec<_>| !samples.is_empty())
    }

    /// All rules, with how they are.
    pub(super) async fn rules(&self) -> Value {
        let mut data = self.get("/api/v1/rules", &[]).await;
        let groups = data["groups"].as_array_mut().unwrap().iter_mut();
        groups.flat_map(|group| std::mem::take(group["rules"].as_array_mut().unwrap())).collect()
    }

    /// The state of each alert.
    pub(super) async fn alerts(&self) -> BTreeMap<String, String> {
        let rules = self.rules().await;
        let alerts = rules.as_array().unwrap().iter().filter(|rule| rule["type"] == "alerting");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        alerts.map(|alert| (text(&alert["name"]), text(&alert["state"]))).collect()
    }
}
