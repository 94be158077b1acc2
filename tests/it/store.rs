//! Every function of the store on a real Postgres, through `Store` where it is public, else by
//! the SQL that it calls.

mod append;
mod feeds;
mod identity;
mod members;
mod plain;
pub mod publish;
mod rings;
pub mod sql;
mod standby;
mod start;
