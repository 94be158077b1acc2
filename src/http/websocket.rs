//! `GET /ws` and `/ws/{appId}`: tells which apps moved, and leaves the reading to the client.

mod spaces;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};

use super::access::Asked;
use super::error::ApiError;
use super::openapi::shapes::{AppParam, Handshake, Refusal};
use super::presence::{Kind, Present};
use super::serve::Connection;
use super::{Api, extract};
use crate::auth::Identity;
use crate::feed::{Watched, Watching};
use crate::id::{AppId, TableName};
use crate::metrics;
use spaces::follow_spaces;

/// A socket that has not said who it is by then is closed.
const AUTH_TIME: Duration = Duration::from_secs(10);

/// The largest message a client may send: a token fits well.
const MAX_MESSAGE: usize = 16 * 1024;

/// What a client says. Other messages are ignored.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Said {
    Auth {
        token: String,
    },
    Ping,
    #[serde(other)]
    Other,
}

/// Where it came from: what counts its connection, and its request.
type Begun = (Extension<Connection>, Extension<Arc<Asked>>);

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

#[utoipa::path(
    get,
    path = "/ws",
    description = "Tells which of the user's apps and tables moved.",
    params(Handshake),
    responses(
        (status = 101, description = "A WebSocket; the token comes in its first message."),
        (status = 400, description = "No WebSocket was asked for.", body = Refusal),
        (status = 414, description = "The path and the query are too long. This one has no body."),
        (status = 431, description = "The head of the request is too large. This one has no body."),
        (status = 503, description = "The node has no room, or is leaving.", body = Refusal)
    )
)]
pub(super) async fn all_apps(
    State(api): State<Arc<Api>>,
    begun: Begun,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    accept(api, begun, upgrade, None)
}

#[utoipa::path(
    get,
    path = "/ws/{app_id}",
    description = "Tells which tables of one app moved.",
    params(
        AppParam,
        Handshake
    ),
    responses(
        (status = 101, description = "A WebSocket; the token comes in its first message."),
        (status = 400, description = "No WebSocket was asked for.", body = Refusal),
        (status = 414, description = "The path and the query are too long. This one has no body."),
        (status = 431, description = "The head of the request is too large. This one has no body."),
        (status = 503, description = "The node has no room, or is leaving.", body = Refusal)
    )
)]
pub(super) async fn one_app(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
    begun: Begun,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let app = extract::app_id(&extract::segment(path)?)?;
    accept(api, begun, upgrade, Some(app))
}

fn accept(
    api: Arc<Api>,
    (connection, Extension(asked)): Begun,
    upgrade: Upgrade,
    app: Option<AppId>,
) -> Result<Response, ApiError> {
    let upgrade =
        upgrade.map_err(|_| ApiError::Invalid("this path takes WebSockets only".to_owned()))?;
    if api.drain.unready.is_cancelled() {
        return Err(ApiError::Busy("the node is about to leave"));
    }
    let stranger = Arc::clone(&api.strangers).try_acquire_owned().map_err(|_| {
        metrics::overflow("strangers");
        ApiError::Busy("too many WebSockets have not said who they are")
    })?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    // Upgraded, it leaves its connection's task: the node waits for this token instead.
    let token = api.drain.sockets.token();
    Ok(upgrade.on_upgrade(async move |socket| {
        Conversation { api, socket, app, asked }.run(stranger).await;
        drop((token, connection));
    }))
}

struct Conversation {
    api: Arc<Api>,
    socket: WebSocket,
    app: Option<AppId>,
    asked: Arc<Asked>,
}

/// The socket is gone, or the conversation is over: why, unless the client has left.
struct Over(Option<&'static str>);

/// A conversation that does not come about: the close code and why.
struct Refused(u16, &'static str);

impl Conversation {
    async fn run(mut self, stranger: OwnedSemaphorePermit) {
        let (identity, mut present) = match self.introduce(stranger).await {
            Ok(known) => known,
            Err(Refused(code, why)) => return drop(self.close(code, why).await),
        };
        let user = identity.user.clone();
        let mut watching = Watching::begin(Arc::clone(&self.api.feeds), user, self.app.clone());
        let outcome = self.watch(&identity, &mut watching).await;
        if let Err(Over(Some(reason))) = outcome {
            present.because(reason);
        }
    }

    /// Waits for the client to say who it is; with that it is no stranger any more.
    async fn introduce(
        &mut self,
        stranger: OwnedSemaphorePermit,
    ) -> Result<(Identity, Present), Refused> {
        let leaving = self.api.drain.streams.clone();
        let said = leaving.run_until_cancelled(timeout(AUTH_TIME, self.hear())).await;
        let said = said.ok_or(Refused(close_code::RESTART, "the node is leaving"))?;
        let said = said.map_err(|_| Refused(close_code::POLICY, "no token came in time"))?;
        let Ok(Said::Auth { token }) = said else {
            return Err(Refused(close_code::POLICY, "the first message must be auth"));
        };
        let identity = self.api.auth.verify(&token).await;
        let identity =
            identity.map_err(|_| Refused(close_code::POLICY, "the token is not valid here"))?;
        let user = &identity.user;
        self.api.access.name(&self.asked, user);
        drop(stranger);
        let admitted = self.api.quotas.admit(user).await;
        let asked = Arc::clone(&self.asked);
        let present = admitted.and_then(|_| {
            self.api.presence.enter(user, (Kind::Socket, 1), asked, &self.api.limits)
        });
        let present = present.map_err(|error| {
            Refused(
                close_code::AGAIN,
                match error {
                    ApiError::TooMany { .. } => "too many requests or sockets of this user",
                    _ => "the node has no room",
                },
            )
        })?;
        Ok((identity, present))
    }

    async fn watch(&mut self, identity: &Identity, watching: &mut Watching) -> Result<(), Over> {
        let mut look_up = follow_spaces(&self.api, identity, watching, false).await;
        self.say(&json!({"type": "auth-ok"})).await?;
        let left = identity.expires.duration_since(SystemTime::now()).unwrap_or_default();
        let expires = Instant::now() + left.min(Duration::from_hours(8760));
        let drain = self.api.drain.clone();
        let mut leaves = None;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(expires) => {
                    self.close(close_code::POLICY, "the token has expired").await?;
                    return Err(Over(Some("expired")));
                }
                () = sleep_until(leaves.unwrap_or(expires)), if leaves.is_some() => {
                    self.close(close_code::RESTART, "the node is leaving").await?;
                    return Err(Over(Some("drained")));
                }
                () = drain.streams.cancelled(), if leaves.is_none() => {
                    leaves = Some(Instant::now() + drain.spread.mul_f64(fastrand::f64()));
                }
                () = sleep_until(look_up) => {
                    look_up = follow_spaces(&self.api, identity, watching, true).await;
                }
                said = self.hear() => {
                    if matches!(said?, Said::Ping) {
                        self.say(&json!({"type": "pong"})).await?;
                    }
                }
                watched = watching.moved() => {
                    if watched.members {
                        self.api.members.forget(&identity.user).await;
                        look_up = follow_spaces(&self.api, identity, watching, true).await;
                    }
                    self.tell(&watched).await?;
                }
            }
        }
    }

    async fn tell(&mut self, watched: &Watched) -> Result<(), Over> {
        for (app, tables) in &watched.apps {
            // Tables that were too many to name are not named: the client looks at all of its own.
            let tables: Vec<&str> = tables
                .iter()
                .flatten()
                .map(TableName::as_str)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
            let text = json!({"type": "sync-available", "appId": app.as_str(), "tables": tables});
            self.say(&text).await?;
        }
        Ok(())
    }

    /// The next message of the client.
    async fn hear(&mut self) -> Result<Said, Over> {
        loop {
            match self.socket.recv().await {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).unwrap_or(Said::Other));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Over(None)),
                Some(Ok(_)) => {}
            }
        }
    }

    async fn say(&mut self, what: &serde_json::Value) -> Result<(), Over> {
        // A client that does not read is not waited for.
        let sent = timeout(AUTH_TIME, self.socket.send(Message::Text(what.to_string().into())));
        sent.await.map_or(Err(Over(Some("stalled"))), |sent| sent.map_err(|_| Over(None)))
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Over> {
        let frame = CloseFrame { code, reason: reason.into() };
        let sent = timeout(AUTH_TIME, self.socket.send(Message::Close(Some(frame))));
        sent.await.map_or(Err(Over(Some("stalled"))), |sent| sent.map_err(|_| Over(None)))
    }
}
