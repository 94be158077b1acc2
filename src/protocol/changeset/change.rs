//! One change of a body: from raw parts to what can be stored.

use std::iter;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::fields::{Field, read_fields};
use super::{
    BadChangeset, MAX_DEPTH, NewChange, Op, Place, check, json, object, scan, schema_version,
    string,
};
use crate::id::{BadId, SpaceId, TableName};
use crate::protocol::limits::MAX_RECORD_BYTES;

/// How deep a change's values stand in a body: in its object, in the array, in the body.
const DEPTH: usize = 3;
/// Begins the name of a space that is a user's own, and so none.
pub const PERSONAL: &str = "_personal:";

/// A change's parts, as they came; `null` is as good as absent.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    event: Option<&'a RawValue>,
    table: Option<&'a RawValue>,
    record: Option<&'a RawValue>,
    op: Option<&'a RawValue>,
    space: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    fields: Option<&'a RawValue>,
    deleted_at: Option<&'a RawValue>,
    schema_version: Option<&'a RawValue>,
    actor: Option<&'a RawValue>,
    origin: Option<&'a RawValue>,
    deep: bool,
    nul: bool,
}

impl<'a> Parts<'a> {
    /// Keeps a member; `suspect` says whether there is a U+0000 somewhere in the body.
    pub(super) fn take(&mut self, key: &RawValue, value: &'a RawValue, suspect: bool) {
        self.deep |= scan::deeper_than(value.get(), MAX_DEPTH - DEPTH);
        self.nul |= suspect && (scan::has_nul(key.get()) || scan::has_nul(value.get()));
        let slot = match json::string(key).as_deref() {
            Some("eventId") => &mut self.event,
            Some("table") => &mut self.table,
            Some("id") => &mut self.record,
            Some("op") => &mut self.op,
            Some("spaceId") => &mut self.space,
            Some("data") => &mut self.data,
            Some("fields") => &mut self.fields,
            Some("deletedAt") => &mut self.deleted_at,
            Some("schemaVersion") => &mut self.schema_version,
            Some("actor") => &mut self.actor,
            Some("origin") => &mut self.origin,
            _ => return,
        };
        *slot = json::given(value);
    }

    /// Checks the parts of the change at `index`. `version` is the body's schema version, and
    /// `before` the change before, whose table this one mostly shares.
    pub(super) fn read(
        &self,
        index: usize,
        version: i32,
        before: Option<&NewChange>,
    ) -> Result<NewChange, BadChangeset> {
        let at = Place::Change(index);
        check(at, self.deep, self.nul)?;
        let op = self.op(at)?;
        let table = self.table(at, before)?;
        let record = self.record(at)?;
        let own_version = schema_version(format_args!("{at}.schemaVersion"), self.schema_version)?;
        // Checked whatever the operation, so that what a client may send is one form.
        let data = object(format_args!("{at}.data"), self.data)?;
        let fields = object(format_args!("{at}.fields"), self.fields)?;
        let fields = fields.map(|fields| read_fields(at, fields)).transpose()?;
        string(format_args!("{at}.deletedAt"), self.deleted_at)?;
        let actor = object(format_args!("{at}.actor"), self.actor)?;
        let origin = string(format_args!("{at}.origin"), self.origin)?;
        let space = self.space(fields.as_deref());
        let (data, field_timestamps) = match op {
            Op::Insert => (data.map(|data| data.get().to_owned()), None),
            Op::Update => {
                (fields.as_deref().map(Field::values), fields.as_deref().map(Field::times))
            }
            Op::Delete => {
                (self.deleted_at.map(|time| format!("{{\"deletedAt\":{}}}", time.get())), None)
            }
        };
        Ok(NewChange {
            event: self.event(at)?,
            table,
            record,
            op,
            space,
            data,
            field_timestamps,
            schema_version: own_version.unwrap_or(version),
            actor: actor.map(|actor| actor.get().to_owned()),
            origin: origin.map(Into::into),
        })
    }

    fn op(&self, at: Place) -> Result<Op, BadChangeset> {
        let op = string(format_args!("{at}.op"), self.op)?.ok_or_else(|| missing(at, "op"))?;
        Op::parse(&op).ok_or_else(|| {
            BadChangeset::Invalid(format!(
                "{at}: op must be insert, update or delete, not {}",
                scan::quoted(&op)
            ))
        })
    }

    fn table(&self, at: Place, before: Option<&NewChange>) -> Result<TableName, BadChangeset> {
        let name = string(format_args!("{at}.table"), self.table)?;
        let name = name.ok_or_else(|| missing(at, "table"))?;
        match before {
            Some(before) if before.table.as_str() == name => Ok(before.table.clone()),
            _ => TableName::new(&name).map_err(|reason| bad_id(at, "table", reason)),
        }
    }

    fn record(&self, at: Place) -> Result<String, BadChangeset> {
        let id = string(format_args!("{at}.id"), self.record)?.ok_or_else(|| missing(at, "id"))?;
        if id.is_empty() {
            return Err(bad_id(at, "id", BadId::Empty));
        }
        if id.len() > MAX_RECORD_BYTES {
            return Err(bad_id(at, "id", BadId::TooLong { max: MAX_RECORD_BYTES }));
        }
        Ok(id.into_owned())
    }

    fn event(&self, at: Place) -> Result<Option<Uuid>, BadChangeset> {
        match string(format_args!("{at}.eventId"), self.event)? {
            Some(id) => Uuid::try_parse(&id).map(Some).map_err(|_| {
                let id = scan::quoted(&id);
                BadChangeset::Invalid(format!("{at}: eventId must be a UUID, not {id}"))
            }),
            None => Ok(None),
        }
    }

    /// The first place that names a space wins; what can't be a space's name is passed over, and
    /// stays in the data.
    fn space(&self, fields: Option<&[Field<'a>]>) -> Option<SpaceId> {
        let in_data = || self.data.and_then(|data| json::member(data.get(), "spaceId"));
        let in_fields = || Field::value_of(fields?, "spaceId");
        self.space
            .into_iter()
            .chain(iter::once_with(in_data).flatten())
            .chain(iter::once_with(in_fields).flatten())
            .find_map(|value| SpaceId::new(&json::string(value)?).ok())
            .filter(|space| !space.as_str().starts_with(PERSONAL))
    }
}

fn missing(at: Place, key: &str) -> BadChangeset {
    BadChangeset::Invalid(format!("{at}: {key} is missing"))
}

fn bad_id(at: Place, key: &str, reason: BadId) -> BadChangeset {
    BadChangeset::Invalid(format!("{at}: {key} {reason}"))
}
