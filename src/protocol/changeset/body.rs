//! Cuts a body into raw parts, in one pass.
//!
//! Unknown keys are passed over. Of a key given twice the last counts, as for `JSON.parse`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::change::Parts;
use super::{BadChangeset, MAX_CHANGES, MAX_DEPTH, Place, expected, json, scan};

/// A body's parts, as they came.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) client: Option<&'a RawValue>,
    pub(super) since: Option<&'a RawValue>,
    pub(super) schema_version: Option<&'a RawValue>,
    pub(super) changes: Vec<Parts<'a>>,
    /// Whether something outside the changes is nested too deep, or holds a U+0000.
    pub(super) deep: bool,
    pub(super) nul: bool,
    /// Whether there is a U+0000 anywhere: only then is it looked for.
    suspect: bool,
    /// How many changes were seen; only as many as allowed are kept.
    seen: usize,
    /// What is being read.
    place: Place,
}

impl<'a> Body<'a> {
    /// Cuts `text`; `suspect` says whether there is a U+0000 anywhere in it.
    pub(super) fn read(text: &'a str, suspect: bool) -> Result<Self, BadChangeset> {
        let mut body = Self {
            client: None,
            since: None,
            schema_version: None,
            changes: Vec::new(),
            deep: false,
            nul: false,
            suspect,
            seen: 0,
            place: Place::Body,
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read =
            BodyOf(&mut body).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        match read {
            Ok(()) if body.seen > MAX_CHANGES => Err(BadChangeset::TooLarge(format!(
                "changes: at most {MAX_CHANGES} in one push, not {}",
                body.seen
            ))),
            Ok(()) => Ok(body),
            Err(error) if error.is_data() => Err(match body.place {
                Place::Changes => expected(body.place, "an array"),
                Place::Body | Place::Change(_) => expected(body.place, "an object"),
            }),
            Err(error) => Err(BadChangeset::NotJson(error.to_string())),
        }
    }

    fn take(&mut self, key: &RawValue, value: &'a RawValue) {
        self.deep |= scan::deeper_than(value.get(), MAX_DEPTH - 1);
        self.nul |= self.suspect && (scan::has_nul(key.get()) || scan::has_nul(value.get()));
        let slot = match json::string(key).as_deref() {
            Some("clientId") => &mut self.client,
            Some("since") => &mut self.since,
            Some("schemaVersion") => &mut self.schema_version,
            _ => return,
        };
        *slot = json::given(value);
    }
}

/// Reads the body's object.
struct BodyOf<'b, 'a>(&'b mut Body<'a>);

impl<'de> DeserializeSeed<'de> for BodyOf<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BodyOf<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&'de RawValue>()? {
            if json::string(key).as_deref() == Some("changes") {
                self.0.place = Place::Changes;
                map.next_value_seed(ChangesOf(self.0))?;
                self.0.place = Place::Body;
            } else {
                self.0.take(key, map.next_value()?);
            }
        }
        Ok(())
    }
}

/// Reads the array of changes, or a `null` in its place.
struct ChangesOf<'b, 'a>(&'b mut Body<'a>);

impl<'de> DeserializeSeed<'de> for ChangesOf<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.changes.clear();
        self.0.seen = 0;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ChangesOf<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let body = self.0;
        while body.seen < MAX_CHANGES {
            body.place = Place::Change(body.seen);
            let mut parts = Parts::default();
            let suspect = body.suspect;
            let members = json::Members(|key, value| parts.take(key, value, suspect));
            if seq.next_element_seed(members)?.is_none() {
                return Ok(());
            }
            body.changes.push(parts);
            body.seen += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            body.seen += 1;
        }
        Ok(())
    }
}
