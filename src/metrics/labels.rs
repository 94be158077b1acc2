//! All values that labels may have. Each is a time series, so none is anybody's to invent.

/// The patterns of the router's paths, and what stands for every other path.
pub(crate) const ROUTES: &[&str] = &[
    "/sync/{app_id}",
    "/sync/{app_id}/pull",
    "/sync/{app_id}/stream",
    "/stream",
    "/ws",
    "/ws/{app_id}",
    "/internal/memberships/{user_id}/invalidate",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/",
    "/console/{*file}",
    "none",
];

/// Methods, and what stands for those that clients invent.
pub(super) const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// Statuses that the node answers with, and what stands for any other.
pub(super) const STATUSES: &[&str] = &[
    "101", "200", "204", "400", "401", "402", "404", "405", "408", "413", "426", "429", "499",
    "500", "503", "other",
];

/// What a build is called.
pub(super) const BUILD: &[&str] = &[];

/// What is bounded.
pub(super) const LIMITS: &[&str] = &[
    "connections",
    "streams",
    "strangers",
    "inflight_bytes",
    "answer_bytes",
    "user_requests",
    "user_streams",
    "user_inflight_bytes",
    "user_answer_bytes",
    "user_changes",
    "writer_queue",
    "news_queue",
    "lookups",
    "moves",
    "ring_ahead",
    "ring_parts",
    "early_rings",
    "relay_rows",
    "compared_moves",
    "watched_apps",
];

/// What is in flight.
pub(super) const FLOWS: &[&str] = &["bodies", "answers", "events"];

/// Where it was found out that a read has nothing new.
pub(super) const NEWS_SOURCES: &[&str] = &["remembered", "asked"];

/// What a stream does: reads what it has missed, stands at the tails, waits for room or for the
/// database, or for its client to take what was sent.
pub(super) const STREAM_STATES: &[&str] = &["catching_up", "live", "waiting", "blocked"];

/// Why a stream ended.
pub(super) const STREAM_ENDS: &[&str] = &["left", "expired", "drained", "stalled"];

/// How a push was answered.
pub(super) const PUSH_RESULTS: &[&str] = &["stored", "empty", "invalid", "timeout", "failed"];

/// Who takes work in groups: the writer, small pushes and large ones, and reads with nothing new.
pub(super) const LANES: &[&str] = &["small", "large", "news"];

/// Why a token was refused.
pub(super) const AUTH_FAILURES: &[&str] = &[
    "missing",
    "malformed",
    "algorithm",
    "unknown_key",
    "signature",
    "expired",
    "not_yet",
    "audience",
    "issuer",
    "subject",
    "keys_unavailable",
];

/// What is asked of services.
pub(super) const LOOKED_UP: &[&str] = &["membership", "billing", "jwks"];

/// Where an answer came from.
pub(super) const SOURCES: &[&str] = &["cache", "database", "service", "last_known", "none"];

/// What holds without a service's answer.
pub(super) const FAIL_OPEN: &[&str] = &["membership", "billing"];

/// Whose connections to the database: those of requests and lanes, and the relay's.
pub(super) const POOLS: &[&str] = &["requests", "relay"];

/// Tables that grow or change much.
pub const TABLES: &[&str] = &["sync_changes", "sync_members", "sync_users"];
