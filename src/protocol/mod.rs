//! The wire: cursors, changesets, events and bounds, without any I/O.
//!
//! Everything that decides what bytes mean, or which bytes go out, stands here as functions from
//! values to values, so that the protocol can be read and tested in one place. The invariant:
//! payloads pass through as raw text, so that no number loses digits and no key is lost.

pub mod limits;

mod changeset;
mod cursor;
mod event;
mod json;
mod page;
mod scan;
mod tables;
mod wire;

pub use changeset::{BadChangeset, Changeset, NewChange, Op};
pub use cursor::{Cursor, History, PageEnd, page_end};
pub use event::{EXPIRED_EVENT, HEARTBEAT_EVENT, changes_event, reconnect_event, spaces_event};
pub use page::{PageBody, Unpublished};
pub use tables::{BadTables, Tables};
pub use wire::StoredChange;
