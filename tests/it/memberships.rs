//! Spaces: who is a member, who says so, and what follows for streams and pages.

mod fleet;
mod history;
mod hostile;
mod invalidate;
mod isolation;
mod lookups;
mod oracle;
mod publish;

use reqwest::Response;
use serde_json::{Value, json};

use crate::protocol::talk::http;
use crate::support::insert;
use crate::support::world::TestNode;

/// An insert into `tasks`, meant for a space.
fn shared(id: &str, space: &str) -> Value {
    let mut change = insert(id, &json!({}));
    change["spaceId"] = json!(space);
    change
}

/// Tells a node that memberships of `user` have changed.
async fn invalidate(node: &TestNode, user: &str, key: &str) -> Response {
    let user = percent_encoding::utf8_percent_encode(user, percent_encoding::NON_ALPHANUMERIC);
    let url = format!("{}/internal/memberships/{user}/invalidate", node.url);
    http().post(url).header("x-service-key", key).send().await.unwrap()
}
