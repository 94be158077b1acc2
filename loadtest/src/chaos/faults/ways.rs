//! Faults of the network: a node's way to the database, and the clients' to it.

use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Claim, Fault, on};
use crate::Outcome;
use crate::chaos::world::World;
use crate::proxy::{Mode, Proxy};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Database,
    Clients,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    Cut,
    Blackhole,
    Reset,
    Slow(Duration),
    Mute,
    /// The connections that are open are dead, and nobody is told; new ones work.
    Deaf,
}

impl Harm {
    pub(super) fn slow(rng: &mut Rng) -> Self {
        Self::Slow(Duration::from_millis(rng.u64(20..400)))
    }
}

/// A way that is harmed.
pub(super) struct Way {
    pub(super) which: Which,
    pub(super) harm: Harm,
    pub(super) node: usize,
}

impl Way {
    fn proxy<'a>(&self, world: &'a World) -> Outcome<&'a Proxy> {
        let node = world.node(self.node)?;
        Ok(match self.which {
            Which::Database => &node.database,
            Which::Clients => &node.clients,
        })
    }
}

impl Fault for Way {
    fn name(&self) -> String {
        let which = match self.which {
            Which::Database => "database",
            Which::Clients => "clients",
        };
        let harm = match self.harm {
            Harm::Cut => "cut".to_owned(),
            Harm::Blackhole => "a black hole".to_owned(),
            Harm::Reset => "reset".to_owned(),
            Harm::Slow(by) => format!("{} ms slower", by.as_millis()),
            Harm::Mute => "without answers".to_owned(),
            Harm::Deaf => "half open".to_owned(),
        };
        format!("{} to its {which} {harm}", on(self.node))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![match self.which {
            Which::Database => Claim::DatabaseWay(self.node),
            Which::Clients => Claim::ClientWay(self.node),
        }]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let proxy = self.proxy(world)?;
            match self.harm {
                Harm::Cut => proxy.set(Mode::Cut),
                Harm::Blackhole => proxy.set(Mode::Blackhole),
                Harm::Reset => proxy.set(Mode::Reset),
                Harm::Slow(by) => proxy.set(Mode::Slow(by)),
                Harm::Mute => proxy.set(Mode::Mute),
                Harm::Deaf => proxy.deafen(),
            }
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            self.proxy(world)?.set(Mode::Pass);
            Ok(())
        }
        .boxed()
    }
}
