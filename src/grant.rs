//! Permission as a parameter: who may read or write what.
//!
//! A store function that touches changes takes a grant, and a grant is made in one place only,
//! the extractor that has just verified a token (`http/extract.rs`; a test holds that). So no
//! code path can reach another user's rows by forgetting a check.

use crate::id::{AppId, ClientId, UserId};

/// May read what `user` may see of `app`, as the device `client`.
#[derive(Debug, Clone)]
pub struct Reader {
    user: UserId,
    app: AppId,
    client: Option<ClientId>,
}

impl Reader {
    pub(crate) fn grant(user: UserId, app: AppId, client: Option<ClientId>) -> Self {
        Self { user, app, client }
    }

    /// Whose feeds are read.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The app that is read.
    #[must_use]
    pub fn app(&self) -> &AppId {
        &self.app
    }

    /// The device whose own changes are left out; without one, nothing is.
    #[must_use]
    pub fn client(&self) -> Option<&ClientId> {
        self.client.as_ref()
    }
}

/// May write changes of `user` into `app`, and read what follows from them.
#[derive(Debug, Clone)]
pub struct Writer(Reader);

impl Writer {
    pub(crate) fn grant(user: UserId, app: AppId, client: Option<ClientId>) -> Self {
        Self(Reader::grant(user, app, client))
    }

    /// What the same caller may read.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.0
    }
}
