//! The events of a stream. The document has no words for a body of many: its schema is that of each
//! event, as a parser of Server-Sent Events gives it.

use serde::Serialize;
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::shapes::{Cursor, ServerChange};

/// Changes of one table, in the order of their stamps.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangesEvent {
    table: String,
    changes: Vec<ServerChange>,
    /// The cursor behind them.
    synced_until: Cursor,
    /// Whether there is more to read at this moment.
    has_more: bool,
}

/// The same, on a stream of several apps.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct AppChangesEvent {
    app_id: String,
    #[serde(flatten)]
    changes: ChangesEvent,
}

/// The reader's verified spaces.
#[derive(ToSchema, Serialize)]
struct SpacesEvent {
    spaces: Vec<String>,
}

/// An event that says all by its name.
#[derive(ToSchema, Serialize)]
struct BareEvent {}

/// An event of a stream.
pub(in crate::http) struct Event;

/// An event of a stream of several apps.
pub(in crate::http) struct AppsEvent;

impl PartialSchema for Event {
    fn schema() -> RefOr<Schema> {
        events::<ChangesEvent>().into()
    }
}

impl PartialSchema for AppsEvent {
    fn schema() -> RefOr<Schema> {
        events::<AppChangesEvent>().into()
    }
}

impl ToSchema for Event {
    fn schemas(schemas: &mut Schemas) {
        add_all::<ChangesEvent>(schemas);
    }
}

impl ToSchema for AppsEvent {
    fn schemas(schemas: &mut Schemas) {
        add_all::<AppChangesEvent>(schemas);
    }
}

type Schemas = Vec<(String, RefOr<Schema>)>;

/// The events of a stream whose changes come as `Changes`.
fn events<Changes: ToSchema>() -> OneOfBuilder {
    let changes = event("changes", &Changes::name());
    let reconnect = event("reconnect", &BareEvent::name());
    OneOfBuilder::new()
        .item(changes.property("id", Cursor::schema()).required("id"))
        .item(event("spaces", &SpacesEvent::name()))
        .item(event("heartbeat", &BareEvent::name()))
        .item(event("expired", &BareEvent::name()))
        .item(reconnect.property("retry", text()).required("retry"))
}

/// Adds what their data are of, which the document does not see.
fn add_all<Changes: ToSchema>(schemas: &mut Schemas) {
    fn add<T: ToSchema>(schemas: &mut Schemas) {
        schemas.push((T::name().into(), T::schema()));
        T::schemas(schemas);
    }
    add::<Changes>(schemas);
    add::<SpacesEvent>(schemas);
    add::<BareEvent>(schemas);
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// An event of this name, whose data is JSON of that schema.
fn event(name: &str, data: &str) -> ObjectBuilder {
    let schema = json!({ "$ref": format!("#/components/schemas/{data}") });
    // A keyword of JSON Schema that the builder does not know; it writes what it is given.
    let schema: Extensions = [("contentSchema", schema)].into_iter().collect();
    let data = text().content_media_type("application/json").extensions(Some(schema));
    ObjectBuilder::new()
        .property("event", text().enum_values(Some([name])))
        .property("data", data)
        .required("event")
        .required("data")
}
