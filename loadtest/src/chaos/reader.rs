//! Devices that only read: an app by pull, or one or all by stream, with one cursor.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::counts::{Path, one};
use super::device::{Caller, Device};
use super::follow::{Shared, follow};
use super::stage::Stage;
use super::wire::app_name;
use crate::Outcome;
use crate::oracle::Reach;

/// Pages of one reading, beyond which something goes in circles.
const MOST_PAGES: usize = 1_000_000;

/// A device that only reads.
pub(super) struct Reader {
    device: Device,
    caller: Caller,
}

impl Reader {
    /// A new device.
    pub(super) fn new(kind: &str, user: usize, reach: Reach, rng: Rng) -> Self {
        let apps = reach.app().map_or("all apps", app_name);
        let device = Device::new(format!("{kind} of user {user} in {apps}"), user, None, reach);
        Self { device, caller: Caller::new(user, format!("{kind}-{user}"), rng) }
    }

    /// Follows by streams until it has seen all. `stalls`: it stands still when told to.
    pub(super) async fn stream(self, stage: &Stage<'_>, stalls: bool) -> Vec<Device> {
        let shared = Shared::new(self.device, self.caller.client.clone());
        follow(stage, &shared, self.caller, stalls).await;
        vec![shared.into_inner().device]
    }

    /// Pulls now and then from its one app, until it has seen all.
    pub(super) async fn pull(mut self, stage: &Stage<'_>) -> Vec<Device> {
        let mut failures = 0;
        while !stage.is_over(&self.device.line) {
            sleep(Duration::from_millis(self.caller.rng.u64(20..700))).await;
            if self.catch_up(stage).await.is_ok() {
                failures = 0;
            } else {
                failures += 1;
                one(&stage.counts.retries);
                sleep(self.caller.pause(failures)).await;
            }
        }
        vec![self.device]
    }

    /// Reads from the cursor until there is no more.
    async fn catch_up(&mut self, stage: &Stage<'_>) -> Outcome {
        let app = self.device.line.reach.app().ok_or("a pull is of one app")?;
        for _ in 0..MOST_PAGES {
            let since = self.device.since(None);
            let mut turn = self.device.line.turn(&since);
            let page = self.caller.pull(stage, (app, None), &since).await?;
            self.device.take(stage, &mut turn, &page, (None, Path::Pull));
            if !page.has_more {
                return Ok(());
            }
        }
        Err("there is always more".into())
    }
}
