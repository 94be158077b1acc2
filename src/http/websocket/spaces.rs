//! The spaces of a socket's user. While they are looked up the socket says nothing, so that has to
//! be short.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::Api;
use crate::auth::Identity;
use crate::directory::members::Freshness;
use crate::feed::Watching;
use crate::id::{Stamp, UserId};
use crate::store::StoreError;

/// A lookup of memberships that failed is repeated after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Spaces that could not be read are read again after this.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// How long a socket waits for a lookup, and for each answer of the database.
const WAIT: Duration = Duration::from_secs(2);

/// Watches the spaces of the user; says when to look again.
/// `joined`: what it did not watch before was joined meanwhile.
pub(super) async fn follow_spaces(
    api: &Api,
    identity: &Identity,
    watching: &mut Watching,
    joined: bool,
) -> Instant {
    let user = &identity.user;
    // Boxed, here and below: each socket has room for all of its futures.
    let fresh = timeout(WAIT, Box::pin(api.members.refresh(user))).await.unwrap_or_else(|_| {
        // Without the socket: what it changes is rung.
        api.members.request(user);
        Freshness::Unknown
    });
    if api.members.spaces_on()
        && let Err(error) = Box::pin(watch_spaces(api, user, watching, joined)).await
    {
        tracing::warn!(%error, "a WebSocket could not read its spaces");
        return Instant::now() + READ_AGAIN;
    }
    match fresh {
        Freshness::Remembered(until) | Freshness::Asked(until) => {
            until.max(Instant::now() + Duration::from_millis(100))
        }
        Freshness::Unknown => Instant::now() + LOOK_AGAIN,
    }
}

async fn watch_spaces(
    api: &Api,
    user: &UserId,
    watching: &mut Watching,
    joined: bool,
) -> Result<(), StoreError> {
    let spaces = in_time(api.store.spaces(user)).await?;
    let new = watching.set_spaces(&spaces.unwrap_or_default());
    if joined {
        // Whatever they hold is new to this user.
        let all = (Stamp::START, api.progress.at());
        match in_time(api.store.moved(&new, all)).await {
            Ok(moves) => watching.tell(&moves),
            Err(error) => {
                // So that the next look finds them new again, and tells.
                watching.leave(&new);
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(WAIT, asked).await.unwrap_or(Err(StoreError::Timeout(WAIT)))
}
