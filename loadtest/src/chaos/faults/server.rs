//! Faults of the Postgres server itself, and of what lies under it.

use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::{Claim, Fault};
use crate::Outcome;
use crate::chaos::database::Database;
use crate::chaos::world::World;
use crate::signals::{self, Signal};

/// What undoes a fault is tried for so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// And again after this.
const AGAIN: Duration = Duration::from_millis(300);

/// Commits are as quick as they were.
const USUAL: [&str; 3] = [
    "alter system reset commit_delay",
    "alter system reset commit_siblings",
    "select pg_reload_conf()",
];

/// Makes commits as quick as they were; tries until it works.
async fn speed_up(world: &World) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match world.door().run(&USUAL).await {
            Err(_) if Instant::now() < deadline => sleep(AGAIN).await,
            outcome => return outcome,
        }
    }
}

/// Killed with all its processes; later started on what it had written.
pub(super) struct Killed;

impl Fault for Killed {
    fn name(&self) -> String {
        "Postgres killed".to_owned()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Server]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            world.database.lock().await.kill();
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async { world.database.lock().await.restart().await }.boxed()
    }
}

/// Killed, and the standby takes over.
pub(super) struct Failover {
    /// Whether a new standby follows the new server: then each commit waits for two disks.
    pub(super) goes_on: bool,
    /// By how much the standby lags behind: what came last is lost. Else it is synchronous.
    pub(super) lag: Option<Duration>,
}

impl Fault for Failover {
    fn name(&self) -> String {
        match self.lag {
            None => "failover to the standby".to_owned(),
            Some(lag) => format!("failover to a standby {} ms behind", lag.as_millis()),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Server, Claim::Settings]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let mut database = world.database.lock().await;
            database.follow(self.lag.is_some()).await?;
            if let Some(lag) = self.lag {
                database.let_lag().await?;
                sleep(lag).await;
            }
            database.fail_over().await?;
            world.lead_to(&database);
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let mut database = world.database.lock().await;
            // Where the promotion failed the old one is to come back.
            database.revive().await?;
            if self.goes_on { database.follow(self.lag.is_some()).await } else { Ok(()) }
        }
        .boxed()
    }
}

/// The disk is full.
pub(super) struct DiskFull;

impl Fault for DiskFull {
    fn name(&self) -> String {
        "disk full".to_owned()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Server]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async { world.disk.as_ref().ok_or("there is no disk to fill")?.fill().await }.boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            if let Some(disk) = &world.disk {
                disk.free();
            }
            // It may have given itself up when it could not write its log.
            world.database.lock().await.revive().await
        }
        .boxed()
    }
}

/// Each commit waits for the disk.
pub(super) struct SlowDisk {
    millis: u32,
}

impl SlowDisk {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        // Postgres waits no longer than a tenth of a second.
        Self { millis: rng.u32(30..=100) }
    }
}

impl Fault for SlowDisk {
    fn name(&self) -> String {
        format!("a commit takes {} ms", self.millis)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Settings]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let delay = format!("alter system set commit_delay = {}", self.millis * 1000);
            let always = "alter system set commit_siblings = 0";
            world.door().run(&[&delay, always, "select pg_reload_conf()"]).await
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        speed_up(world).boxed()
    }
}

/// Some of its processes stand still, whatever they were doing.
pub(super) struct Frozen {
    share: f64,
    seed: u64,
    stopped: Vec<u32>,
}

impl Frozen {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Self { share: 0.1 + 0.5 * rng.f64(), seed: rng.u64(..), stopped: Vec::new() }
    }

    fn go_on(&mut self) {
        for pid in self.stopped.drain(..) {
            // One that has ended needs no signal.
            let _ = signals::send(pid, Signal::CONT);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.go_on();
    }
}

impl Fault for Frozen {
    fn name(&self) -> String {
        format!("{:.0} % of Postgres' backends stand still", self.share * 100.0)
    }

    fn claims(&self) -> Vec<Claim> {
        // A server that is killed meanwhile would wait for them, and their pids could be others'.
        vec![Claim::Server]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let mut rng = Rng::with_seed(self.seed);
            for pid in Database::backends(&world.door()).await? {
                if rng.f64() < self.share && signals::send(pid, Signal::STOP).is_ok() {
                    self.stopped.push(pid);
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            self.go_on();
            Ok(())
        }
        .boxed()
    }
}
