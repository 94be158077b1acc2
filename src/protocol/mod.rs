//! The wire: cursors, changesets, events and bounds, without any I/O.
//!
//! Everything that decides what bytes mean, or which bytes go out, stands here as functions from
//! values to values, so that the protocol can be read and tested in one place. The invariant:
//! payloads pass through as raw text, so that no number loses digits and no key is lost.

pub mod limits;
pub mod wire;

mod changeset;
mod cursor;
mod json;
mod scan;
mod tables;

pub use changeset::{BadChangeset, Changeset, NewChange, Op, PERSONAL};
pub use cursor::{Cursor, History, PageEnd, page_end};
pub use tables::{BadTables, Ranges, Tables};
pub use wire::{PageBody, StoredChange, Unpublished};
