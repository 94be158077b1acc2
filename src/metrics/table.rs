//! All metrics by name, so that they can be described, registered and documented.

use metrics::{
    Label, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::labels::{
    AUTH_FAILURES, BUILD, FAIL_OPEN, FLOWS, LANES, LIMITS, LOOKED_UP, METHODS, NEWS_SOURCES, POOLS,
    PUSH_RESULTS, ROUTES, SOURCES, STATUSES, STREAM_ENDS, STREAM_STATES, TABLES,
};

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
    /// As a gauge, but under an old name that says otherwise, so that no type is claimed.
    Untyped,
    /// Counts values by size.
    Histogram,
}

/// What a metric counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of a whole, from 0 to 1.
    Ratio,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, as Prometheus knows it.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// Its labels, each with all values that it may have; none where those are not enumerated.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// What it tells.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($kind:ident $unit:ident $name:literal [$($label:literal in $values:ident),*] $help:literal;)*) => {
        &[$(Metric {
            name: concat!("mana_sync_", $name),
            kind: Kind::$kind,
            unit: Unit::$unit,
            labels: &[$(($label, $values)),*],
            help: $help,
        }),*]
    };
}

/// Every metric of the node.
#[rustfmt::skip]
pub const ALL: &[Metric] = metrics! {
    Counter Count "http_requests_total" ["route" in ROUTES, "method" in METHODS, "status" in STATUSES] "Requests answered.";
    Histogram Seconds "http_request_seconds" ["route" in ROUTES, "method" in METHODS] "From a request's head to its response's head.";
    Gauge Count "http_connections" [] "TCP connections open.";
    Counter Count "news_total" ["source" in NEWS_SOURCES] "Reads with nothing new that were remembered to be so, and reads about which the database was asked.";
    Counter Count "overflows_total" ["limit" in LIMITS] "Things refused, put off or forgotten because a limit was reached.";
    Gauge Bytes "inflight_bytes" ["flow" in FLOWS] "Request bodies, answers and events in the node's hands.";
    Gauge Count "streams_active" [] "Streams open.";
    Gauge Count "streams" ["state" in STREAM_STATES] "Streams by what they do.";
    Gauge Count "websockets_active" [] "WebSockets open.";
    Untyped Count "connections_total" [] "Streams and WebSockets open; a name of old, and no counter.";
    Gauge Count "users_connected" [] "Users who have a stream or a WebSocket here.";
    Counter Count "streams_ended_total" ["reason" in STREAM_ENDS] "Streams that ended.";
    Counter Count "pushes_total" ["result" in PUSH_RESULTS] "Pushes answered.";
    Histogram Seconds "push_watermark_wait_seconds" [] "From a push's commit to the watermark that acknowledges it.";
    Histogram Count "batch_pushes" [] "Pushes a batch.";
    Histogram Count "batch_changes" [] "Changes a batch.";
    Histogram Seconds "commit_seconds" [] "The call that stores a batch, its commit included.";
    Counter Count "changes_stored_total" [] "Changes stored.";
    Counter Count "changes_unpublished_total" [] "Changes of spaces that were stored for their author alone.";
    Gauge Count "writer_queue_pushes" [] "Pushes that wait for a batch.";
    Gauge Count "lanes" ["lanes" in LANES] "Lanes that take work in groups.";
    Gauge Count "lanes_busy" ["lanes" in LANES] "Lanes at work.";
    Counter Count "writer_retries_total" [] "Batches tried again.";
    Counter Count "culprits_isolated_total" [] "Pushes that were found to make their batch fail.";
    Counter Count "rings_total" [] "Batches for which this node rang.";
    Counter Count "doorbells_heard_total" [] "Rings heard, of all nodes.";
    Gauge Count "listener_connected" [] "1 while the listener is connected.";
    Counter Count "listener_reconnects_total" [] "Times that the listener was lost or could not connect.";
    Gauge Seconds "heartbeat_age_seconds" [] "Since the listener heard a heartbeat.";
    Gauge Seconds "watermark_lag_seconds" [] "How far the watermark lies behind the clock.";
    Counter Count "gaps_closed_total" [] "Gaps in the chain of rings that the horizon closed.";
    Counter Count "compare_found_total" [] "Feeds that had moved unheard, found by the periodic comparison; should be 0.";
    Gauge Seconds "horizon_stuck_seconds" [] "Since when the horizon has stood at one holder; 0 while it moves.";
    Counter Count "horizon_holders_ended_total" [] "Holders of the horizon that were ended.";
    Counter Count "relay_steps_total" [] "Steps that the relay followed the watermark by.";
    Counter Count "relay_reads_total" [] "Statements by which the relay read changes.";
    Counter Count "relay_rows_total" [] "Changes that the relay read.";
    Histogram Count "news_group_reads" [] "Reads that one statement was asked about.";
    Histogram Seconds "relay_step_seconds" [] "From the watermark's move to streams that may go on.";
    Histogram Seconds "delivery_seconds" [] "From a change's stamp to its bytes in a stream's socket.";
    Gauge Bytes "tail_bytes" [] "Changes kept in memory for live streams.";
    Counter Count "tail_hits_total" [] "Steps that streams took from memory.";
    Counter Count "tail_misses_total" [] "Steps for which live streams had to read the database.";
    Counter Count "catch_ups_total" [] "Times that the horizon made up for what a lost listener did not hear.";
    Counter Count "auth_failures_total" ["reason" in AUTH_FAILURES] "Requests refused for their token.";
    Counter Count "lookups_total" ["what" in LOOKED_UP, "source" in SOURCES] "Memberships, billing states and keys looked up, by where the answer came from.";
    Counter Count "fail_opens_total" ["what" in FAIL_OPEN] "Times that what was last known, or nothing, was taken for an answer that a service owed.";
    Gauge Seconds "jwks_age_seconds" [] "Since the key set was fetched, or since the start where it never was.";
    Gauge Count "pool_connections" [] "Connections of the requests to the database.";
    Gauge Count "pool_idle_connections" [] "Connections of the requests that none uses.";
    Histogram Seconds "pool_wait_seconds" ["pool" in POOLS] "Until a connection to the database was had, or the wait for it given up.";
    Counter Count "pool_acquire_timeouts_total" [] "Waits for a connection to the database that were in vain.";
    Counter Count "log_lines_lost_total" [] "Log lines that were not written, because too many waited.";
    Gauge Ratio "notification_queue_ratio" [] "How full Postgres' queue of notifications is; NaN while the database does not say.";
    Gauge Count "database_connections" [] "Connections to the database server, of all programs; NaN while it does not say.";
    Gauge Count "database_max_connections" [] "Connections that the database server allows; NaN while it does not say.";
    Gauge Count "table_live_rows" ["table" in TABLES] "Rows of a table, as Postgres estimates; NaN while it does not say.";
    Gauge Count "table_dead_rows" ["table" in TABLES] "Rows of a table that vacuum has yet to clear away; NaN while the database does not say.";
    Gauge Bytes "table_size_bytes" ["table" in TABLES] "A table on the database's disk, with its indexes; NaN while the database does not say.";
    Counter Seconds "process_cpu_seconds_total" [] "CPU time of the process, in whole seconds.";
    Gauge Bytes "process_resident_memory_bytes" [] "Resident memory of the process.";
    Gauge Count "process_open_fds" [] "File descriptors open.";
    Gauge Count "process_max_fds" [] "File descriptors that may be open.";
    Gauge Count "process_threads" [] "Threads of the process.";
    Gauge Seconds "process_start_time_seconds" [] "When the process began, in seconds since 1970.";
    Gauge Count "draining" [] "1 while the node drains.";
    Gauge Count "build_info" ["version" in BUILD, "revision" in BUILD] "Always 1; its labels say which build this is.";
};

/// Describes all metrics to the recorder, and shows as 0 from the start what can be named before:
/// those without labels, and each value of those with one. So an alert on what never happened finds
/// a number, and the first time that it happens is a rise.
pub fn describe() {
    for metric in ALL {
        let Metric { name, kind, unit, labels, help } = *metric;
        let unit = match unit {
            Unit::Count | Unit::Ratio => metrics::Unit::Count,
            Unit::Seconds => metrics::Unit::Seconds,
            Unit::Bytes => metrics::Unit::Bytes,
        };
        match kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge | Kind::Untyped => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
        match labels {
            [] => show(metric, Vec::new()),
            [(label, values)] => {
                for value in *values {
                    show(metric, vec![Label::from_static_parts(label, value)]);
                }
            }
            _ => {}
        }
    }
    super::build_info();
}

fn show(metric: &Metric, labels: Vec<Label>) {
    match metric.kind {
        Kind::Counter => counter!(metric.name, labels).increment(0),
        Kind::Gauge | Kind::Untyped => gauge!(metric.name, labels).increment(0),
        Kind::Histogram => drop(histogram!(metric.name, labels)),
    }
}

/// What was rendered, without the type of what is named as if it had another.
#[must_use]
pub fn without_false_types(mut rendered: String) -> String {
    for metric in ALL.iter().filter(|metric| metric.kind == Kind::Untyped) {
        let line = format!("# TYPE {} ", metric.name);
        rendered = rendered.replacen(&format!("{line}gauge\n"), &format!("{line}untyped\n"), 1);
    }
    rendered
}
