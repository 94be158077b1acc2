use std::collections::BTreeSet;

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

/// Calls every function of the module once.
fn record_all() {
    let took = Duration::from_millis(3);
    http_request("/sync/{app_id}", "POST", 200, took);
    connection_opened();
    connection_closed();
    overflow("streams");
    inflight_bytes("bodies", 10);
    stream_opened();
    stream_ended("client");
    websocket_opened();
    websocket_closed();
    user_connected();
    user_disconnected();
    push("stored");
    push_acknowledged(took);
    batch(2, 3, 1, took);
    stream_state(None, Some("catching_up"));
    stream_state(Some("catching_up"), Some("live"));
    lanes("small", 1, 4);
    news_group(8);
    news("remembered", 1);
    writer_queue(4);
    writer_retry();
    culprit_isolated();
    ring_sent();
    doorbell_heard();
    listener_connected(true);
    listener_reconnected();
    heartbeat_age(took);
    watermark_lag(took);
    gap_closed();
    compare_found(1);
    horizon_stuck(took);
    horizon_holder_ended();
    relay_step(1, 5, took);
    delivered(took);
    tail_bytes(100);
    tail_hits(7);
    tail_miss();
    catch_up();
    auth_failure("expired");
    lookup("membership", "cache");
    fail_open("billing");
    jwks_age(took);
    pool(16, 3);
    pool_wait("requests", took);
    pool_acquire_timeout();
    log_lines_lost(3);
    database(0.01, 20.0, 100.0);
    table_size("sync_changes", 100.0, 3.0, 8192.0);
    process();
    draining(false);
    build_info();
}

fn rendered(record: impl Fn()) -> String {
    let builder = PrometheusBuilder::new();
    let recorder = crate::telemetry::with_buckets(builder).unwrap().build_recorder();
    metrics::with_local_recorder(&recorder, record);
    without_false_types(recorder.handle().render())
}

/// The names and kinds in what Prometheus reads.
fn series(text: &str) -> BTreeSet<(String, String)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

fn table() -> BTreeSet<(String, String)> {
    let kind = |metric: &Metric| format!("{:?}", metric.kind).to_lowercase();
    ALL.iter().map(|metric| (metric.name.to_owned(), kind(metric))).collect()
}

#[test]
fn the_table_is_what_the_functions_record() {
    let text = rendered(record_all);
    assert_eq!(series(&text), table());
    let source = concat!(include_str!("../metrics.rs"), include_str!("process.rs")).split('"');
    let named: BTreeSet<_> =
        source.filter(|text| text.starts_with("mana_sync_")).map(str::to_owned).collect();
    let recorded: BTreeSet<_> = table().into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, recorded, "a function that record_all does not call");
}

#[test]
fn labels_are_those_of_the_table() {
    let text = rendered(record_all);
    for metric in ALL {
        let sample = text.lines().find_map(|line| {
            let rest = line.strip_prefix(metric.name)?;
            let rest = rest.strip_prefix("_bucket").unwrap_or(rest);
            rest.starts_with(['{', ' ']).then_some(rest)
        });
        let labels = sample.unwrap().split_once('{').map_or("", |(_, labels)| labels);
        let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
        let keys = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0));
        let keys: Vec<_> = keys.filter(|key| *key != "le").collect();
        let labels: Vec<_> = metric.labels.iter().map(|(label, _)| *label).collect();
        assert_eq!(keys, labels, "{}", metric.name);
    }
}

#[test]
fn what_has_no_labels_is_shown_from_the_start() {
    let text = rendered(describe);
    assert!(text.contains("mana_sync_compare_found_total 0\n"), "{text}");
    assert!(text.contains("# HELP mana_sync_compare_found_total Feeds that"), "{text}");
    assert!(text.contains("mana_sync_build_info{version="), "{text}");
    assert!(text.contains("mana_sync_fail_opens_total{what=\"billing\"} 0\n"), "{text}");
    assert!(text.contains("mana_sync_delivery_seconds_count 0\n"), "{text}");
    assert!(text.contains("mana_sync_pool_wait_seconds_count{pool=\"relay\"} 0\n"), "{text}");
}

#[test]
fn names_carry_their_unit() {
    for Metric { name, kind, unit, .. } in ALL {
        match (kind, unit) {
            (Kind::Counter, _) => assert!(name.ends_with("_total"), "{name}"),
            (_, Unit::Seconds) => assert!(name.ends_with("_seconds"), "{name}"),
            (_, Unit::Bytes) => assert!(name.ends_with("_bytes"), "{name}"),
            (_, Unit::Ratio) => assert!(name.ends_with("_ratio"), "{name}"),
            (Kind::Untyped, _) => {}
            _ => assert!(!name.ends_with("_total"), "{name} is no counter"),
        }
    }
}

#[test]
fn an_invented_method_is_no_label() {
    let text = rendered(|| http_request("none", "BREW", 405, Duration::ZERO));
    assert!(text.contains(r#"method="other",status="405""#) && !text.contains("BREW"), "{text}");
}
