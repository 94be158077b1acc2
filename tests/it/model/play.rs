//! The stage: nodes, devices and the model, and the steps that the dice choose.

use std::collections::{BTreeSet, HashMap};

use fastrand::Rng;
use serde_json::Value;
use sqlx::PgConnection;

use super::line::{Keeps, Line};
use super::log::{Log, Step};
use super::push::Plan;
use crate::support::world::TestNode;
use crate::support::{Client, World, all_published};

pub const USERS: [&str; 3] = ["alice", "bob", "carol"];
pub const SPACES: [&str; 2] = ["home", "club"];
pub const TABLES: [&str; 3] = ["tasks", "notes", "events"];
pub const APPS: [&str; 2] = ["todo", "calendar"];
/// The devices, by user.
const DEVICES: [(usize, &str); 5] =
    [(0, "a-laptop"), (0, "a-phone"), (1, "b-laptop"), (1, "b-phone"), (2, "c-tablet")];

pub struct Play {
    pub world: World,
    pub nodes: Vec<TestNode>,
    pub dice: Rng,
    pub log: Log,
    pub lines: Vec<Line>,
    /// What the auth service would say, by user.
    pub members: Vec<BTreeSet<usize>>,
    /// Whether the auth service fails.
    pub down: bool,
    pub step: Step,
    pub pushes: usize,
    /// A push with event ids, to be repeated.
    pub repeat: Option<Plan>,
    /// Cursors that were handed out, by app.
    pub cursors: Vec<(usize, String)>,
    pub trace: Vec<String>,
    clients: HashMap<(usize, String), Client>,
    /// For what clients do not ask.
    pub http: reqwest::Client,
    admin: PgConnection,
}

/// Shows what was done, where a play fails.
impl Drop for Play {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.trace.len().saturating_sub(60);
            println!("the last steps were:\n  {}", self.trace[from..].join("\n  "));
        }
    }
}

impl Play {
    pub async fn new(seed: u64, nodes: usize) -> Self {
        let world = World::new().await;
        let mut play = Self {
            nodes: Vec::new(),
            dice: Rng::with_seed(seed),
            log: Log::new(USERS.len()),
            lines: Vec::new(),
            members: vec![BTreeSet::new(); USERS.len()],
            down: false,
            step: 0,
            pushes: 0,
            repeat: None,
            cursors: Vec::new(),
            trace: Vec::new(),
            clients: HashMap::new(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            admin: world.admin().await,
            world,
        };
        for _ in 0..nodes {
            play.nodes.push(play.world.node().await);
        }
        for (user, device) in DEVICES {
            let all: Vec<usize> = (0..TABLES.len()).collect();
            let some = vec![play.dice.usize(..2), 2];
            let one = vec![play.dice.usize(..TABLES.len())];
            play.lines.push(Line::new(user, device, 0, all.clone(), Keeps::One));
            play.lines.push(Line::new(user, device, 1, all.clone(), Keeps::One));
            play.lines.push(Line::new(user, device, 0, all, Keeps::Each));
            play.lines.push(Line::new(user, device, 0, some.clone(), Keeps::Each));
            play.lines.push(Line::new(user, device, 0, some, Keeps::One));
            play.lines.push(Line::new(user, device, 0, one, Keeps::One));
        }
        play
    }

    /// A connection to which row-level security does not apply.
    pub fn admin(&mut self) -> &mut PgConnection {
        &mut self.admin
    }

    pub fn node(&mut self) -> String {
        let node = self.dice.usize(..self.nodes.len());
        self.nodes[node].url.clone()
    }

    pub fn note(&mut self, what: &str) {
        self.trace.push(format!("{}: {what}", self.step));
    }

    pub fn client(&mut self, user: usize, device: &str, app: usize) -> Client {
        let new = || self.world.client(USERS[user], device);
        let client = self.clients.entry((user, device.to_owned())).or_insert_with(new);
        client.app(APPS[app])
    }

    pub fn client_of(&mut self, line: usize) -> Client {
        let Line { user, ref client, app, .. } = self.lines[line];
        let device = client.clone();
        self.client(user, &device, app)
    }

    /// A line that is free and of the wished sort.
    pub fn line(&mut self, wished: impl Fn(&Line) -> bool) -> Option<usize> {
        let free = |line: &Line| line.stream.is_none() && wished(line);
        let all: Vec<usize> = (0..self.lines.len()).filter(|n| free(&self.lines[*n])).collect();
        self.dice.choice(all)
    }

    /// A request of this user is about to be made: what is not known of the user is looked up.
    pub fn asked(&mut self, user: usize) {
        if !self.down && !self.log.is_verified(user) {
            self.log.verify(user, &self.members[user], self.step);
        }
    }

    /// Waits until what joining publishes is published: it may be another node that does it.
    pub async fn published(&mut self) {
        all_published(&mut self.admin).await;
    }

    /// What an answer says of the caller's spaces is what the model knows.
    pub fn judge_spaces(&self, user: usize, answer: &Value) {
        let known = self.log.spaces(user).map(|spaces| {
            let mut names: Vec<&str> = spaces.iter().map(|space| SPACES[*space]).collect();
            names.sort_unstable();
            serde_json::json!(names)
        });
        assert_eq!(answer.get("spaces"), known.as_ref(), "the spaces of {}", USERS[user]);
    }

    /// Pulls a page for a line; says whether there is more.
    pub async fn pull(&mut self, n: usize, limit: Option<usize>) -> bool {
        let (since, node) = (self.lines[n].since(), self.node());
        self.note(&format!("pull {} at {node}, limit {limit:?}", self.lines[n]));
        let answer = self.pull_page(n, &node, &since, limit).await;
        let more = self.lines[n].take_page(&mut self.log, &since, &answer, self.step);
        let app = self.lines[n].app;
        self.cursors.push((app, self.lines[n].since()));
        more
    }

    pub async fn pull_page(
        &mut self,
        n: usize,
        node: &str,
        since: &str,
        limit: Option<usize>,
    ) -> Value {
        let user = self.lines[n].user;
        self.asked(user);
        let line = &self.lines[n];
        let since: String = url::form_urlencoded::byte_serialize(since.as_bytes()).collect();
        let list = if line.all { TABLES.join(",") } else { line.list() };
        let name = if line.tables.len() == 1 { "collection" } else { "collections" };
        let limit = limit.map_or(String::new(), |limit| format!("&limit={limit}"));
        let path = format!("/sync/{}/pull?{name}={list}&since={since}{limit}", APPS[line.app]);
        let client = self.client_of(n);
        let response = client.get(node, &path).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        self.published().await;
        self.judge_spaces(user, &answer);
        answer
    }
}
