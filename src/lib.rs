//! A stateless sync node for local-first apps: Postgres holds the log, any replica serves any
//! user.
//!
//! # A tour
//!
//! Begin with [`node::Node::start`], which puts the parts together, then follow a push:
//! [`http`] verifies who asks and parses the changeset ([`protocol`]), [`writer`] stores it with
//! all others that wait by one call of [`store`], which also rings. Every node's [`listener`] hears
//! that ([`doorbell`]), [`relay`] moves the [`watermark`], and so [`progress`], for which the push
//! waits; then `relay` reads what moved into the tails of [`feed`], from which the streams of
//! [`http`] take it. [`auth`] and [`directory`] know who the user is, and of which spaces a member.
//!
//! Modules stand in this order: each imports only what stands above it.

#[cfg(feature = "mutants")]
pub mod mutants;

pub mod id;
pub mod protocol;
// Metrics, permissions and doorbells are plain values too.
pub mod metrics;
pub mod grant;
pub mod doorbell;
pub mod progress;
pub mod group;
pub mod watermark;
pub mod recent;
// The database.
pub mod store;
// What happens by itself.
pub mod feed;
pub mod writer;
pub mod news;
pub mod listener;
pub mod relay;
// Who asks, and the answer.
pub mod auth;
pub mod directory;
pub mod http;
// Putting it together.
pub mod telemetry;
pub mod config;
pub mod node;
pub mod doctor;
pub mod dev;
pub mod commands;
