//! The rules of docs/protocol.md, each over HTTP. What concerns spaces stands in `memberships`.

mod answers;
mod apps;
mod auth;
mod bad;
mod billing;
mod cursor;
mod health;
mod limits;
mod payload;
mod pull;
mod push;
mod requests;
mod rubbish;
mod rules;
mod space;
mod stream;
pub mod talk;
mod websocket;
