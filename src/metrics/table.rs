//! All metrics by name, so that they can be described, registered and documented.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
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
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($kind:ident $unit:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        &[$(Metric {
            name: concat!("mana_sync_", $name),
            kind: Kind::$kind,
            unit: Unit::$unit,
            labels: &[$($label),*],
            help: $help,
        }),*]
    };
}

/// Every metric of the node.
#[rustfmt::skip]
pub const ALL: &[Metric] = metrics! {
    Counter Count "http_requests_total" ["route", "method", "status"] "Requests answered.";
    Histogram Seconds "http_request_seconds" ["route", "method"] "From a request's head to its response's head.";
    Gauge Count "http_connections" [] "TCP connections open.";
    Counter Count "news_total" ["source"] "Reads with nothing new that were remembered to be so, and reads about which the database was asked.";
    Counter Count "overflows_total" ["limit"] "Things refused, put off or forgotten because a limit was reached.";
    Gauge Bytes "inflight_bytes" ["flow"] "Request bodies, answers and events in the node's hands.";
    Gauge Count "streams_active" [] "Streams open.";
    Gauge Count "websockets_active" [] "WebSockets open.";
    Gauge Count "connections_total" [] "Streams and WebSockets open.";
    Gauge Count "users_connected" [] "Users who have a stream or a WebSocket here.";
    Counter Count "streams_ended_total" ["reason"] "Streams that ended.";
    Counter Count "pushes_total" ["result"] "Pushes answered.";
    Histogram Seconds "push_watermark_wait_seconds" [] "From a push's commit to the watermark that acknowledges it.";
    Histogram Count "batch_pushes" [] "Pushes a batch.";
    Histogram Count "batch_changes" [] "Changes a batch.";
    Histogram Seconds "commit_seconds" [] "The call that stores a batch, its commit included.";
    Counter Count "changes_stored_total" [] "Changes stored.";
    Counter Count "changes_unpublished_total" [] "Changes of spaces that were stored for their author alone.";
    Gauge Count "writer_queue_pushes" [] "Pushes that wait for a batch.";
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
    Counter Count "auth_failures_total" ["reason"] "Requests refused for their token.";
    Counter Count "lookups_total" ["what", "source"] "Memberships, billing states and keys looked up, by where the answer came from.";
    Gauge Count "pool_connections" [] "Connections of the requests to the database.";
    Gauge Count "pool_idle_connections" [] "Connections of the requests that none uses.";
    Counter Count "pool_acquire_timeouts_total" [] "Waits for a connection to the database that were in vain.";
    Counter Count "log_lines_lost_total" [] "Log lines that were not written, because too many waited.";
    Gauge Count "draining" [] "1 while the node drains.";
    Gauge Count "build_info" ["version"] "Always 1; its label says which build this is.";
};

/// Describes all metrics to the recorder, and shows those without labels as 0 from the start, so
/// that an alert on what never happened finds a number.
pub fn describe() {
    for metric in ALL {
        let Metric { name, kind, unit, labels, help } = *metric;
        let unit = match unit {
            Unit::Count => metrics::Unit::Count,
            Unit::Seconds => metrics::Unit::Seconds,
            Unit::Bytes => metrics::Unit::Bytes,
        };
        match kind {
            Kind::Counter => {
                describe_counter!(name, unit, help);
                if labels.is_empty() {
                    counter!(name).increment(0);
                }
            }
            Kind::Gauge => {
                describe_gauge!(name, unit, help);
                if labels.is_empty() {
                    gauge!(name).increment(0);
                }
            }
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
    super::build_info();
}
