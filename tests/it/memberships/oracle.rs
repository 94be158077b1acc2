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
    /// Whether whoever asks now waits for the release.
    holds: bool,
    asked: Vec<String>,
    keys: Vec<String>,
}

/// The service. Its clones are the same.
#[derive(Debug, Clone)]
pub struct Oracle {
    inner: Arc<Mutex<Inner>>,
    released: watch::Sender<bool>,
    /// Where it listens.
    pub url: Url,
}

impl Oracle {
    /// A service that knows of no membership.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let says = r#"{"memberships":[]}"#.to_owned();
        let inner = Inner { says, holds: false, asked: Vec::new(), keys: Vec::new() };
        let oracle =
            Self { inner: Arc::new(inner.into()), released: watch::Sender::new(false), url };
        let router = Router::new().fallback(answer).with_state(oracle.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        oracle
    }

    /// What it answers from now on.
    pub fn say(&self, what: &str) {
        what.clone_into(&mut self.inner.lock().unwrap().says);
    }

    /// Whether whoever asks from now on waits for the release, and hears then what would have been
    /// said at once.
    pub fn hold(&self, holds: bool) {
        self.inner.lock().unwrap().holds = holds;
    }

    /// All answers that wait go out.
    pub fn release(&self) {
        self.released.send_replace(true);
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
    let (says, holds) = {
        let mut inner = oracle.inner.lock().unwrap();
        inner.asked.push(uri.to_string());
        let key = headers.get("x-service-key").map(|key| key.to_str().unwrap().to_owned());
        inner.keys.extend(key);
        (inner.says.clone(), inner.holds)
    };
    if holds {
        oracle.released.subscribe().wait_for(|released| *released).await.unwrap();
    }
    says
}
