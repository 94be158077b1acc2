//! The one place that knows statuses and codes.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::auth::AuthError;
use crate::protocol::BadChangeset;
use crate::store::StoreError;
use crate::writer::PushError;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// What was sent is not what the protocol asks for.
    #[error("{0}")]
    Invalid(String),
    /// A changeset that cannot be taken.
    #[error(transparent)]
    Changeset(#[from] BadChangeset),
    /// No valid token.
    #[error("{}", explain(*.0))]
    Unauthenticated(AuthError),
    /// The user's sync is not paid for.
    #[error("sync is not active for this account")]
    Inactive,
    /// No such path.
    #[error("there is nothing at this path")]
    NotFound,
    /// The path has no such method.
    #[error("this path does not take this method")]
    MethodNotAllowed,
    /// The body did not come in time.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// The body is larger than we take.
    #[error("the body is larger than {} bytes", .max)]
    TooLarge {
        /// The most bytes taken.
        max: usize,
    },
    /// The body broke off.
    #[error("the request body could not be read")]
    BodyBroken,
    /// The user asks for more than one user may.
    #[error("too many {what} of this user")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// When there is room again.
        after: Duration,
    },
    /// The node has no room for this at the moment.
    #[error("{0}")]
    Busy(&'static str),
    /// No clients are to be sent to this node.
    #[error("{0}")]
    NotReady(&'static str),
    /// The database is away.
    #[error("the node cannot reach its database at the moment")]
    Unavailable,
    /// A fault of ours.
    #[error("the node failed at this request")]
    Internal,
}

fn explain(error: AuthError) -> &'static str {
    match error {
        AuthError::Missing => "a bearer token is required",
        AuthError::Expired => "the token has expired",
        AuthError::NotYet => "the token is not valid yet",
        _ => "the token is not valid here",
    }
}

/// When a client that was turned away may come back.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);

impl ApiError {
    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::Changeset(bad @ BadChangeset::TooLarge(_)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, bad.code())
            }
            Self::Changeset(bad) => (StatusCode::BAD_REQUEST, bad.code()),
            Self::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::Inactive => (StatusCode::PAYMENT_REQUIRED, "sync_inactive"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "invalid_body"),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many"),
            Self::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.parts();
        let body = Json(json!({ "error": code, "message": self.to_string() }));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let retry_after = match self {
            // Whole seconds, the next one up.
            Self::TooMany { after, .. } => Some(after.as_secs() + 1),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER.as_secs()),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Rejected { sqlstate } => {
                tracing::error!(%sqlstate, "a read was refused");
                Self::Internal
            }
            StoreError::PoolBusy => Self::Busy("the node has no database connection free"),
            StoreError::Unavailable(_) | StoreError::Timeout(_) => {
                tracing::warn!(%error, "the database did not serve a request");
                Self::Unavailable
            }
        }
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::QueueFull => Self::Busy("too many pushes are waiting"),
            PushError::Rejected(sqlstate) => {
                tracing::warn!(%sqlstate, "the database refuses a push");
                Self::Invalid("a change of this push cannot be stored".to_owned())
            }
            PushError::Unconfirmed => Self::Unavailable,
        }
    }
}
