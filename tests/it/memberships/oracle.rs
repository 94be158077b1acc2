//! An auth service that says what a test wants, when the test wants.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use tokio::net::TcpListener;
use tokio::sync::watch;
use url::Url;

/// What was asked, and what is said.
#[derive(Debug)]
struct Inner {
    says: String,
    asked: Vec<String>,
    keys: Vec<String>,
}

/// The service. Its clones are the same.
#[derive(Debug, Clone)]
pub struct Oracle {
    inner: Arc<Mutex<Inner>>,
    held: watch::Sender<bool>,
    /// Where it listens.
    pub url: Url,
}

impl Oracle {
    /// A service that knows of no membership.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let says = r#"{"memberships":[]}"#.to_owned();
        let inner = Inner { says, asked: Vec::new(), keys: Vec::new() };
        let oracle = Self { inner: Arc::new(inner.into()), held: watch::Sender::new(false), url };
        let router = Router::new().fallback(answer).with_state(oracle.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        oracle
    }

    /// What it answers from now on.
    pub fn say(&self, what: &str) {
        what.clone_into(&mut self.inner.lock().unwrap().says);
    }

    /// Answers wait from now on, and say later what they would have said at once.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// All answers that wait go out.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// The paths it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.inner.lock().unwrap().asked.clone()
    }

    /// The keys it was shown.
    pub fn keys(&self) -> Vec<String> {
        self.inner.lock().unwrap().keys.clone()
    }
}

async fn answer(State(oracle): State<Oracle>, uri: Uri, headers: HeaderMap) -> String {
    let says = {
        let mut inner = oracle.inner.lock().unwrap();
        inner.asked.push(uri.to_string());
        let key = headers.get("x-service-key").map(|key| key.to_str().unwrap().to_owned());
        inner.keys.extend(key);
        inner.says.clone()
    };
    oracle.held.subscribe().wait_for(|held| !held).await.unwrap();
    says
}
