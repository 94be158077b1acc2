//! A stateless sync node for local-first apps.

pub mod id;
pub mod metrics;
pub mod auth;
pub mod directory;
pub mod dev;
