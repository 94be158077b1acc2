//! Who asks the services: the issuer's keys, the auth service, billing.

use std::time::Duration;

use url::Url;

use super::{NodeError, Settings};
use crate::auth::Authenticator;
use crate::directory::billing::Billing;
use crate::directory::members::{Members, Requests};
use crate::directory::services::{AuthService, ServiceKey};
use crate::store::Store;

/// Who asks the services.
pub(super) struct Services {
    pub(super) auth: Authenticator,
    pub(super) members: Members,
    pub(super) requests: Requests,
    pub(super) billing: Billing,
}

impl Services {
    pub(super) fn new(settings: &Settings, store: &Store) -> Result<Self, NodeError> {
        let http = outgoing(settings.outgoing_time)?;
        let (key, life) = (settings.service_key.as_ref(), settings.membership_life);
        let directory = with_key(settings.auth_url.clone(), key)?
            .map(|(url, key)| AuthService::new(url, key, http.clone()));
        let (members, requests) = Members::new(store.clone(), directory, life);
        let credits = with_key(settings.credits_url.clone(), key)?;
        Ok(Self {
            auth: Authenticator::new(settings.auth.clone(), http.clone()),
            members,
            requests,
            billing: Billing::new(credits, settings.exempt.clone(), life, http),
        })
    }
}

/// For requests to services; an answer is to be whole within `time`.
fn outgoing(time: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(time.min(Duration::from_secs(2)))
        .timeout(time)
        .build()
}

fn with_key(
    url: Option<Url>,
    key: Option<&ServiceKey>,
) -> Result<Option<(Url, ServiceKey)>, NodeError> {
    match (url, key) {
        (None, _) => Ok(None),
        (Some(url), Some(key)) => Ok(Some((url, key.clone()))),
        (Some(_), None) => Err(NodeError::Settings("MANA_SERVICE_KEY is missing")),
    }
}
