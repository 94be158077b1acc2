//! How a command reaches a node: where it is, as whom, in which app.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::{Client, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use url::Url;

use crate::config::Secret;
use crate::dev::command::{DevError, FOLDER, token_of};
use crate::id::AppId;

/// How long a node may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long somebody who was turned away waits where nobody says how long.
const WAIT: Duration = Duration::from_secs(2);

/// Where the node is, and who asks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Node")]
pub(super) struct Access {
    /// The app.
    #[arg(long, value_name = "APP")]
    app: String,
    /// URL of a node, or of what stands before the nodes.
    #[arg(
        long,
        env = "MANA_SYNC_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:3050"
    )]
    url: Url,
    /// Token of the user. Without it, the issuer of a `mana-sync dev` on this machine makes one.
    #[arg(long, env = "MANA_SYNC_TOKEN", value_name = "JWT", hide_env_values = true,
        value_parser = token)]
    token: Option<Secret>,
    /// User of the `mana-sync dev` fleet to make a token of; "alice" where none is named.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Folder of the `mana-sync dev` fleet.
    #[arg(long, value_name = "FOLDER", default_value = FOLDER)]
    data: PathBuf,
    /// Name of this client (`X-Client-Id`): what it pushed itself is not sent to it.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody to ask as.
    #[error(
        "there is no token: set MANA_SYNC_TOKEN (or --token), or run `mana-sync dev` on this machine"
    )]
    NoToken,
    /// Two to ask as.
    #[error(
        "--user asks for a token of the dev fleet, and --token (MANA_SYNC_TOKEN) is one: give one of both"
    )]
    TwoUsers,
    /// The dev fleet gives none.
    #[error(transparent)]
    Dev(#[from] DevError),
    /// What is named is no app, or the URL leads nowhere.
    #[error("{0}")]
    Wrong(String),
    /// The node refuses, and would again.
    #[error("{status}: {message}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its sentence.
        message: String,
    },
    /// The node turned this away for now, and says for how long.
    #[error("{message}")]
    Later {
        /// Its sentence.
        message: String,
        /// When to come again.
        after: Duration,
    },
    /// No answer, or only a part of one.
    #[error("{url} does not answer: {why}")]
    Silent {
        /// Where.
        url: Url,
        /// What happened.
        why: String,
    },
    /// The node says what the protocol does not.
    #[error("this is no answer of a mana-sync node: {0}")]
    Strange(String),
    /// A line of the file can't be pushed.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Reading or writing failed.
    #[error("{what}: {why}")]
    Io {
        /// What was read or written.
        what: String,
        /// Why that failed.
        why: std::io::Error,
    },
}

/// A connection to a node, as a user, in an app.
#[derive(Debug)]
pub(super) struct Node {
    http: Client,
    base: Url,
    client: Option<String>,
    /// The user of the dev fleet, whose tokens can be made anew.
    dev: Option<(PathBuf, String)>,
    token: Secret,
}

#[derive(Deserialize)]
struct ErrorBody {
    message: String,
}

fn token(text: &str) -> Result<Secret, &'static str> {
    let text = text.trim();
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Secret::new(text)) } else { Err("is not a token") }
}

impl Access {
    /// Finds a token, and makes ready to ask.
    pub(super) fn node(&self) -> Result<Node, ClientError> {
        AppId::new(&self.app).map_err(|why| ClientError::Wrong(format!("--app {why}")))?;
        let mut base = self.url.clone();
        base.path_segments_mut()
            .map_err(|()| ClientError::Wrong(format!("--url: {} is no base", self.url)))?
            .pop_if_empty()
            .extend(["sync", &self.app]);
        let (token, dev) = match (&self.token, &self.user) {
            (Some(_), Some(_)) => return Err(ClientError::TwoUsers),
            (Some(token), None) => (token.clone(), None),
            (None, user) => {
                let user = user.as_deref().unwrap_or("alice").to_owned();
                let token = token_of(&self.data, &user)?.ok_or(ClientError::NoToken)?;
                (Secret::new(&token), Some((self.data.clone(), user)))
            }
        };
        let http = Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("mana-sync/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Wrong(error.to_string()))?;
        Ok(Node { http, base, client: self.client.clone(), dev, token })
    }
}

impl Node {
    /// A GET below the app.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(path);
        }
        url.query_pairs_mut().extend_pairs(query);
        self.dress(self.http.get(url))
    }

    /// A push to the app.
    pub(super) fn post(&self, body: String) -> RequestBuilder {
        let json = (header::CONTENT_TYPE, "application/json");
        self.dress(self.http.post(self.base.clone())).header(json.0, json.1).body(body)
    }

    fn dress(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.bearer_auth(self.token.reveal());
        match &self.client {
            Some(client) => request.header("X-Client-Id", client),
            None => request,
        }
    }

    /// A fresh token, where the dev fleet makes them.
    pub(super) fn renew(&mut self) -> Result<bool, ClientError> {
        let Some((data, user)) = &self.dev else { return Ok(false) };
        let token = token_of(data, user)?.ok_or(ClientError::NoToken)?;
        self.token = Secret::new(&token);
        Ok(true)
    }

    /// Sends a request, and takes 200 for an answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| self.silent(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let after = response.headers().get(header::RETRY_AFTER);
        let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
        let after = after.map_or(WAIT, Duration::from_secs);
        let text = response.text().await.unwrap_or_default();
        let message = match serde_json::from_str(&text) {
            Ok(ErrorBody { message }) => message,
            Err(_) => status.canonical_reason().unwrap_or("no reason given").to_owned(),
        };
        let later = status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
        if later {
            return Err(ClientError::Later { message: format!("{status}: {message}"), after });
        }
        Err(ClientError::Refused { status, message })
    }

    /// The node gave no answer, or broke off.
    pub(super) fn silent(&self, error: &reqwest::Error) -> ClientError {
        // The outermost error says no more than that sending failed.
        let mut innermost: &dyn std::error::Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let why = innermost.to_string();
        ClientError::Silent { url: self.base.clone(), why }
    }
}

impl ClientError {
    /// How long to wait before the same is tried again; none where that would be of no use.
    pub(super) fn worth_a_wait(&self, tries: u32) -> Option<Duration> {
        match self {
            Self::Later { after, .. } => Some(*after),
            Self::Silent { .. } => Some(pause(tries)),
            _ => None,
        }
    }
}

/// A pause that doubles up to some seconds, with jitter.
pub(super) fn pause(tries: u32) -> Duration {
    let longest = Duration::from_millis(250 << tries.min(5));
    longest.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}
