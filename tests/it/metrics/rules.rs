//! Each alert has unit tests, and a paragraph that says what to do. Whether they hold is for
//! promtool to say (`scripts/check-deploy`).

use std::collections::{BTreeMap, BTreeSet};

use super::{read, section};

/// The alerts of rules.yaml, and the `runbook_url` of each.
fn alerts() -> BTreeMap<String, String> {
    let rules = read("deploy/prometheus/rules.yaml");
    let (mut alerts, mut alert) = (BTreeMap::new(), None);
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alert = Some(name.to_owned());
        }
        if let Some(url) = line.strip_prefix("runbook_url: ") {
            alerts.insert(alert.take().expect("an alert before its runbook"), url.to_owned());
        }
        assert!(!line.starts_with("- alert: ") || alert.is_some());
    }
    assert_eq!(rules.matches("- alert: ").count(), alerts.len(), "an alert without a runbook");
    alerts
}

#[test]
fn each_alert_leads_to_a_paragraph_of_its_own() {
    let headings = section(&read("docs/operations.md"), "Alerts");
    let paragraphs = headings.split("\n### ").skip(1).map(|text| text.split_once("\n\n").unwrap());
    let mut anchors = BTreeMap::new();
    for (heading, body) in paragraphs {
        assert!(body.len() > 100, "{heading} says too little");
        anchors
            .insert(heading.to_owned(), format!("docs/operations.md#{}", heading.to_lowercase()));
    }
    assert_eq!(alerts(), anchors);
}

#[test]
fn each_alert_is_seen_to_be_silent_and_to_fire() {
    let tests = read("deploy/prometheus/rules.test.yaml");
    let (mut silent, mut firing) = (BTreeSet::new(), BTreeSet::new());
    for test in tests.split("alertname: ").skip(1) {
        let name: String = test.chars().take_while(char::is_ascii_alphanumeric).collect();
        let expected = test.split_once("exp_alerts:").unwrap().1;
        let expects_none = expected.trim_start().starts_with("[]");
        if expects_none {
            silent.insert(name)
        } else {
            firing.insert(name)
        };
    }
    let alerts: BTreeSet<_> = alerts().into_keys().collect();
    assert_eq!(silent, alerts, "alerts that are tested to be silent");
    assert_eq!(firing, alerts, "alerts that are tested to fire");
}
