//! Spaces: who is a member, who says so, and what follows for streams and pages.

mod fleet;
mod history;
mod hostile;
mod invalidate;
mod isolation;
mod lookups;
mod oracle;
mod publish;
mod sweep;

use reqwest::Response;
use serde_json::{Value, json};

use crate::protocol::talk::http;
use crate::support::insert;
use crate::support::world::{SERVICE_KEY, TestNode};

/// An insert into `tasks`, meant for a space.
fn shared(id: &str, space: &str) -> Value {
    let mut change = insert(id, &json!({}));
    change["spaceId"] = json!(space);
    change
}

/// Tells a node that memberships of `user` have changed.
async fn invalidate(node: &TestNode, user: &str, key: &str) -> Response {
    invalidate_with(&node.url, user, key).await
}

/// The same, of any node, with the key of this world.
pub async fn invalidate_at(node: &str, user: &str) -> Response {
    invalidate_with(node, user, SERVICE_KEY).await
}

async fn invalidate_with(node: &str, user: &str, key: &str) -> Response {
    let user = percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC);
    let url = format!("{node}/internal/memberships/{user}/invalidate");
    http().post(url).header("x-service-key", key).send().await.unwrap()
}
