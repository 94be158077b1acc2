//! `mana-sync doctor`: whether a node with these settings would do, and what to mend if not.

mod keys;
mod origins;

use clap::Args;

use crate::config::Config;
use crate::store::{Finding, Fleet, Grade, Store};

/// What `mana-sync doctor` takes: the node's settings, and more.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Nodes that the fleet has at most, one more while it is upgraded.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: u32,
    /// The settings of a node.
    #[command(flatten)]
    config: Box<Config>,
}

/// Looks at everything that a node depends on.
pub async fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let DoctorArgs { nodes, config } = args;
    let mut found = Vec::new();
    if let Err(error) = config.check() {
        found.push(Finding::wrong(error.to_string()));
    }
    let urls = &config.database.urls;
    let fleet = Fleet {
        url: urls.database_url.reveal(),
        listen_url: urls.listen_url().reveal(),
        nodes: *nodes,
        pool: config.database.database_pool_size,
    };
    found.extend(Store::examine(fleet).await);
    found.extend(keys::examine(config).await);
    found.extend(origins::examine(&config.server.cors_origins).await);
    found
}

/// Whether there is something to be mended.
#[must_use]
pub fn is_ill(found: &[Finding]) -> bool {
    found.iter().any(|finding| finding.grade == Grade::Wrong)
}
