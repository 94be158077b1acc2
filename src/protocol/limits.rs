//! The bounds of what goes over the wire.
//!
//! They stand in one place because a bound is part of the protocol: clients size their pushes by
//! it, and what lies above it gets a 400 or a 413 that names it.

use std::time::Duration;

/// The most bytes a request's body may have ("at most 10 MB").
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// The most changes a changeset may carry.
pub const MAX_CHANGES: usize = 10_000;

/// The deepest nesting of objects and arrays in a body, its root counted as 1.
pub const MAX_DEPTH: usize = 128;

/// The most bytes the id of a record may have.
pub const MAX_RECORD_BYTES: usize = 1024;

/// The highest schema version this node understands.
pub const HIGHEST_SCHEMA_VERSION: i32 = 1;

/// The most changes on a page, and on one event of a stream.
pub const PAGE_ROWS: usize = 1000;

/// About the most bytes on a page; a single larger change goes alone.
pub const PAGE_BYTES: usize = 4_000_000;

/// The most names in a `collections=` list.
pub const MAX_COLLECTIONS: usize = 1000;

/// The most apps of one stream.
pub const MAX_APPS: usize = 32;

/// How often a stream without news says that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(30);
