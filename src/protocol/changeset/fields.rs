//! The fields of an update: values and times, apart.
//!
//! On the wire a field is one object; in the log the values of an update and their times are two,
//! with the same keys, spelled as the client spelled them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::value::RawValue;

use super::{BadChangeset, Place, json, object, scan, string};

/// A field of an update: its key as it stands in the text, quotes included, its value, its time.
#[derive(Debug)]
pub(super) struct Field<'a> {
    key: &'a RawValue,
    value: Option<&'a RawValue>,
    time: Option<&'a RawValue>,
}

/// Reads the object `fields` of the change at `at`, in its order; of a name given twice the last
/// counts, at the place of the first.
pub(super) fn read_fields<'a>(
    at: Place,
    fields: &'a RawValue,
) -> Result<Vec<Field<'a>>, BadChangeset> {
    let mut members = Vec::new();
    json::each_member(fields.get(), |key, value| members.push((key, value)));
    let mut read: Vec<Field<'a>> = Vec::with_capacity(members.len());
    let mut places = HashMap::with_capacity(members.len());
    for (key, value) in members {
        let name = json::string(key).unwrap_or_default();
        let field = read_field(at, &name, key, value)?;
        match places.entry(name) {
            Entry::Occupied(place) => read[*place.get()] = field,
            Entry::Vacant(place) => {
                place.insert(read.len());
                read.push(field);
            }
        }
    }
    Ok(read)
}

fn read_field<'a>(
    at: Place,
    name: &str,
    key: &'a RawValue,
    field: &'a RawValue,
) -> Result<Field<'a>, BadChangeset> {
    let path = |rest: &str| format!("{at}.fields[{}]{rest}", scan::quoted(name));
    if !json::is_object(field) {
        object(path(""), Some(field))?;
    }
    let (mut value, mut updated_at, mut short_at) = (None, None, None);
    json::each_member(field.get(), |key, member| match json::string(key).as_deref() {
        Some("value") => value = Some(member),
        Some("updatedAt") => updated_at = json::given(member),
        Some("at") => short_at = json::given(member),
        _ => {}
    });
    for (spelling, time) in [(".updatedAt", updated_at), (".at", short_at)] {
        if time.is_some_and(|time| !time.get().starts_with('"')) {
            string(path(spelling), time)?;
        }
    }
    Ok(Field { key, value, time: updated_at.or(short_at) })
}

impl<'a> Field<'a> {
    /// The value of the field of that name.
    pub(super) fn value_of(fields: &[Self], name: &str) -> Option<&'a RawValue> {
        fields.iter().find(|field| json::string(field.key).is_some_and(|key| key == name))?.value
    }

    /// The object of the values by name.
    pub(super) fn values(fields: &[Self]) -> String {
        object_of(fields.iter().map(|field| (field.key, field.value.map_or("null", RawValue::get))))
    }

    /// The object of the times by name, of the fields that have one.
    pub(super) fn times(fields: &[Self]) -> String {
        object_of(fields.iter().filter_map(|field| Some((field.key, field.time?.get()))))
    }
}

fn object_of<'a>(members: impl Iterator<Item = (&'a RawValue, &'a str)> + Clone) -> String {
    let size: usize = members.clone().map(|(key, value)| key.get().len() + value.len() + 2).sum();
    let mut object = String::with_capacity(size + 2);
    object.push('{');
    for (key, value) in members {
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(key.get());
        object.push(':');
        object.push_str(value);
    }
    object.push('}');
    object
}
