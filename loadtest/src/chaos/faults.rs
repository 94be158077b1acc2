//! What may go wrong: each kind of fault is a small type that begins and is healed.

mod crowd;
mod nodes;
mod server;
mod services;
mod sql;
mod ways;

use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;
use futures::future::BoxFuture;

use super::world::World;
use crate::Outcome;

/// A fault. Once it has begun, also in vain, it is healed.
pub(super) trait Fault: Send {
    /// What it is, for people.
    fn name(&self) -> String;
    /// What no other fault may harm at the same time.
    fn claims(&self) -> Vec<Claim>;
    /// Begins; some are over then.
    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome>;
    /// Makes good again what it did. An error means that nothing can be judged any more.
    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome>;
}

/// Something that one fault at a time may harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The process of a node.
    Node(usize),
    /// The life of the Postgres server.
    Server,
    /// The settings of the Postgres server.
    Settings,
    /// Locks and connections in it.
    Sessions,
    /// A node's way to the database.
    DatabaseWay(usize),
    /// The clients' way to a node.
    ClientWay(usize),
    Auth,
    Billing,
    Stall,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// SIGKILL of a node.
    Kill,
    /// SIGSTOP of a node, and later SIGCONT.
    Stop,
    /// A node's clock is an hour ahead, or behind.
    Clock,
    /// All nodes are restarted by SIGTERM, one after another.
    Rolling,
    /// Postgres is killed with all its processes, and started again.
    Postgres,
    /// The synchronous standby takes over from a Postgres that is killed.
    Failover,
    /// The disk under Postgres is full.
    Disk,
    /// Each commit waits for the disk much longer than usual.
    SlowDisk,
    /// All connections of nodes are ended by Postgres, again and again.
    Backends,
    /// Only those that LISTEN are, again and again.
    Listeners,
    /// Postgres' processes for some connections stand still.
    Frozen,
    /// A transaction locks the log: appends wait, or all that touch it.
    Locked,
    /// Somebody else takes all connections that Postgres has left.
    Slots,
    /// A node's way to the database is cut.
    DbCut,
    /// It swallows everything.
    DbBlackhole,
    /// It breaks by resets.
    DbReset,
    /// It is slow.
    DbSlow,
    /// It loses all answers.
    DbMute,
    /// Its connections are dead, and nobody is told.
    DbDeaf,
    /// The clients' way to a node is cut.
    ClientCut,
    /// It swallows everything.
    ClientBlackhole,
    /// It breaks by resets.
    ClientReset,
    /// It is slow.
    ClientSlow,
    /// It loses all answers.
    ClientMute,
    /// The auth service is down, slow, or lies.
    Auth,
    /// Billing is.
    Billing,
    /// Clients stop reading for a while.
    Stall,
    /// Very many streams reconnect at once.
    Reconnects,
}

/// What a kind needs beside the world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    /// How many nodes there are.
    pub(super) nodes: usize,
    /// How many streams reconnect at once.
    pub(super) reconnects: usize,
    /// Whether standbys lag behind.
    pub(super) asynchronous: bool,
}

impl Kind {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// A fault of this kind; where it strikes is drawn.
    pub(super) fn draw(self, rng: &mut Rng, means: Means) -> Box<dyn Fault> {
        let node = rng.usize(0..means.nodes);
        match self {
            Self::Kill => Box::new(nodes::Kill(node)),
            Self::Stop => Box::new(nodes::Stop(node)),
            Self::Clock => {
                let hours = if rng.bool() { 1 } else { -1 };
                Box::new(nodes::Clock { node, hours })
            }
            Self::Rolling => Box::new(nodes::Rolling { nodes: means.nodes }),
            Self::Postgres => Box::new(server::Killed),
            Self::Failover => {
                let lag = Duration::from_millis(rng.u64(100..1_500));
                let lag = means.asynchronous.then_some(lag);
                Box::new(server::Failover { goes_on: rng.bool(), lag })
            }
            Self::Disk => Box::new(server::DiskFull),
            Self::SlowDisk => Box::new(server::SlowDisk::draw(rng)),
            Self::Backends => Box::new(sql::Ended::all()),
            Self::Listeners => Box::new(sql::Ended::listeners()),
            Self::Frozen => Box::new(server::Frozen::draw(rng)),
            Self::Locked => Box::new(sql::Locked::draw(rng)),
            Self::Slots => Box::new(sql::Slots::default()),
            Self::Auth => Box::new(services::Service::auth(rng)),
            Self::Billing => Box::new(services::Service::billing(rng)),
            Self::Stall => Box::new(crowd::Stall),
            Self::Reconnects => Box::new(crowd::Crowd::new(means.reconnects, means.nodes)),
            way => way.draw_way(rng, node),
        }
    }

    fn draw_way(self, rng: &mut Rng, node: usize) -> Box<dyn Fault> {
        use ways::{Harm, Way, Which};
        let (which, harm) = match self {
            Self::DbCut => (Which::Database, Harm::Cut),
            Self::DbBlackhole => (Which::Database, Harm::Blackhole),
            Self::DbReset => (Which::Database, Harm::Reset),
            Self::DbSlow => (Which::Database, Harm::slow(rng)),
            Self::DbMute => (Which::Database, Harm::Mute),
            Self::DbDeaf => (Which::Database, Harm::Deaf),
            Self::ClientCut => (Which::Clients, Harm::Cut),
            Self::ClientBlackhole => (Which::Clients, Harm::Blackhole),
            Self::ClientReset => (Which::Clients, Harm::Reset),
            Self::ClientSlow => (Which::Clients, Harm::slow(rng)),
            _ => (Which::Clients, Harm::Mute),
        };
        Box::new(Way { which, harm, node })
    }
}

/// Which node, for people.
fn on(node: usize) -> String {
    format!("node {node}")
}
