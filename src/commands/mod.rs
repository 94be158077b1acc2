//! Commands that are more than a call: what they are told, and what they say.
//!
//! `tail` and `push` are clients of the wire like any other: what they know of a node, it told them
//! over HTTP.

mod access;
mod bar;
pub mod completions;
mod events;
pub mod examples;
pub mod import;
pub mod push;
pub mod tail;

pub use access::ClientError;
