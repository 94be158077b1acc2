//! A stream, split by hand as clients in the field do.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

use super::PATIENCE;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: Value,
    /// Its `id:`, where it has one.
    pub id: Option<String>,
    /// Its text as it came, without the empty line behind.
    pub text: String,
}

/// The events of an open stream.
pub struct Events {
    response: Response,
    text: Vec<u8>,
    ready: VecDeque<Event>,
    /// The cursor of the last `changes` event.
    pub cursor: String,
}

impl Events {
    /// Reads an open stream.
    pub fn new(response: Response) -> Self {
        Self { response, text: Vec::new(), ready: VecDeque::new(), cursor: String::new() }
    }

    /// The next event, whatever it is; `None` where the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.next_within(PATIENCE).await
    }

    /// The same, which may take so long.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Event> {
        let next = timeout(patience, self.read()).await;
        next.unwrap_or_else(|_| panic!("no event within {patience:?}"))
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if event.name == "changes" {
                    event.data["syncedUntil"].as_str().unwrap().clone_into(&mut self.cursor);
                }
                return Some(event);
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.extend_from_slice(&chunk);
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                self.ready.push_back(parse(std::str::from_utf8(&event[..end]).unwrap()));
            }
        }
    }

    /// The next event of this name; others are passed over.
    pub async fn named(&mut self, name: &str) -> Event {
        let waiting = async {
            loop {
                let event = self.next().await;
                let event = event.unwrap_or_else(|| panic!("the stream ended before {name}"));
                if event.name == name {
                    return event;
                }
            }
        };
        let named = timeout(PATIENCE, waiting).await;
        named.unwrap_or_else(|_| panic!("no {name} within {PATIENCE:?}, though other events"))
    }

    /// Changes from now on, until there are `count` of them.
    pub async fn changes(&mut self, count: usize) -> Vec<Value> {
        let mut changes = Vec::new();
        while changes.len() < count {
            let event = self.named("changes").await;
            changes.extend(event.data["changes"].as_array().unwrap().iter().cloned());
        }
        changes
    }

    /// Waits for the change of a record.
    pub async fn record(&mut self, record: &str) -> Value {
        loop {
            let event = self.named("changes").await;
            let changes = event.data["changes"].as_array().unwrap();
            if let Some(found) = changes.iter().find(|change| change["id"] == record) {
                return found.clone();
            }
        }
    }
}

fn parse(text: &str) -> Event {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    Event {
        name: line("event: ").unwrap_or_else(|| panic!("no event line in {text:?}")).to_owned(),
        data: serde_json::from_str(line("data: ").unwrap()).unwrap(),
        id: line("id: ").map(ToOwned::to_owned),
        text: text.to_owned(),
    }
}
