//! `GET /openapi.json`: the wire for programs. `docs/protocol.md` is normative; a test compares both.

pub(super) mod events;
pub(super) mod shapes;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{health, internal, pull, push, stream, websocket};

#[derive(OpenApi)]
#[openapi(
    info(title = "mana-sync", description = "Changes of local-first apps, kept and passed on."),
    paths(
        push::push,
        pull::pull,
        stream::of_app,
        stream::of_apps,
        websocket::all_apps,
        websocket::one_app,
        internal::invalidate,
        health::health,
        health::live,
        health::ready,
        health::metrics
    ),
    modifiers(&Security)
)]
struct Wire;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let key = ApiKey::Header(ApiKeyValue::new("x-service-key"));
        components.add_security_scheme("service", SecurityScheme::ApiKey(key));
    }
}

/// The document, made once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| Wire::openapi().to_json().unwrap_or_default());

/// `GET /openapi.json`.
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}
