//! What a push carries, read from its body.
//!
//! A body may have 10 MB and comes from anyone, so it is read in few passes and without trees:
//! one mends escapes in place ([`scan`]), one cuts the body into the raw parts of its changes
//! ([`body`]), and then each change is checked and its payloads are copied as text ([`change`]).
//! The invariant: a [`Changeset`] can be stored as it is. Whatever Postgres would refuse, or a
//! limit forbids, has been refused here, with a message that names the change.

mod body;
mod change;
mod fields;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde_json::value::RawValue;
use uuid::Uuid;

pub use self::change::PERSONAL;

use self::body::Body;
use super::cursor::Cursor;
use super::json;
use super::limits::{HIGHEST_SCHEMA_VERSION, MAX_BODY_BYTES, MAX_CHANGES, MAX_DEPTH};
use super::scan;
use crate::id::{ClientId, SpaceId, TableName};

/// What one push carries: changes of one client, stored all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changeset {
    /// The client that speaks, where the body names one; the header wins over it.
    pub client: Option<ClientId>,
    /// Up to where the client has read.
    pub since: Cursor,
    /// The changes, in the client's order; each event once.
    pub changes: Vec<NewChange>,
}

/// A change as a client pushed it, checked, its payloads still text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChange {
    /// The event's id, where the client gave one.
    pub event: Option<Uuid>,
    /// The table of the record.
    pub table: TableName,
    /// The record's id within its table: 1 to 1024 bytes, storable.
    pub record: String,
    /// What is done to the record.
    pub op: Op,
    /// The space the change is meant for.
    pub space: Option<SpaceId>,
    /// A JSON object: an insert's data, an update's values by name, a delete's `deletedAt`.
    pub data: Option<String>,
    /// A JSON object: the times of an update's fields by name.
    pub field_timestamps: Option<String>,
    /// The version of the client's schema.
    pub schema_version: i32,
    /// A JSON object that says who acted; opaque.
    pub actor: Option<String>,
    /// Where the change came from; opaque.
    pub origin: Option<String>,
}

/// What a change does to its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Makes it.
    Insert,
    /// Changes some of its fields.
    Update,
    /// Removes it.
    Delete,
}

impl Op {
    /// The operation as it stands on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// The operation that `text` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Insert, Self::Update, Self::Delete].into_iter().find(|op| op.as_str() == text)
    }
}

/// Why a body is no changeset. The message names what is wrong, a change by its index, and holds
/// nothing but what the client sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChangeset {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body is JSON, but not a changeset that can be stored.
    #[error("{0}")]
    Invalid(String),
    /// A schema version above [`HIGHEST_SCHEMA_VERSION`].
    #[error("{0}")]
    SchemaVersion(String),
    /// More bytes or changes than a push may carry.
    #[error("{0}")]
    TooLarge(String),
}

impl BadChangeset {
    /// A stable name of the kind of failure, for clients to branch on.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "invalid_json",
            Self::Invalid(_) => "invalid_changeset",
            Self::SchemaVersion(_) => "unsupported_schema_version",
            Self::TooLarge(_) => "too_large",
        }
    }
}

impl Changeset {
    /// Reads the body of a push.
    ///
    /// # Errors
    /// [`BadChangeset`] where anything of it can't be stored: then nothing of it is.
    pub fn parse(mut body: Vec<u8>) -> Result<Self, BadChangeset> {
        if body.len() > MAX_BODY_BYTES {
            let most = MAX_BODY_BYTES;
            return Err(BadChangeset::TooLarge(format!("the body has more than {most} bytes")));
        }
        let nul = scan::mend_escapes(&mut body);
        let text = String::from_utf8(body).map_err(|e| BadChangeset::NotJson(e.to_string()))?;
        let body = Body::read(&text, nul)?;
        check(Place::Body, body.deep, body.nul)?;
        let client = match string(format_args!("clientId"), body.client)? {
            Some(id) if !id.is_empty() => Some(
                ClientId::new(&id)
                    .map_err(|reason| BadChangeset::Invalid(format!("clientId {reason}")))?,
            ),
            _ => None,
        };
        let since = string(format_args!("since"), body.since)?;
        let version = schema_version(format_args!("schemaVersion"), body.schema_version)?;
        let mut changes: Vec<NewChange> = Vec::with_capacity(body.changes.len());
        let mut events = HashSet::new();
        for (index, parts) in body.changes.iter().enumerate() {
            let change = parts.read(index, version.unwrap_or(1), changes.last())?;
            if change.event.is_none_or(|event| events.insert(event)) {
                changes.push(change);
            }
        }
        Ok(Self {
            client,
            since: since.map_or(Cursor::START, |text| Cursor::parse(&text)),
            changes,
        })
    }
}

/// Where in a body something stands, as messages say it.
#[derive(Debug, Clone, Copy)]
enum Place {
    Body,
    Changes,
    Change(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("the body"),
            Self::Changes => f.write_str("changes"),
            Self::Change(index) => write!(f, "changes[{index}]"),
        }
    }
}

fn expected(path: impl fmt::Display, what: &str) -> BadChangeset {
    BadChangeset::Invalid(format!("{path}: expected {what}"))
}

/// Refuses what the passes over the text found at a place.
fn check(place: Place, deep: bool, nul: bool) -> Result<(), BadChangeset> {
    if deep {
        let message = format!("{place}: objects and arrays stand more than {MAX_DEPTH} deep");
        return Err(BadChangeset::Invalid(message));
    }
    if nul {
        return Err(BadChangeset::Invalid(format!("{place}: a string or key has a U+0000")));
    }
    Ok(())
}

fn string(
    path: impl fmt::Display,
    value: Option<&RawValue>,
) -> Result<Option<Cow<'_, str>>, BadChangeset> {
    value.map(|value| json::string(value).ok_or_else(|| expected(path, "a string"))).transpose()
}

fn object(
    path: impl fmt::Display,
    value: Option<&RawValue>,
) -> Result<Option<&RawValue>, BadChangeset> {
    match value {
        Some(value) if !json::is_object(value) => Err(expected(path, "an object")),
        value => Ok(value),
    }
}

/// The schema version at `path`; what is not above 0 means 1.
fn schema_version(
    path: impl fmt::Display,
    value: Option<&RawValue>,
) -> Result<Option<i32>, BadChangeset> {
    let Some(text) = value.map(RawValue::get) else { return Ok(None) };
    let Ok(version) = text.parse::<f64>() else { return Err(expected(path, "an integer")) };
    // For JSON, `1.0` and `1e0` are integers; what is too large for a fraction is one, too.
    if version.is_finite() && version.fract() != 0.0 {
        return Err(expected(path, "an integer"));
    }
    if version > f64::from(HIGHEST_SCHEMA_VERSION) {
        return Err(BadChangeset::SchemaVersion(format!(
            "{path}: above {HIGHEST_SCHEMA_VERSION}, the highest supported"
        )));
    }
    let mut known = (1..=HIGHEST_SCHEMA_VERSION).rev();
    Ok(known.find(|known| f64::from(*known) <= version).or(Some(1)))
}

#[cfg(test)]
mod tests;
