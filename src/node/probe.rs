//! `mana-sync health`: whether the node of this machine is ready. For images without a shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Client;

use crate::config::Server;

/// A node that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a node is not to be sent clients.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It does not answer.
    #[error("no node answers at {0}: {1}")]
    Silent(SocketAddr, #[source] reqwest::Error),
    /// It says so itself.
    #[error("the node at {0} is not ready: {1}")]
    Says(SocketAddr, String),
}

/// Asks the node with these settings for `/health/ready`.
///
/// # Errors
/// [`NotReady`], a sentence.
pub async fn probe(server: &Server) -> Result<(), NotReady> {
    let here = match server.bind {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let address = SocketAddr::new(here, server.port);
    let silent = |error: reqwest::Error| NotReady::Silent(address, error.without_url());
    let client = Client::builder().timeout(PATIENCE).no_proxy().build().map_err(silent)?;
    let asked = client.get(format!("http://{address}/health/ready")).send().await;
    let answer = asked.map_err(silent)?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(NotReady::Says(address, answer.text().await.map_err(silent)?))
}
