//! What goes over the wire, for programs that make clients. The wire is read and written elsewhere,
//! by hand; a test compares.
#![expect(dead_code, reason = "these types are only described")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::{IntoParams, IntoResponses, ToSchema};
use uuid::Uuid;

use crate::protocol::limits::HIGHEST_SCHEMA_VERSION;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct AppParam {
    /// The client application.
    #[param(min_length = 1, max_length = 255, example = "todo")]
    app_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct ClientParam {
    /// The device or tab; its own changes are left out.
    #[param(rename = "X-Client-Id", max_length = 255)]
    client: Option<String>,
}

/// How a WebSocket is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct Handshake {
    #[param(rename = "Upgrade", pattern = "^[Ww][Ee][Bb][Ss][Oo][Cc][Kk][Ee][Tt]$")]
    upgrade: String,
    #[param(rename = "Connection", pattern = "[Uu][Pp][Gg][Rr][Aa][Dd][Ee]")]
    connection: String,
    #[param(rename = "Sec-WebSocket-Version", pattern = "^13$")]
    version: String,
    #[param(rename = "Sec-WebSocket-Key", example = "dGhlIHNhbXBsZSBub25jZQ==")]
    key: String,
}

/// What one push carries: changes of one client, stored all or none.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct PushBody {
    /// The device or tab; `X-Client-Id` wins over it.
    #[schema(max_length = 255)]
    client_id: Option<String>,
    /// The cursor to read from, in the same request; empty or missing, from the start.
    #[schema(example = "2026-11-22T09:36:12.123456Z")]
    since: Option<String>,
    #[schema(schema_with = schema_version)]
    schema_version: Option<i64>,
    #[schema(max_items = 10_000)]
    changes: Option<Vec<Change>>,
}

/// The version of the client's schema. However far below 0 it is, it is taken for 1.
fn schema_version() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .maximum(Some(HIGHEST_SCHEMA_VERSION))
        .description(Some("The version of the client's schema; what is not above 0 means 1."))
        .build()
}

/// One operation on one record. What is given beside what the operation takes has to be of the same
/// form, and is not kept.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    #[schema(min_length = 1, max_length = 255)]
    table: String,
    #[schema(min_length = 1, max_length = 1024)]
    id: String,
    op: Op,
    /// Of an insert: the record.
    data: Option<Map<String, Value>>,
    /// Of an update: the fields that are set, by name.
    fields: Option<BTreeMap<String, Field>>,
    /// Of a delete: when.
    deleted_at: Option<String>,
    /// Chosen by the client, so that a push may be repeated; by the node where it is missing.
    #[schema(
        value_type = Option<String>,
        format = "uuid",
        pattern = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
    )]
    event_id: Option<Uuid>,
    /// The group of users who share the record. What names none, a number say, is passed over.
    #[schema(example = "home")]
    space_id: Option<Value>,
    actor: Option<Map<String, Value>>,
    origin: Option<String>,
    #[schema(schema_with = schema_version)]
    schema_version: Option<i64>,
}

/// A field of an update, and when it was set.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    value: Option<Value>,
    updated_at: Option<String>,
    /// Another name of `updatedAt`.
    at: Option<String>,
}

/// A change on its way to a client.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerChange {
    event_id: Uuid,
    schema_version: i32,
    table: String,
    id: String,
    op: Op,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    space_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Insert,
    Update,
    Delete,
}

/// A time in UTC with six digits; inside the history of a space, also how far that was read.
#[derive(ToSchema, Serialize)]
#[schema(
    value_type = String,
    pattern = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z(~.*)?$",
    example = "2026-11-22T09:36:12.123456Z"
)]
pub(super) struct Cursor(String);

/// A page of changes, in the one order of all changes.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Page {
    #[schema(max_items = 1000)]
    server_changes: Vec<ServerChange>,
    /// Always empty: clients resolve conflicts field by field.
    #[schema(max_items = 0)]
    conflicts: Vec<Value>,
    /// The cursor behind the page.
    synced_until: Cursor,
    /// Whether there is more to read, from `syncedUntil` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_more: Option<bool>,
    /// The caller's verified spaces; absent while membership is unverified.
    #[serde(skip_serializing_if = "Option::is_none")]
    spaces: Option<Vec<String>>,
    /// What a push stored for its author alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    unpublished: Option<Vec<Unpublished>>,
}

#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Unpublished {
    table: String,
    id: String,
    space_id: String,
}

/// Whether clients may be sent here.
#[derive(ToSchema, Serialize)]
pub(in crate::http) struct Readiness {
    status: String,
}

/// How the node is.
#[derive(ToSchema, Serialize)]
pub(in crate::http) struct Health {
    status: String,
    service: String,
    timestamp: String,
    /// Streams and WebSockets.
    connections: u64,
    /// Users who have one.
    users: u64,
}

/// Why a request was not served.
#[derive(ToSchema, Serialize)]
pub(in crate::http) struct Refusal {
    error: Code,
    /// A sentence.
    message: String,
}

/// What every error is of.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum Code {
    InvalidJson,
    InvalidChangeset,
    UnsupportedSchemaVersion,
    InvalidRequest,
    InvalidBody,
    Unauthenticated,
    SyncInactive,
    NotFound,
    MethodNotAllowed,
    BodyTimeout,
    TooLarge,
    TooMany,
    Internal,
    Busy,
    Unavailable,
    NotReady,
}

/// What any request of a client may get.
#[derive(IntoResponses)]
pub(in crate::http) enum Refusals {
    /// The request is not what the protocol asks for; the message names what is wrong.
    #[response(status = 400)]
    Invalid(#[to_schema] Refusal),
    /// No token that holds.
    #[response(status = 401)]
    Unauthenticated(#[to_schema] Refusal),
    /// The user's sync is not paid for.
    #[response(status = 402)]
    Inactive(#[to_schema] Refusal),
    /// The user asks for more than one user may; `Retry-After` says when to come back.
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds.")))]
    TooMany(#[to_schema] Refusal),
    /// The path and the query are too long. This one has no body.
    #[response(status = 414)]
    TooLongUri,
    /// The head of the request is too large. This one has no body.
    #[response(status = 431)]
    TooLargeHead,
    /// A fault of the node.
    #[response(status = 500)]
    Internal(#[to_schema] Refusal),
    /// The node has no room, no database, or is leaving; `Retry-After` says when to come back.
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds.")))]
    Unavailable(#[to_schema] Refusal),
}
