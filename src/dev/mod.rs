//! What a developer's machine lacks: a Postgres, and the auth and billing services.
//!
//! `mana-sync dev` and the integration tests run the real node against these stand-ins. Nothing
//! here is used by a node in production.
//!
//! Invariant: what is started here ends with whoever started it, also by `kill -9`.

pub mod command;
mod demo;
mod desk;
mod fleet;
mod guide;
pub mod issuer;
pub mod postgres;
