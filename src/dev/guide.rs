//! What `mana-sync dev` prints: where everything is, and three lines to try.

use std::fmt::Write;

use super::command::{MEMBERS, TOKEN_LIFE};
use super::fleet::Fleet;

/// The guide to a fleet.
pub(super) fn text<'a>(
    fleet: &Fleet,
    database: &str,
    members: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut out = String::from("\nmana-sync is running.\n\n");
    line(&mut out, "console", &format!("http://{}/", fleet.issuer));
    for (number, node) in fleet.replicas().iter().enumerate() {
        line(&mut out, &format!("replica {}", number + 1), &format!("http://{}", node.address()));
    }
    let issuer = fleet.issuer;
    line(&mut out, "issuer", &format!("http://{issuer}"));
    line(&mut out, "tokens", &format!("http://{issuer}/token?user=alice"));
    line(&mut out, "one of them", &fleet.tokens.token("alice", TOKEN_LIFE));
    let shared: Vec<_> = members.map(|(user, space)| format!("{user} in {space}")).collect();
    line(&mut out, "spaces", &shared.join(", "));
    line(&mut out, "database", database);
    line(&mut out, "pages of", &fleet.origins.join(", "));
    let (Some(first), Some(last)) = (fleet.replicas().first(), fleet.replicas().last()) else {
        return out;
    };
    let (first, last) = (first.address(), last.address());
    let [(_, space), _] = MEMBERS;
    out.push_str("\nIn one terminal, be bob and follow the last replica:\n\n");
    push_line(
        &mut out,
        &format!(
            "  curl -N -H \"Authorization: Bearer $(curl -s '{issuer}/token?user=bob')\" \
         'http://{last}/sync/todo/stream?collections=tasks'"
        ),
    );
    out.push_str("\nIn another, be alice and push through the first:\n\n");
    push_line(
        &mut out,
        &format!(
            "  curl -H \"Authorization: Bearer $(curl -s '{issuer}/token?user=alice')\" \
         -H 'X-Client-Id: laptop' 'http://{first}/sync/todo' \
         -d '{{\"changes\":[{{\"table\":\"tasks\",\"id\":\"t1\",\"op\":\"insert\",\
         \"data\":{{\"title\":\"Milk\"}},\"spaceId\":\"{space}\"}}]}}'"
        ),
    );
    out.push_str("\nOr read what there is, through any of them:\n\n");
    push_line(
        &mut out,
        &format!(
            "  curl -H \"Authorization: Bearer $(curl -s '{issuer}/token?user=bob')\" \
         'http://{last}/sync/todo/pull?collection=tasks&since=1970-01-01T00:00:00Z'"
        ),
    );
    out.push_str("\nCtrl-C stops everything.");
    out
}

fn line(out: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "  {name:<11} {value}");
}

fn push_line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
