//! What a command aims at: nodes that run somewhere, or a fleet started for the run.

use serde::Serialize;
use url::Url;

use crate::Outcome;
use crate::client::Target;
use crate::fleet::{Ground, NodeProcess};
use crate::host::Host;
use crate::procfs;
use crate::tokens::{TokenArgs, Tokens};

/// Which nodes.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct AimArgs {
    /// URL of a node; repeat it for several, over which the clients are spread. Without one, a
    /// fleet is started.
    // Whose fleet it is, is nobody's business who reads the report.
    #[arg(long = "node", value_name = "URL")]
    #[serde(skip)]
    nodes: Vec<Url>,
    /// Nodes of the fleet that is started.
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=16))]
    own_nodes: u8,
    #[command(flatten)]
    #[serde(skip)]
    tokens: TokenArgs,
}

/// The nodes, and what is known of them.
pub(crate) struct Aim {
    /// The nodes' addresses.
    pub(crate) targets: Vec<Target>,
    /// Where tokens come from.
    pub(crate) tokens: Tokens,
    own: Option<Own>,
}

/// A fleet of this run's own.
struct Own {
    // Ends first: its connections are the ground's.
    nodes: Vec<NodeProcess>,
    ground: Ground,
}

/// The name of a started fleet's database.
const DATABASE: &str = "load";

impl Aim {
    /// Finds the nodes, or starts them.
    pub(crate) async fn take(args: &AimArgs) -> Outcome<Self> {
        if args.nodes.is_empty() {
            return Self::start(args.own_nodes).await;
        }
        let url = args.tokens.token_url.as_ref();
        let url = url.ok_or("--token-url says where tokens of the fleet come from")?;
        let mut targets = Vec::with_capacity(args.nodes.len());
        for url in &args.nodes {
            targets.push(Target::resolve(url).await?);
        }
        Ok(Self { targets, tokens: Tokens::new(url)?, own: None })
    }

    async fn start(count: u8) -> Outcome<Self> {
        let ground = Ground::start().await?;
        let database = ground.database(DATABASE).await?;
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(ground.node(&database, &[]).await?);
        }
        let targets = nodes.iter().map(|node| node.target.clone()).collect();
        Ok(Self { targets, tokens: ground.tokens()?, own: Some(Own { nodes, ground }) })
    }

    /// Makes a user a member of a space. In a fleet that was not started here the auth service
    /// decides, and who is no member pushes for the own devices alone.
    pub(crate) fn join(&self, user: &str, space: &str) {
        if let Some(own) = &self.own {
            own.ground.issuer.join(user, space);
        }
    }

    /// Whether spaces can be joined.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The node for the client of this number.
    pub(crate) fn target(&self, number: usize) -> Outcome<&Target> {
        Ok(self.targets.get(number % self.targets.len().max(1)).ok_or("no node")?)
    }

    /// The nodes' processes, where they are this machine's own.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.own.iter().flat_map(|own| &own.nodes).map(|node| node.pid).collect()
    }

    /// CPU seconds that the nodes have used.
    pub(crate) fn node_cpu(&self) -> Option<f64> {
        let pids = self.pids();
        (!pids.is_empty()).then(|| procfs::cpu_of(&pids).ok()).flatten()
    }

    /// URL of a started fleet's database, as the superuser.
    pub(crate) fn admin_url(&self) -> Option<String> {
        Some(self.own.as_ref()?.ground.admin_url(DATABASE))
    }

    /// Where this is.
    pub(crate) async fn host(&self) -> Host {
        Host::look(self.admin_url().as_deref(), None).await
    }
}
