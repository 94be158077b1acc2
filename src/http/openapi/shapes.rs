//! What goes over the wire, for programs that make clients. The wire is read and written elsewhere,
//! by hand; a test compares.
#![expect(dead_code, reason = "these types are only described")]

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoResponses, ToSchema};
use uuid::Uuid;

/// What one push carries: changes of one client, stored all or none.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct PushBody {
    /// The device or tab; `X-Client-Id` wins over it.
    client_id: Option<String>,
    /// The cursor to read from, in the same request; empty or missing, from the start.
    #[schema(example = "2026-11-22T09:36:12.123456Z")]
    since: Option<String>,
    #[schema(maximum = 1)]
    schema_version: Option<i32>,
    #[schema(max_items = 10_000)]
    changes: Option<Vec<Change>>,
}

/// One operation on one record.
#[derive(ToSchema, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Change {
    /// A record comes into being.
    Insert {
        #[serde(flatten)]
        of: Record,
        /// The record.
        data: Option<Map<String, Value>>,
    },
    /// Some of its fields are set.
    Update {
        #[serde(flatten)]
        of: Record,
        /// The fields, each with its time.
        fields: Option<Map<String, Value>>,
    },
    /// It is deleted.
    Delete {
        #[serde(flatten)]
        of: Record,
        #[serde(rename = "deletedAt")]
        deleted_at: Option<String>,
    },
}

/// What every change names.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[schema(min_length = 1, max_length = 255)]
    table: String,
    #[schema(min_length = 1, max_length = 1024)]
    id: String,
    /// Chosen by the client, so that a push may be repeated; by the node where it is missing.
    event_id: Option<Uuid>,
    /// The group of users who share the record.
    space_id: Option<String>,
    actor: Option<Map<String, Value>>,
    origin: Option<String>,
    #[schema(maximum = 1)]
    schema_version: Option<i32>,
}

/// A change on its way to a client.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerChange {
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
    synced_until: String,
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
    /// A fault of the node.
    #[response(status = 500)]
    Internal(#[to_schema] Refusal),
    /// The node has no room, no database, or is leaving; `Retry-After` says when to come back.
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds.")))]
    Unavailable(#[to_schema] Refusal),
}
