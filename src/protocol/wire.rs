//! What goes out to clients, straight into bytes.
//!
//! A change goes out many times and is made once, from the text the log holds: payloads are
//! copied, not parsed. The invariant: what is written is exactly what clients in the field split
//! by hand, whatever a program with SQL put into the log.

mod change;
mod event;
mod framed;
mod page;

pub use change::StoredChange;
pub use event::{EXPIRED, HEARTBEAT, Origin, changes_event, reconnect_event, spaces_event};
pub use framed::Framed;
pub use page::{PageBody, Unpublished};
