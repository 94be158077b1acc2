//! What a node is told: the configuration, sorted by part.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use ipnet::IpNet;
use url::Url;

use super::NodeError;
use crate::config::{Config, Secret};
use crate::directory::services::ServiceKey;
use crate::http::{Limits, ServerSettings};
use crate::id::AppId;
use crate::protocol::limits::HEARTBEAT;
use crate::{auth, listener, store, writer};

/// A peer that acknowledges nothing for so long is gone.
const PEER_TIME: Duration = Duration::from_secs(30);

/// Everything a node is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens for clients.
    pub address: SocketAddr,
    /// Where it listens for those who operate it, if not there.
    pub admin_address: Option<SocketAddr>,
    /// The database.
    pub database: store::Settings,
    /// Where and how it LISTENs.
    pub listener: listener::Settings,
    /// Whose tokens it takes.
    pub auth: auth::Settings,
    /// The auth service; without one, spaces are off.
    pub auth_url: Option<Url>,
    /// The billing service; without one, nobody is refused.
    pub credits_url: Option<Url>,
    /// How long a request to the key set or to a service may take.
    pub outgoing_time: Duration,
    /// The secret shared with both services.
    pub service_key: Option<ServiceKey>,
    /// Apps that are not billed.
    pub exempt: HashSet<AppId>,
    /// Pages of these origins may call.
    pub origins: Vec<HeaderValue>,
    /// Whether it serves the console.
    pub console: bool,
    /// How long an answer about memberships is good for.
    pub membership_life: Duration,
    /// Group commit.
    pub writer: writer::Settings,
    /// Bytes of all live tails together.
    pub tail_bytes: usize,
    /// Bounds of the HTTP layer.
    pub limits: Limits,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub proxies: Vec<IpNet>,
    /// The key of users' names in the log.
    pub log_key: Option<Secret>,
    /// Sockets.
    pub server: ServerSettings,
    /// How often rings are compared with the log.
    pub compare_every: Duration,
    /// How it leaves.
    pub leaving: Leaving,
}

/// How a node leaves.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// From unready until no connection is accepted.
    pub delay: Duration,
    /// Over which the ends of streams are spread.
    pub spread: Duration,
    /// After which it ends, whatever is under way.
    pub deadline: Duration,
}

impl Settings {
    /// Sorts the configuration by part.
    ///
    /// # Errors
    /// [`NodeError::Settings`] where a value has a form that no header can carry.
    pub fn new(config: &Config) -> Result<Self, NodeError> {
        let Config { server, database, tokens, services, limits, drain, .. } = config;
        let key = services.mana_service_key.as_ref().map(|key| ServiceKey::new(key.reveal()));
        let origins =
            server.cors_origins.iter().map(|origin| HeaderValue::from_str(origin.as_str()));
        Ok(Self {
            address: SocketAddr::new(server.bind, server.port),
            admin_address: server.admin_port.map(|port| SocketAddr::new(server.bind, port)),
            database: store::Settings {
                url: database.urls.database_url.reveal().to_owned(),
                connections: database.database_pool_size,
                acquire: database.acquire_timeout,
                statement: database.database_timeout,
            },
            listener: listener::Settings {
                url: database.urls.listen_url().reveal().to_owned(),
                heartbeat: config.listener.heartbeat,
            },
            auth: auth::Settings {
                jwks_url: tokens.jwks_url.clone(),
                audience: tokens.jwt_audience.clone(),
                issuer: tokens.jwt_issuer.clone(),
            },
            auth_url: services.mana_auth_url.clone(),
            credits_url: services.mana_credits_url.clone(),
            outgoing_time: limits.outgoing_time,
            service_key: key
                .transpose()
                .map_err(|_| NodeError::Settings("MANA_SERVICE_KEY must be visible ASCII"))?,
            exempt: services.billing_exempt_apps.iter().cloned().collect(),
            origins: origins
                .collect::<Result<_, _>>()
                .map_err(|_| NodeError::Settings("CORS_ORIGINS must be visible ASCII"))?,
            console: server.console,
            membership_life: services.membership_life,
            writer: writer::Settings {
                lanes: config.writer.writer_lanes,
                queue: config.writer.writer_queue,
                patience: config.writer.push_timeout,
            },
            tail_bytes: limits.tail_bytes,
            limits: Limits {
                inflight_bytes: limits.inflight_bytes,
                body_time: limits.body_time,
                streams: limits.streams,
                user_streams: limits.user_streams,
                user_requests: limits.user_requests,
                user_inflight_bytes: limits.user_inflight_bytes,
                user_changes: limits.user_changes,
                heartbeat: HEARTBEAT,
            },
            proxies: server.trusted_proxies.clone(),
            log_key: config.log.log_user_key.clone(),
            server: ServerSettings {
                connections: limits.connections,
                header_time: limits.header_time,
                peer_time: PEER_TIME,
            },
            compare_every: config.listener.compare,
            leaving: Leaving {
                delay: drain.drain_delay,
                spread: drain.drain_spread,
                deadline: drain.drain_deadline,
            },
        })
    }
}
