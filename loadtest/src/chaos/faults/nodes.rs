//! Faults of the nodes' own processes.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Claim, Fault, on};
use crate::Outcome;
use crate::chaos::world::World;
use crate::signals::Signal;

/// SIGKILL, and a new one later.
pub(super) struct Kill(pub(super) usize);

impl Fault for Kill {
    fn name(&self) -> String {
        format!("{} killed", on(self.0))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Node(self.0)]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            world.node(self.0)?.kill().await;
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            world.node(self.0)?.want();
            Ok(())
        }
        .boxed()
    }
}

/// SIGSTOP, and SIGCONT later.
pub(super) struct Stop(pub(super) usize);

impl Fault for Stop {
    fn name(&self) -> String {
        format!("{} stands still", on(self.0))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Node(self.0)]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async { world.node(self.0)?.signal(Signal::STOP).await }.boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            // Where it is away there is nothing to go on.
            world.node(self.0)?.signal(Signal::CONT).await.ok();
            Ok(())
        }
        .boxed()
    }
}

/// SIGTERM of one after another, each started anew before the next.
pub(super) struct Rolling {
    pub(super) nodes: usize,
}

impl Fault for Rolling {
    fn name(&self) -> String {
        "rolling restart".to_owned()
    }

    fn claims(&self) -> Vec<Claim> {
        (0..self.nodes).map(Claim::Node).collect()
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            for node in &world.nodes {
                node.renew().await?;
                node.comes().await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> BoxFuture<'a, Outcome> {
        async { Ok(()) }.boxed()
    }
}

/// A node whose clock is wrong.
pub(super) struct Clock {
    pub(super) node: usize,
    pub(super) hours: i32,
}

impl Fault for Clock {
    fn name(&self) -> String {
        format!("{} with a clock {:+} h wrong", on(self.node), self.hours)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Node(self.node)]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let node = world.node(self.node)?;
            node.skew(self.hours);
            node.renew().await
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let node = world.node(self.node)?;
            node.skew(0);
            node.renew().await
        }
        .boxed()
    }
}
