//! Integration tests: real nodes, real sockets, a real Postgres.
//!
//! Each test has a database of its own in one private Postgres, and as many nodes as it needs.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests spawn what they watch")]
#![expect(unreachable_pub, reason = "helpers of one binary")]

mod support;

mod architecture;
mod codes;
mod console;
mod doctor;
mod exposure;
mod failover;
mod faults;
mod import;
mod ingress;
mod isolation;
mod latency;
mod linger;
mod memberships;
mod metrics;
mod model;
mod openapi;
mod order;
mod plans;
mod processes;
mod protocol;
mod quotas;
mod seeds;
mod session;
mod smoke;
mod store;
mod streams;
#[cfg(feature = "otel")]
mod traces;
mod upgrade;
mod writer;
