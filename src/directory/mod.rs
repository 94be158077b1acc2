//! What other services know of a user: which spaces they are in, and whether they pay.

pub mod billing;
mod lookups;
pub mod members;
pub mod services;
