//! The settings, by what they are about. Their docs are the help of the flags, and the README's
//! table.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use url::Url;

use super::values::{
    DatabaseUrl, Origin, Secret, app, database, ip, limit, limit_seconds, log_filter, millis,
    network, number, origin, port, seconds, secret, text, web,
};
use crate::id::AppId;
use crate::telemetry::LogFormat;

/// Below that many bytes, the largest push would never fit.
const MIN_BODIES: usize = 16 << 20;

/// Where a node listens for requests.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct Server {
    /// TCP port that the node serves HTTP on.
    #[arg(long, env = "PORT", default_value = "3050", value_parser = port())]
    pub port: u16,
    /// IP address that the node binds to.
    #[arg(long, env = "BIND", value_name = "IP", default_value = "0.0.0.0",
        value_parser = ip)]
    pub bind: IpAddr,
    /// TCP port that serves `/metrics` and `/internal`, which `PORT` then does not; both serve
    /// `/health`.
    #[arg(long, env = "ADMIN_PORT", value_name = "PORT", value_parser = port())]
    pub admin_port: Option<u16>,
    /// Origins whose pages may call the node (CORS), each exactly as a browser sends it:
    /// `scheme://host[:port]`; comma-separated.
    #[arg(long, env = "CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',',
        value_parser = origin)]
    pub cors_origins: Vec<Origin>,
    /// Networks (CIDR) or addresses of the proxies whose `X-Forwarded-For` is believed, as to
    /// whose address stands in the log; comma-separated.
    #[arg(long, env = "TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',',
        value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Serves a page at `/` that shows devices side by side, and what they and the node say to
    /// each other; it asks for a token for each of them.
    #[arg(long, env = "CONSOLE")]
    pub console: bool,
}

/// The Postgres that all nodes share.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database")]
pub struct Database {
    /// Where it is.
    #[command(flatten)]
    pub urls: DatabaseUrls,
    /// Most connections to `DATABASE_URL` for requests; the listener's one and three of the relay
    /// come on top.
    #[arg(long, env = "DATABASE_POOL_SIZE", value_name = "CONNECTIONS", default_value = "16",
        value_parser = number("a number of connections", 4_u32..=1_000))]
    pub database_pool_size: u32,
    /// Seconds that a statement may run or wait for a lock.
    #[arg(long = "database-timeout-seconds", env = "DATABASE_TIMEOUT_SECONDS",
        value_name = "SECONDS", default_value = "5", value_parser = seconds(1..=300))]
    pub database_timeout: Duration,
    /// Seconds that a request waits for a free connection before it is answered 503.
    #[arg(long = "acquire-timeout-seconds", env = "ACQUIRE_TIMEOUT_SECONDS",
        value_name = "SECONDS", default_value = "3", value_parser = seconds(1..=60))]
    pub acquire_timeout: Duration,
}

/// Where the Postgres is that all nodes share.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseUrls {
    /// URL of the Postgres that all nodes share, as an ordinary role.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true,
        value_parser = database)]
    pub database_url: DatabaseUrl,
    /// URL for the one connection that hears notifications, and for migrations: direct, or
    /// through a session pooler; `DATABASE_URL` where it is not set.
    #[arg(long, env = "LISTEN_DATABASE_URL", value_name = "URL", hide_env_values = true,
        value_parser = database)]
    pub listen_database_url: Option<DatabaseUrl>,
}

impl DatabaseUrls {
    /// Where to hear notifications.
    #[must_use]
    pub fn listen_url(&self) -> &DatabaseUrl {
        self.listen_database_url.as_ref().unwrap_or(&self.database_url)
    }
}

/// How a node knows its users.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens")]
pub struct Tokens {
    /// URL of the key set (JWKS) that tokens are verified with.
    #[arg(long, env = "JWKS_URL", value_name = "URL", value_parser = web)]
    pub jwks_url: Url,
    /// Audiences of which a token must name one, comma-separated; where it is not set, any
    /// token of the issuer is taken.
    #[arg(long, env = "JWT_AUDIENCE", value_name = "AUDIENCES", value_delimiter = ',',
        value_parser = text)]
    pub jwt_audience: Vec<String>,
    /// Issuer that a token must name.
    #[arg(long, env = "JWT_ISSUER", value_name = "ISSUER", value_parser = text)]
    pub jwt_issuer: Option<String>,
}

/// Whom a node asks about memberships and billing.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Memberships and billing")]
pub struct Services {
    /// URL of the auth service that knows who is a member of which space; without it, spaces
    /// are off.
    #[arg(long, env = "MANA_AUTH_URL", value_name = "URL", value_parser = web)]
    pub mana_auth_url: Option<Url>,
    /// URL of the service that knows who has paid; without it, everybody may sync.
    #[arg(long, env = "MANA_CREDITS_URL", value_name = "URL", value_parser = web)]
    pub mana_credits_url: Option<Url>,
    /// Key that this node and the two services show each other; required where one of them is
    /// set.
    #[arg(long, env = "MANA_SERVICE_KEY", value_name = "KEY", hide_env_values = true,
        value_parser = secret)]
    pub mana_service_key: Option<Secret>,
    /// Apps that are synced without asking who has paid, comma-separated.
    #[arg(long, env = "BILLING_EXEMPT_APPS", value_name = "APPS", value_delimiter = ',',
        value_parser = app)]
    pub billing_exempt_apps: Vec<AppId>,
    /// Seconds after which memberships and billing are asked for again.
    #[arg(long = "membership-life-seconds", env = "MEMBERSHIP_LIFE_SECONDS",
        value_name = "SECONDS", default_value = "300", value_parser = seconds(1..=86_400))]
    pub membership_life: Duration,
}

/// How a node stores pushes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Writer")]
pub struct Writer {
    /// Batches of pushes that are stored at the same time.
    #[arg(long, env = "WRITER_LANES", value_name = "LANES", default_value = "4",
        value_parser = number("a number of lanes", 1_usize..=64))]
    pub writer_lanes: usize,
    /// Pushes that may wait for a batch; one more is answered 503.
    #[arg(long, env = "WRITER_QUEUE", value_name = "PUSHES", default_value = "4096",
        value_parser = number("a number of pushes", 1_usize..=1_000_000))]
    pub writer_queue: usize,
    /// Seconds after which a push that is not acknowledged is answered 503.
    #[arg(long = "push-timeout-seconds", env = "PUSH_TIMEOUT_SECONDS",
        value_name = "SECONDS", default_value = "10", value_parser = seconds(1..=300))]
    pub push_timeout: Duration,
}

/// How a node hears of changes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listener")]
pub struct Listener {
    /// Milliseconds between two heartbeats of the listener; after three without one it connects
    /// anew.
    #[arg(long = "heartbeat-ms", env = "HEARTBEAT_MS",
        value_name = "MS", default_value = "1000", value_parser = millis(50..=60_000))]
    pub heartbeat: Duration,
    /// Seconds between two comparisons of what was heard with what is stored.
    #[arg(long = "compare-seconds", env = "COMPARE_SECONDS",
        value_name = "SECONDS", default_value = "30", value_parser = seconds(1..=3_600))]
    pub compare: Duration,
}

/// What one node carries at most.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits (0 turns one off)")]
pub struct Limits {
    /// Connections that may be open; further ones wait to be accepted.
    #[arg(long = "limit-connections", env = "LIMIT_CONNECTIONS", value_name = "CONNECTIONS",
        default_value = "20000", value_parser = limit("a number of connections", 1))]
    pub connections: usize,
    /// Streams that may be open, each WebSocket counted as one; one more is answered 503.
    #[arg(long = "limit-streams", env = "LIMIT_STREAMS", value_name = "STREAMS",
        default_value = "18000", value_parser = limit("a number of streams", 1))]
    pub streams: usize,
    /// Requests that a user may make of this node a second, on average over ten seconds; a WebSocket's
    /// opening counts as one. One more is answered 429.
    #[arg(long = "limit-user-requests", env = "LIMIT_USER_REQUESTS", value_name = "REQUESTS",
        default_value = "200", value_parser = limit("a number of requests a second", 1))]
    pub user_requests: usize,
    /// Streams and WebSockets of one user that may be open, a stream of several apps counted as one
    /// for each; one more is answered 429.
    #[arg(long = "limit-user-streams", env = "LIMIT_USER_STREAMS", value_name = "STREAMS",
        default_value = "200", value_parser = limit("a number of streams", 1))]
    pub user_streams: usize,
    /// Bytes of request bodies of one user that may be in the node's hands, and as many of
    /// answers and of events on their way out; what exceeds them is answered 429, and streams wait.
    #[arg(long = "limit-user-inflight-bytes", env = "LIMIT_USER_INFLIGHT_BYTES",
        value_name = "BYTES", default_value = "67108864",
        value_parser = limit("a number of bytes", MIN_BODIES))]
    pub user_inflight_bytes: usize,
    /// Changes of one user that may be on their way into the log at a time; further pushes of the
    /// user wait their turn, within `PUSH_TIMEOUT_SECONDS`. A larger push goes alone.
    #[arg(long = "limit-user-changes", env = "LIMIT_USER_CHANGES", value_name = "CHANGES",
        default_value = "400", value_parser = limit("a number of changes", 1))]
    pub user_changes: usize,
    /// Seconds that a client may take to send a request's head; a connection without a request
    /// is closed after as long, so keep it above the ingress' own (nginx: 60).
    #[arg(long = "limit-header-seconds", env = "LIMIT_HEADER_SECONDS",
        value_name = "SECONDS", default_value = "75", value_parser = limit_seconds(600))]
    pub header_time: Duration,
    /// Seconds that a client may take to send a request's body.
    #[arg(long = "limit-body-seconds", env = "LIMIT_BODY_SECONDS",
        value_name = "SECONDS", default_value = "60", value_parser = limit_seconds(600))]
    pub body_time: Duration,
    /// Seconds that a request of this node's own may take: to the key set, the auth service, or
    /// the billing service.
    #[arg(long = "limit-outgoing-seconds", env = "LIMIT_OUTGOING_SECONDS",
        value_name = "SECONDS", default_value = "3", value_parser = seconds(1..=60))]
    pub outgoing_time: Duration,
    /// Bytes of request bodies that may be in the node's hands, and as many of answers and of events
    /// on their way out; what exceeds them is answered 503, and streams wait.
    #[arg(long = "limit-inflight-bytes", env = "LIMIT_INFLIGHT_BYTES", value_name = "BYTES",
        default_value = "268435456", value_parser = limit("a number of bytes", MIN_BODIES))]
    pub inflight_bytes: usize,
    /// Bytes of changes kept in memory for the streams that are live; who is behind them reads
    /// the database.
    #[arg(long = "limit-tail-bytes", env = "LIMIT_TAIL_BYTES", value_name = "BYTES",
        default_value = "67108864", value_parser = limit("a number of bytes", 1))]
    pub tail_bytes: usize,
}

/// How a node leaves, counted from SIGTERM.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Draining")]
pub struct Drain {
    /// Seconds that the node serves on after it has said that it is not ready.
    #[arg(long = "drain-delay-seconds", env = "DRAIN_DELAY_SECONDS",
        value_name = "SECONDS", default_value = "5", value_parser = seconds(0..=300))]
    pub drain_delay: Duration,
    /// Seconds over which the ends of its streams are spread thereafter.
    #[arg(long = "drain-spread-seconds", env = "DRAIN_SPREAD_SECONDS",
        value_name = "SECONDS", default_value = "15", value_parser = seconds(0..=600))]
    pub drain_spread: Duration,
    /// Seconds from SIGTERM after which the node exits, whatever is left; keep the pod's grace
    /// period above.
    #[arg(long = "drain-deadline-seconds", env = "DRAIN_DEADLINE_SECONDS",
        value_name = "SECONDS", default_value = "30", value_parser = seconds(1..=900))]
    pub drain_deadline: Duration,
}

/// What a node says of its work.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub struct Log {
    /// Shape of a log line.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged, as filter directives such as `info,mana_sync::relay=debug`.
    #[arg(long = "log", env = "LOG", value_name = "FILTER", default_value = "info",
        value_parser = log_filter)]
    pub log_filter: String,
    /// Key of the pseudonyms that stand for users in the log. With one key, all nodes name a user
    /// alike; without, each node's names are its own, and new at each start.
    #[arg(long, env = "LOG_USER_KEY", value_name = "KEY", hide_env_values = true,
        value_parser = secret)]
    pub log_user_key: Option<Secret>,
    /// URL of an OpenTelemetry collector (OTLP over HTTP, without `/v1/traces`) that traces are sent
    /// to. For builds with the feature `otel`, which read other `OTEL_…` variables too.
    #[arg(long = "otel-exporter-otlp-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = web)]
    pub otlp_endpoint: Option<Url>,
}
