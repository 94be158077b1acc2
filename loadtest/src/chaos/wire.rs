//! Changes as the cast makes them and pages as it reads them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::oracle::{Number, Sighting};

/// The apps in which they act, each of them in one.
pub(super) const APPS: [&str; 2] = ["chaos-notes", "chaos-todo"];
/// The tables of each.
pub(super) const TABLES: [&str; 3] = ["tasks", "notes", "tags"];
/// Records of a table in a space, or of a user: few, so that many changes meet.
const RECORDS: u32 = 120;
/// One text in so many is long.
const LONG: u32 = 250;
/// And so many while some streams are not read: what waits for them is to be more than all
/// sockets on the way hold.
const LONG_STALLED: u32 = 8;
/// The clocks of clients are wrong by up to so many days.
const SKEW_DAYS: i64 = 3_650;

/// A page or an event.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(rename = "serverChanges", alias = "changes")]
    pub(super) changes: Vec<Seen>,
    /// Of an event.
    pub(super) table: Option<String>,
    /// Of an event of a stream of several apps.
    #[serde(rename = "appId")]
    app: Option<String>,
    #[serde(rename = "syncedUntil")]
    pub(super) synced_until: String,
    #[serde(rename = "hasMore", default)]
    pub(super) has_more: bool,
    #[serde(default)]
    pub(super) unpublished: Vec<Unpublished>,
}

impl Page {
    /// The app that it names.
    pub(super) fn app(&self) -> Option<usize> {
        APPS.iter().position(|app| Some(*app) == self.app.as_deref())
    }
}

/// A change that is kept for its author, as an answer names it.
#[derive(Debug, Deserialize)]
pub(super) struct Unpublished {
    table: String,
    id: String,
}

impl Unpublished {
    /// Whether it is of this record.
    pub(super) fn is_of(&self, seen: &Seen) -> bool {
        self.table == seen.table && self.id == seen.id
    }
}

/// A change, as a reader sees it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    event_id: Option<String>,
    pub(super) table: String,
    pub(super) id: String,
    op: String,
    data: Option<Data>,
    fields: Option<HashMap<String, Field>>,
    deleted_at: Option<String>,
    pub(super) space_id: Option<String>,
    origin: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Data {
    title: String,
    at: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Field {
    value: String,
    #[serde(rename = "updatedAt")]
    updated_at: Option<String>,
    at: Option<String>,
}

/// What a change does to its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect<'a> {
    /// Gives it a title, at a time by the client's clock.
    Title { at: &'a str, title: &'a str },
    /// Deletes it, at that time.
    Delete { at: &'a str },
}

impl Seen {
    /// What it does; none where it says nothing that makes sense.
    pub(super) fn effect(&self) -> Option<Effect<'_>> {
        match self.op.as_str() {
            "insert" => {
                let data = self.data.as_ref()?;
                Some(Effect::Title { at: &data.at, title: &data.title })
            }
            "update" => {
                let field = self.fields.as_ref()?.get("title")?;
                let at = field.updated_at.as_deref().or(field.at.as_deref())?;
                Some(Effect::Title { at, title: &field.value })
            }
            "delete" => Some(Effect::Delete { at: self.deleted_at.as_deref()? }),
            _ => None,
        }
    }

    /// Of all that readers are to see of it.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.table, &self.id, &self.op, &self.space_id).hash(&mut hasher);
        match self.effect() {
            Some(Effect::Title { at, title }) => (at, title).hash(&mut hasher),
            Some(Effect::Delete { at }) => at.hash(&mut hasher),
            None => {}
        }
        hasher.finish()
    }

    /// As the oracle takes it, from a page that names this app.
    pub(super) fn sighting(&self, app: Option<usize>) -> Sighting {
        let event = self.event_id.as_deref().and_then(|event| Uuid::parse_str(event).ok());
        Sighting {
            app,
            number: self.origin.as_deref().and_then(number_of),
            event: event.map(|event| event.as_u128()),
            digest: self.digest(),
        }
    }
}

/// What says in a change which one it is: an opaque text that comes back as it went.
fn origin(number: Number) -> String {
    format!("n-{number}")
}

/// The number that a change's origin tells.
pub(super) fn number_of(origin: &str) -> Option<Number> {
    origin.strip_prefix("n-")?.parse().ok()
}

/// A change to be made, without its number.
pub(super) struct Draft {
    pub(super) table: usize,
    pub(super) space: Option<usize>,
    pub(super) event: Option<Uuid>,
    json: Value,
}

impl Draft {
    /// Draws a change; with an event id where the client knows of such. `stalled`: some streams are
    /// not read at the moment.
    pub(super) fn draw(
        rng: &mut Rng,
        space: Option<usize>,
        event: Option<Uuid>,
        stalled: bool,
    ) -> Self {
        let table = rng.usize(0..TABLES.len());
        let name = TABLES.get(table).copied().unwrap_or_default();
        let at = time(rng);
        let long = if stalled { LONG_STALLED } else { LONG };
        let length =
            if rng.u32(0..long) == 0 { rng.usize(10_000..60_000) } else { rng.usize(0..200) };
        let title: String =
            std::iter::repeat_with(|| rng.alphanumeric()).take(length + 8).collect();
        let mut json = json!({ "table": name, "id": format!("r-{}", rng.u32(0..RECORDS)) });
        let more = match rng.u32(0..10) {
            0..4 => json!({ "op": "insert", "data": { "title": title, "at": at } }),
            4..9 => {
                // Newer clients spell the time of a field in another way.
                let key = if rng.bool() { "updatedAt" } else { "at" };
                json!({ "op": "update", "fields": { "title": { "value": title, key: at } } })
            }
            _ => json!({ "op": "delete", "deletedAt": at }),
        };
        merge(&mut json, more);
        if let Some(space) = space {
            merge(&mut json, json!({ "spaceId": space_name(space) }));
        }
        if let Some(event) = event {
            merge(&mut json, json!({ "eventId": event.to_string() }));
        }
        Self { table, space, event, json }
    }

    /// As readers will see it.
    pub(super) fn seen(&self) -> Result<Seen, serde_json::Error> {
        Seen::deserialize(&self.json)
    }

    /// As it is pushed, now that it has a number.
    pub(super) fn numbered(mut self, number: Number) -> Value {
        merge(&mut self.json, json!({ "origin": origin(number) }));
        self.json
    }
}

/// Adds the members of an object to another.
fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

/// Now, by a clock that is wrong by years.
fn time(rng: &mut Rng) -> String {
    let skew = SignedDuration::from_hours(24 * rng.i64(-SKEW_DAYS..=SKEW_DAYS));
    let now = Timestamp::now();
    format!("{:.6}", now.checked_add(skew).unwrap_or(now))
}

/// An app's name.
pub(super) fn app_name(app: usize) -> &'static str {
    APPS.get(app).copied().unwrap_or_default()
}

/// The path of a stream that begins here: of all tables of an app, or of all apps.
pub(super) fn stream_path(app: Option<usize>, since: &str) -> String {
    match app {
        Some(app) => {
            let tables = TABLES.join(",");
            format!("/sync/{}/stream?collections={tables}&since={since}", app_name(app))
        }
        None => format!("/stream?apps={}&since={since}", APPS.join(",")),
    }
}

/// A user's name.
pub(super) fn user_name(user: usize) -> String {
    format!("chaos-user-{user}")
}

/// A space's name.
pub(super) fn space_name(space: usize) -> String {
    format!("chaos-space-{space}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back_as_it_was_made() {
        let mut rng = Rng::with_seed(7);
        let mut effects = 0;
        for number in 0..200 {
            let event = Uuid::from_u128(rng.u128(..));
            let draft = Draft::draw(&mut rng, (number % 2 == 0).then_some(3), Some(event), false);
            let digest = draft.seen().unwrap().digest();
            let seen = Seen::deserialize(draft.numbered(number)).unwrap();
            let sighting = seen.sighting(None);
            assert_eq!(sighting.number, Some(number));
            assert_eq!((sighting.event, sighting.digest), (Some(event.as_u128()), digest));
            effects += usize::from(seen.effect().is_some());
        }
        assert_eq!(effects, 200);
    }

    #[test]
    fn a_field_comes_back_with_both_spellings_of_its_time() {
        let pushed =
            r#"{"table":"t","id":"r","op":"update","fields":{"title":{"value":"v","at":"x"}}}"#;
        let told = r#"{"eventId":"e","table":"t","id":"r","op":"update",
                       "fields":{"title":{"value":"v","updatedAt":"x","at":"x"}}}"#;
        let (pushed, told): (Seen, Seen) =
            (serde_json::from_str(pushed).unwrap(), serde_json::from_str(told).unwrap());
        assert_eq!(pushed.digest(), told.digest());
        assert_eq!(told.effect(), Some(Effect::Title { at: "x", title: "v" }));
    }
}
