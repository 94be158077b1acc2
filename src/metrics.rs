//! Every metric of the node, a function each, so that names and labels stand in one place.
//!
//! Labels come from small fixed sets (`labels`): a route, a status, a reason; never a user, an app
//! or a space. All names begin with `mana_sync_`, and units are base units: seconds, bytes. The
//! recorder belongs to the process; where several nodes share one, as in tests, what is counted
//! adds up and what is set is the last node's.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

mod labels;
mod process;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use labels::ROUTES;
pub use labels::TABLES;
pub use process::{build_info, process};
pub use table::{ALL, Kind, Metric, Unit, describe, without_false_types};

/// A request was answered: `route` is the pattern of its path, `took` ends with the response's
/// head.
pub fn http_request(route: &'static str, method: &str, status: u16, took: Duration) {
    let method = known_method(method);
    debug_assert!(ROUTES.contains(&route), "{route} is no route of metrics/labels.rs");
    let labels = [("route", route), ("method", method)];
    histogram!("mana_sync_http_request_seconds", &labels).record(took);
    let [route, method] = labels;
    let status = known_status(status);
    let labels = [route, method, ("status", status)];
    counter!("mana_sync_http_requests_total", &labels).increment(1);
}

/// Clients can invent methods, and each would be a time series.
pub(crate) fn known_method(method: &str) -> &'static str {
    labels::METHODS.iter().find(|known| **known == method).copied().unwrap_or("other")
}

fn known_status(status: u16) -> &'static str {
    let status = status.to_string();
    labels::STATUSES.iter().find(|known| **known == status).copied().unwrap_or("other")
}

/// A TCP connection was accepted.
pub fn connection_opened() {
    gauge!("mana_sync_http_connections").increment(1);
}

/// A TCP connection was closed.
pub fn connection_closed() {
    gauge!("mana_sync_http_connections").decrement(1);
}

/// Something was refused, or had to wait, because a `limit` was reached: connections, streams,
/// strangers, `inflight_bytes`, `answer_bytes`, those of one user (`user_…`), `writer_queue`,
/// lookups, and `news_queue`, whose reads are put one by one; or was forgotten and had to be asked
/// from the database again: moves, `early_rings`, `ring_parts`, `relay_rows`, `compared_moves`,
/// `watched_apps`.
pub fn overflow(limit: &'static str) {
    debug_assert!(labels::LIMITS.contains(&limit), "{limit} is no limit of metrics/labels.rs");
    counter!("mana_sync_overflows_total", "limit" => limit).increment(1);
}

/// Bytes in flight, of request `bodies`, `answers` or `events`.
pub fn inflight_bytes(flow: &'static str, bytes: usize) {
    gauge!("mana_sync_inflight_bytes", "flow" => flow).set(number(bytes));
}

/// A stream does something else than `before`; `None` before it began, and after its end.
pub fn stream_state(before: Option<&'static str>, now: Option<&'static str>) {
    if let Some(state) = before {
        gauge!("mana_sync_streams", "state" => state).decrement(1);
    }
    if let Some(state) = now {
        gauge!("mana_sync_streams", "state" => state).increment(1);
    }
}

/// A stream began.
pub fn stream_opened() {
    gauge!("mana_sync_streams_active").increment(1);
    gauge!("mana_sync_connections_total").increment(1);
}

/// A stream ended, for one of a few `reason`s: the client `left`, its token `expired`, the node
/// `drained`, or it `stalled`: its time was over, and its client did not read.
pub fn stream_ended(reason: &'static str) {
    gauge!("mana_sync_streams_active").decrement(1);
    gauge!("mana_sync_connections_total").decrement(1);
    counter!("mana_sync_streams_ended_total", "reason" => reason).increment(1);
}

/// A WebSocket was opened.
pub fn websocket_opened() {
    gauge!("mana_sync_websockets_active").increment(1);
    gauge!("mana_sync_connections_total").increment(1);
}

/// A WebSocket was closed.
pub fn websocket_closed() {
    gauge!("mana_sync_websockets_active").decrement(1);
    gauge!("mana_sync_connections_total").decrement(1);
}

/// A user who had no stream or WebSocket at this node has one now.
pub fn user_connected() {
    gauge!("mana_sync_users_connected").increment(1);
}

/// A user's last stream or WebSocket at this node is gone.
pub fn user_disconnected() {
    gauge!("mana_sync_users_connected").decrement(1);
}

/// A push was answered, with one of a few `result`s: stored, empty, invalid, timeout, failed.
pub fn push(result: &'static str) {
    counter!("mana_sync_pushes_total", "result" => result).increment(1);
}

/// A push was stored, and `wait` later the node's watermark had passed it.
pub fn push_acknowledged(wait: Duration) {
    histogram!("mana_sync_push_watermark_wait_seconds").record(wait);
}

/// A batch was stored: so many pushes and changes, some of these for their author alone, by one
/// call that took so long.
pub fn batch(pushes: usize, changes: usize, unpublished: usize, took: Duration) {
    histogram!("mana_sync_batch_pushes").record(number(pushes));
    histogram!("mana_sync_batch_changes").record(number(changes));
    histogram!("mana_sync_commit_seconds").record(took);
    counter!("mana_sync_changes_stored_total").increment(count(changes));
    counter!("mana_sync_changes_unpublished_total").increment(count(unpublished));
}

/// So many reads were `remembered` to find nothing, or the database was `asked`.
pub fn news(source: &'static str, reads: usize) {
    counter!("mana_sync_news_total", "source" => source).increment(count(reads));
}

/// So many reads were asked about by one statement.
pub fn news_group(reads: usize) {
    histogram!("mana_sync_news_group_reads").record(number(reads));
}

/// So many pushes wait for a batch.
pub fn writer_queue(pushes: usize) {
    gauge!("mana_sync_writer_queue_pushes").set(number(pushes));
}

/// Of the lanes of some work so many are `busy`, of so many that there are.
pub fn lanes(lanes: &'static str, busy: usize, all: usize) {
    gauge!("mana_sync_lanes", "lanes" => lanes).set(number(all));
    gauge!("mana_sync_lanes_busy", "lanes" => lanes).set(number(busy));
}

/// A batch is tried again.
pub fn writer_retry() {
    counter!("mana_sync_writer_retries_total").increment(1);
}

/// A push was found to be what made its batch fail.
pub fn culprit_isolated() {
    counter!("mana_sync_culprits_isolated_total").increment(1);
}

/// This node stored a batch, and rang for its run of stamps.
pub fn ring_sent() {
    counter!("mana_sync_rings_total").increment(1);
}

/// The listener heard a ring, whoever rang.
pub fn doorbell_heard() {
    counter!("mana_sync_doorbells_heard_total").increment(1);
}

/// Whether the listener is connected.
pub fn listener_connected(connected: bool) {
    gauge!("mana_sync_listener_connected").set(flag(connected));
}

/// The listener connected anew after it was lost.
pub fn listener_reconnected() {
    counter!("mana_sync_listener_reconnects_total").increment(1);
}

/// So long ago the listener heard a heartbeat.
pub fn heartbeat_age(age: Duration) {
    gauge!("mana_sync_heartbeat_age_seconds").set(age);
}

/// So far the watermark lies behind the clock.
pub fn watermark_lag(lag: Duration) {
    gauge!("mana_sync_watermark_lag_seconds").set(lag);
}

/// A gap in the chain of rings was closed by asking for the horizon.
pub fn gap_closed() {
    counter!("mana_sync_gaps_closed_total").increment(1);
}

/// The periodic comparison found feeds that had moved unheard.
pub fn compare_found(feeds: usize) {
    counter!("mana_sync_compare_found_total").increment(count(feeds));
}

/// So long the horizon has stood at one holder; zero where it moves.
pub fn horizon_stuck(age: Duration) {
    gauge!("mana_sync_horizon_stuck_seconds").set(age);
}

/// A holder of the horizon was ended.
pub fn horizon_holder_ended() {
    counter!("mana_sync_horizon_holders_ended_total").increment(1);
}

/// The relay followed the watermark by one step: it read so many times, got so many rows, and
/// took so long until its streams could go on.
pub fn relay_step(reads: usize, rows: usize, took: Duration) {
    counter!("mana_sync_relay_steps_total").increment(1);
    counter!("mana_sync_relay_reads_total").increment(count(reads));
    counter!("mana_sync_relay_rows_total").increment(count(rows));
    histogram!("mana_sync_relay_step_seconds").record(took);
}

/// A change's bytes were handed to a stream's socket so long after its stamp.
pub fn delivered(after: Duration) {
    histogram!("mana_sync_delivery_seconds").record(after);
}

/// The tails hold so many bytes.
pub fn tail_bytes(bytes: usize) {
    gauge!("mana_sync_tail_bytes").set(number(bytes));
}

/// Streams took so many steps from the tails.
pub fn tail_hits(steps: usize) {
    counter!("mana_sync_tail_hits_total").increment(count(steps));
}

/// A live stream was behind its tail, and read the database.
pub fn tail_miss() {
    counter!("mana_sync_tail_misses_total").increment(1);
}

/// The listener had been away; the horizon has made up for what it did not hear.
pub fn catch_up() {
    counter!("mana_sync_catch_ups_total").increment(1);
}

/// A request was refused for its token, for one of the few `reason`s of the auth module.
pub fn auth_failure(reason: &'static str) {
    counter!("mana_sync_auth_failures_total", "reason" => reason).increment(1);
}

/// Something was looked up at a service (`what`: membership, billing, jwks), answered from
/// `source`: cache, database, service, `last_known`, none.
pub fn lookup(what: &'static str, source: &'static str) {
    counter!("mana_sync_lookups_total", "what" => what, "source" => source).increment(1);
}

/// What was last known, or nothing, was taken for an answer that a service owed about `what`:
/// membership or billing. It then holds for some seconds.
pub fn fail_open(what: &'static str) {
    counter!("mana_sync_fail_opens_total", "what" => what).increment(1);
}

/// So long ago the key set was fetched.
pub fn jwks_age(age: Duration) {
    gauge!("mana_sync_jwks_age_seconds").set(age);
}

/// The pool has so many connections, of which so many are idle.
pub fn pool(connections: usize, idle: usize) {
    gauge!("mana_sync_pool_connections").set(number(connections));
    gauge!("mana_sync_pool_idle_connections").set(number(idle));
}

/// Somebody waited so long for a connection of a `pool`, got or not.
pub fn pool_wait(pool: &'static str, wait: Duration) {
    histogram!("mana_sync_pool_wait_seconds", "pool" => pool).record(wait);
}

/// Somebody waited for a connection in vain.
pub fn pool_acquire_timeout() {
    counter!("mana_sync_pool_acquire_timeouts_total").increment(1);
}

/// How full the server's queue of notifications is, and how many connections it has, of how many.
pub fn database(notification_queue: f64, connections: f64, max_connections: f64) {
    gauge!("mana_sync_notification_queue_ratio").set(notification_queue);
    gauge!("mana_sync_database_connections").set(connections);
    gauge!("mana_sync_database_max_connections").set(max_connections);
}

/// A `table` has so many rows, so many that are dead, and takes so many bytes.
pub fn table_size(table: &'static str, live: f64, dead: f64, bytes: f64) {
    gauge!("mana_sync_table_live_rows", "table" => table).set(live);
    gauge!("mana_sync_table_dead_rows", "table" => table).set(dead);
    gauge!("mana_sync_table_size_bytes", "table" => table).set(bytes);
}

/// Whether the node drains.
pub fn draining(draining: bool) {
    gauge!("mana_sync_draining").set(flag(draining));
}

/// So many log lines were lost since the start.
pub fn log_lines_lost(lines: usize) {
    counter!("mana_sync_log_lines_lost_total").absolute(lines as u64);
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and a metric beyond")]
fn number(count: usize) -> f64 {
    count as f64
}
