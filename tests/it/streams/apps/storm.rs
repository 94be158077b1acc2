//! Pushes by chance into several apps, and a phone that follows all of them by one stream.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::processes::seed;
use crate::streams::records;
use crate::support::world::{SERVICE_KEY, TestNode};
use crate::support::{Client, Events, World};

pub(super) const APPS: [&str; 3] = ["calendar", "notes", "todo"];
pub(super) const LIST: &str = "calendar,notes,todo";
pub(super) const SPACES: [&str; 2] = ["home", "work"];
/// The record that ends an app.
pub(super) const END: &str = "end";

/// Records by app, in the order in which they came.
pub(super) type Came = BTreeMap<String, Vec<String>>;

/// Records of an app, with the space that each is in.
pub(super) type Held = BTreeSet<(String, Option<String>)>;

pub(super) fn held(changes: &[Value]) -> Held {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    changes.iter().map(|change| (text(&change["id"]).unwrap(), text(&change["spaceId"]))).collect()
}

/// Two nodes, and pushes to them by chance.
pub(super) struct Storm {
    pub(super) world: World,
    pub(super) nodes: [TestNode; 2],
    pub(super) dice: fastrand::Rng,
    pub(super) pushed: u32,
}

impl Storm {
    pub(super) async fn new() -> Self {
        let world = World::new().await;
        for user in ["alice", "bob", "carol"] {
            for space in SPACES {
                world.issuer.join(user, space);
            }
        }
        let nodes = [world.node().await, world.node().await];
        let dice = fastrand::Rng::with_seed(seed());
        Self { world, nodes, dice, pushed: 0 }
    }

    pub(super) fn node(&mut self) -> String {
        self.nodes[self.dice.usize(..2)].url.clone()
    }

    /// Somebody pushes some changes into some app, mostly into a space.
    pub(super) async fn push(&mut self, most: usize) {
        let user = *self.dice.choice(&["alice", "bob", "carol"]).unwrap();
        let app = *self.dice.choice(&APPS).unwrap();
        let changes: Vec<Value> = (0..self.dice.usize(1..=most))
            .map(|_| {
                self.pushed += 1;
                let table = self.dice.choice(&["a", "b"]).unwrap();
                let record = format!("{app} {} of {user}", self.pushed);
                let mut change = json!({"table": table, "id": record, "op": "insert", "data": {}});
                if let Some(space) = self.dice.choice([Some("home"), Some("work"), None]).flatten()
                {
                    change["spaceId"] = json!(space);
                }
                change
            })
            .collect();
        let node = self.node();
        self.world.client(user, "laptop").app(app).push(&node, &changes).await;
    }

    /// Until the phone's stream is past all beginnings: what is pushed between two rounds of pages
    /// can come from the database, and there are three at most, the last one for bob's memberships.
    pub(super) async fn warm_up(&mut self, phone: &mut Phone, node: &str) {
        for round in 0..4 {
            let warm = format!("warm {round}");
            let change = [json!({"table": "a", "id": warm, "op": "insert", "data": {}})];
            for app in APPS {
                self.world.client("bob", "laptop").app(app).push(node, &change).await;
            }
            while !APPS.iter().all(|app| phone.has(app, &warm)) {
                phone.read(node).await;
            }
        }
    }

    /// Bob's last change of each app.
    pub(super) async fn end(&mut self) {
        let end = [json!({"table": "a", "id": END, "op": "insert", "data": {}})];
        for app in APPS {
            let node = self.node();
            self.world.client("bob", "laptop").app(app).push(&node, &end).await;
        }
    }

    /// Bob's memberships change, and the fleet is told.
    pub(super) async fn move_bob(&mut self, change: impl FnOnce(&World, &str)) {
        change(&self.world, self.dice.choice(&SPACES).unwrap());
        let url = format!("{}/internal/memberships/bob/invalidate", self.node());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let told = http.post(url).header("x-service-key", SERVICE_KEY).send().await.unwrap();
        assert!(told.status().is_success());
    }

    /// All that bob's phone may read of an app, from the start.
    pub(super) async fn may_read(&mut self, app: &str) -> Held {
        let reader = self.world.client("bob", "phone").app(app);
        let mut all = Held::new();
        for table in ["a", "b"] {
            all.extend(held(&reader.pull_all(&self.node(), table, "").await.0));
        }
        all
    }
}

/// Bob's phone: what has come to it of each app, and the cursor it goes on from.
pub(super) struct Phone {
    pub(super) client: Client,
    pub(super) stream: Option<Events>,
    pub(super) cursor: String,
    pub(super) came: Came,
    /// What it holds now: it has dropped what was of spaces that it was told are lost.
    pub(super) held: BTreeMap<String, Held>,
    pub(super) spaces: BTreeSet<String>,
}

impl Phone {
    pub(super) fn new(world: &World) -> Self {
        let client = world.client("bob", "phone");
        Self {
            client,
            stream: None,
            cursor: String::new(),
            came: Came::new(),
            held: BTreeMap::new(),
            spaces: BTreeSet::new(),
        }
    }

    /// Takes what comes next, from a new stream at `node` where it has none; whether it was changes.
    pub(super) async fn next(&mut self, node: &str) -> bool {
        if self.stream.is_none() {
            self.stream = Some(self.client.stream_of_apps(node, LIST, &self.cursor).await);
        }
        let event = self.stream.as_mut().unwrap().next().await.expect("an event");
        if event.name == "spaces" {
            let spaces = event.data["spaces"].as_array().unwrap().iter();
            self.spaces = spaces.map(|space| space.as_str().unwrap().to_owned()).collect();
            for held in self.held.values_mut() {
                held.retain(|(_, space)| space.as_ref().is_none_or(|s| self.spaces.contains(s)));
            }
        }
        if event.name != "changes" {
            return false;
        }
        let data = event.data;
        let until = data["syncedUntil"].as_str().unwrap();
        assert!(*until >= *self.cursor, "a cursor goes back: {} to {until}", self.cursor);
        assert!(!until.contains('~'), "{until}");
        until.clone_into(&mut self.cursor);
        let (app, changes) = (data["appId"].as_str().unwrap(), data["changes"].as_array().unwrap());
        assert!(changes.iter().all(|c| c["table"] == data["table"]), "one table an event");
        self.came.entry(app.to_owned()).or_default().extend(records(changes));
        self.held.entry(app.to_owned()).or_default().extend(held(changes));
        true
    }

    /// Takes the next changes.
    pub(super) async fn read(&mut self, node: &str) {
        while !self.next(node).await {}
    }

    pub(super) fn has(&self, app: &str, record: &str) -> bool {
        self.came.get(app).is_some_and(|came| came.iter().any(|one| one == record))
    }

    pub(super) fn has_ended(&self) -> bool {
        APPS.iter().all(|app| self.has(app, END))
    }

    pub(super) async fn read_to_end(&mut self, node: &str) {
        while !self.has_ended() {
            self.read(node).await;
        }
    }
}
