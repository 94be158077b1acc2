//! What other services know of a user: which spaces they are in, and whether they pay.

pub mod billing;
pub mod members;
pub mod services;
