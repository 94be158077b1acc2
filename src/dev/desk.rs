//! What the console of a `dev` fleet asks for: how the replicas are, that one stops or starts, who
//! is a member of a space.
//!
//! ```text
//! GET    /                                    the console
//! GET    /dev/fleet                           the replicas, and where they stand
//! POST   /dev/replicas/{number}/{act}         start, stop, drain; answered when it is done
//! POST   /dev/spaces/{space}/members/{user}   joins, and the fleet is told
//! DELETE /dev/spaces/{space}/members/{user}   leaves, and the fleet is told
//! ```
//!
//! Whoever reaches this machine's own address may do all that, but no page of another origin, nor
//! one that leads a name of its own here.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::command::SERVICE_KEY;
use super::fleet::{Act, Fleet, Replica};
use crate::http::console::{self, Console};

pub(super) fn router(fleet: Fleet) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/dev/fleet", get(replicas))
        .route("/dev/replicas/{number}/{act}", post(order))
        .route("/dev/spaces/{space}/members/{user}", post(join).delete(leave))
        .merge(console::files())
        .layer(from_fn(own_pages_alone))
        .with_state(fleet)
}

/// Refuses requests that a browser sends for pages of other origins, and those for other names.
async fn own_pages_alone(request: Request, next: Next) -> Response {
    if is_own(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "this is for pages of this machine's own address\n").into_response()
    }
}

fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(header::HOST) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_here = ["127.0.0.1", "localhost", "[::1]"].contains(&name);
    let origin = text(header::ORIGIN);
    is_here && origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
}

async fn page(State(fleet): State<Fleet>) -> Response {
    let origins: Vec<_> = fleet.replicas().iter().map(Replica::url).collect();
    if origins.is_empty() {
        let again = [(header::REFRESH, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, again, "The fleet is starting.\n")
            .into_response();
    }
    Console::Fleet(origins).page()
}

async fn replicas(State(fleet): State<Fleet>) -> Json<Value> {
    let told = fleet.replicas().iter().map(Replica::told);
    Json(json!({ "replicas": futures::future::join_all(told).await }))
}

async fn order(State(fleet): State<Fleet>, Path((number, act)): Path<(usize, String)>) -> Response {
    let act = match act.as_str() {
        "start" => Act::Start,
        "stop" => Act::Stop,
        "drain" => Act::Drain,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match fleet.order(number.wrapping_sub(1), act).await {
        Some(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Some(Err(error)) => (StatusCode::BAD_GATEWAY, format!("{error}\n")).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn join(
    State(fleet): State<Fleet>,
    Path((space, user)): Path<(String, String)>,
) -> StatusCode {
    fleet.tokens.join(&user, &space);
    tell(&fleet, &user).await
}

async fn leave(
    State(fleet): State<Fleet>,
    Path((space, user)): Path<(String, String)>,
) -> StatusCode {
    fleet.tokens.leave(&user, &space);
    tell(&fleet, &user).await
}

/// Tells the fleet, through whichever replica runs, that the user's memberships have changed.
async fn tell(fleet: &Fleet, user: &str) -> StatusCode {
    for replica in fleet.replicas() {
        if !replica.runs().await {
            continue;
        }
        let user = percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC);
        let url = format!("{}/internal/memberships/{user}/invalidate", replica.url());
        let told = reqwest::Client::new().post(url).header("x-service-key", SERVICE_KEY).send();
        if told.await.is_ok_and(|answer| answer.status().is_success()) {
            return StatusCode::NO_CONTENT;
        }
    }
    // It holds, and is found out when memberships are asked for again.
    StatusCode::ACCEPTED
}
