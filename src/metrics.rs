//! Every metric of the node, a function each, so that names and labels stand in one place.
//!
//! Labels come from small fixed sets (a route, a status, a reason); never a user, an app or a
//! space. All names begin with `mana_sync_`.

use metrics::counter;

/// A request was refused for its token, for one of the few `reason`s of the auth module.
pub fn auth_failure(reason: &'static str) {
    counter!("mana_sync_auth_failures_total", "reason" => reason).increment(1);
}

/// Something was looked up at a service (`what`: membership, billing, jwks), answered from
/// `source`: cache, database, service, last_known, none.
pub fn lookup(what: &'static str, source: &'static str) {
    counter!("mana_sync_lookups_total", "what" => what, "source" => source).increment(1);
}
