//! What the process is, and what it takes of its machine.

use metrics::{counter, gauge};
use metrics_process::collector::{Metrics, collect};

/// The commit of which this was built, where whoever built it said so.
const REVISION: &str = match option_env!("MANA_SYNC_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Which build this is.
pub fn build_info() {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("revision", REVISION)];
    gauge!("mana_sync_build_info", &labels).set(1);
}

/// What the process takes at this moment; what the system does not tell is left out.
pub fn process() {
    let Metrics {
        cpu_seconds_total,
        resident_memory_bytes,
        open_fds,
        max_fds,
        threads,
        start_time_seconds,
        ..
    } = collect();
    if let Some(seconds) = cpu_seconds_total {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole seconds"
        )]
        counter!("mana_sync_process_cpu_seconds_total").absolute(seconds as u64);
    }
    let gauges = [
        ("mana_sync_process_resident_memory_bytes", resident_memory_bytes),
        ("mana_sync_process_open_fds", open_fds),
        ("mana_sync_process_max_fds", max_fds),
        ("mana_sync_process_threads", threads),
        ("mana_sync_process_start_time_seconds", start_time_seconds),
    ];
    for (name, value) in gauges {
        if let Some(value) = value {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
            gauge!(name).set(value as f64);
        }
    }
}
