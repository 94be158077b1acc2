//! Commands that are more than a call: what they are told, and what they say.

mod bar;
pub mod import;
