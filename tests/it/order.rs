//! The one order of all changes: nothing commits behind the horizon, and stamps are unique
//! whatever happens to those who draw them.

mod horizon;
mod stamps;
mod stopped;
mod stress;
mod waits;
