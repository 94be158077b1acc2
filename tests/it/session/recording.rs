//! The recorded session: what each device pushed, and what the others are to read.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::tree::Tree;

/// Made by `scripts/make-session.py`.
const SESSION: &str = include_str!("../../fixtures/session.jsonl");
/// The space of both users.
pub const SPACE: &str = "org-haus-7";

/// A push of the recording.
pub struct Push {
    pub user: String,
    pub client: String,
    /// The body, byte for byte.
    pub body: &'static str,
}

/// A change as its author sent it, and as everybody else is to read it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub user: String,
    pub client: String,
    pub shared: bool,
    pub table: String,
    /// All of it but the event id.
    pub wire: Tree,
}

/// The pushes, in their order.
pub fn pushes() -> Vec<Push> {
    SESSION
        .lines()
        .map(|line| {
            let push: BTreeMap<&str, &'static RawValue> = serde_json::from_str(line).unwrap();
            let text = |name| Tree::parse(push[name].get()).as_text().unwrap().to_owned();
            Push { user: text("user"), client: text("client"), body: push["body"].get() }
        })
        .collect()
}

impl Push {
    /// What this push sends.
    pub fn changes(&self) -> Vec<Sent> {
        self.wires().iter().map(|change| self.sent(change)).collect()
    }

    /// The same, as its device spelled it.
    pub fn wires(&self) -> Vec<Tree> {
        Tree::parse(self.body).members()["changes"].clone().into_items()
    }

    fn sent(&self, change: &Tree) -> Sent {
        let space = space(change);
        Sent {
            user: self.user.clone(),
            client: self.client.clone(),
            shared: space.is_some(),
            table: change.get("table").unwrap().as_text().unwrap().to_owned(),
            wire: wire(change, space),
        }
    }
}

impl Sent {
    /// Whether a device is to be offered it.
    pub fn is_for(&self, user: &str, client: &str) -> bool {
        if self.user == user { self.client != client } else { self.shared }
    }
}

/// The space that the rules of the protocol find in a change.
fn space(change: &Tree) -> Option<String> {
    let in_data = || change.get("data")?.get("spaceId");
    let in_fields = || change.get("fields")?.get("spaceId")?.get("value");
    let places = [change.get("spaceId"), in_data(), in_fields()];
    let named = |place: Option<&Tree>| Some(place?.as_text()?.to_owned()).filter(|s| !s.is_empty());
    let first = places.into_iter().find_map(named);
    first.filter(|space| !space.starts_with("_personal:"))
}

/// The change as the server hands it out.
fn wire(change: &Tree, space: Option<String>) -> Tree {
    let mut wire = BTreeMap::new();
    let keep = ["table", "id", "op", "actor", "origin"];
    let by_op = match change.get("op").unwrap().as_text().unwrap() {
        "insert" => "data",
        "update" => "fields",
        _ => "deletedAt",
    };
    for name in keep.into_iter().chain([by_op]) {
        if let Some(value) = change.get(name) {
            wire.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(fields) = wire.get_mut("fields") {
        *fields = Tree::Map(fields.members().iter().map(|(k, v)| (k.clone(), field(v))).collect());
    }
    if let Some(space) = space {
        wire.insert("spaceId".to_owned(), Tree::Text(space));
    }
    wire.insert("schemaVersion".to_owned(), Tree::Token("1".to_owned()));
    Tree::Map(wire)
}

/// A field with its time, if it has one, in both spellings.
fn field(field: &Tree) -> Tree {
    let mut both = BTreeMap::from([("value".to_owned(), field.members()["value"].clone())]);
    if let Some(time) = field.get("updatedAt").or(field.get("at")) {
        both.extend(["updatedAt", "at"].map(|name| (name.to_owned(), time.clone())));
    }
    Tree::Map(both)
}
