//! A stateless sync node for local-first apps: Postgres holds the log, any replica serves any
//! user.

pub mod auth;
pub mod config;
pub mod dev;
pub mod directory;
pub mod doorbell;
pub mod feed;
pub mod grant;
pub mod http;
pub mod id;
pub mod listener;
pub mod metrics;
pub mod node;
pub mod progress;
pub mod protocol;
pub mod relay;
pub mod store;
pub mod telemetry;
pub mod watermark;
pub mod writer;
