//! Plans, as `auto_explain` tells them to the client. The driver passes a server's messages on to
//! `tracing`, where they are caught.

use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What a superuser sets so that plans are told.
pub const SETTINGS: &str = "
    set auto_explain.log_min_duration = 0;
    set auto_explain.log_nested_statements = on;
    set auto_explain.log_analyze = on;
    set auto_explain.log_buffers = on;
    set auto_explain.log_timing = off;
    set auto_explain.log_format = json;
    set client_min_messages = log";

/// What a plan has come to, of a statement on `sync_changes`.
pub struct Plan {
    /// It, as it was told.
    pub text: String,
    /// Whether all of `sync_changes` was read.
    pub scans_changes: bool,
    /// The most rows that a sort was given.
    pub sorted: u64,
    /// Blocks touched, whether they were in memory or not.
    pub blocks: u64,
}

type Messages = Arc<Mutex<Vec<String>>>;

/// Hears what the server tells the connections of this thread.
pub struct Heard {
    messages: Messages,
    _guard: DefaultGuard,
}

impl Heard {
    pub fn listen() -> Self {
        let messages = Messages::default();
        let subscriber = tracing_subscriber::registry().with(Catch(Arc::clone(&messages)));
        Self { messages, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Forgets what was heard.
    pub fn forget(&self) {
        self.messages.lock().unwrap().clear();
    }

    /// The plans heard, of statements that read `sync_changes`.
    pub fn plans(&self) -> Vec<Plan> {
        let messages = self.messages.lock().unwrap();
        messages.iter().filter_map(|message| read(message)).collect()
    }
}

fn read(message: &str) -> Option<Plan> {
    let text = &message[message.find('{')?..];
    let told: Value = serde_json::from_str(text).unwrap();
    let mut plan = Plan {
        text: text.to_owned(),
        scans_changes: false,
        sorted: 0,
        blocks: blocks(&told["Plan"]),
    };
    text.contains("\"sync_changes\"").then(|| {
        walk(&told["Plan"], &mut plan);
        plan
    })
}

fn blocks(node: &Value) -> u64 {
    let count = |key: &str| node[key].as_u64().expect("a plan tells of its blocks");
    count("Shared Hit Blocks") + count("Shared Read Blocks")
}

fn walk(node: &Value, plan: &mut Plan) {
    let children = node["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    match node["Node Type"].as_str().unwrap() {
        "Seq Scan" => plan.scans_changes |= node["Relation Name"] == "sync_changes",
        "Sort" | "Incremental Sort" => {
            let rows = children.iter().map(rows_of).max().unwrap_or(0);
            plan.sorted = plan.sorted.max(rows);
        }
        _ => {}
    }
    for child in children {
        walk(child, plan);
    }
}

/// The rows that a node gave, in all its runs.
fn rows_of(node: &Value) -> u64 {
    // Since Postgres 18 rows are an average with two digits.
    let rows = node["Actual Rows"].as_f64().unwrap().ceil();
    let loops = node["Actual Loops"].as_f64().unwrap();
    format!("{:.0}", rows * loops).parse().unwrap()
}

/// Keeps the text of the server's messages.
struct Catch(Messages);

impl<S: Subscriber> Layer<S> for Catch {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            event.record(&mut Message(&self.0));
        }
    }
}

struct Message<'a>(&'a Messages);

impl Visit for Message<'_> {
    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, text: &dyn fmt::Debug) {
        self.record_str(field, &format!("{text:?}"));
    }
}
