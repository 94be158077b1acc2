//! Following by streams: opened again whenever they break, somewhere else each time, from where
//! the device has come.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::counts::{Path, one};
use super::device::{Caller, Device};
use super::stage::Stage;
use super::wire::{Page, TABLES, stream_path};
use crate::Outcome;
use crate::events::Events;

/// How often a silent stream looks up.
const LOOK: Duration = Duration::from_millis(200);
/// A stream is open within this, or is tried elsewhere.
const OPENS: Duration = Duration::from_secs(6);
/// One event in so many that say there is more is the last one: the cursor is to be good there too.
const CUT: u32 = 8;
/// Nodes send something every 30 seconds: a stream that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(40);

/// A device that is shared by what follows for it and what acts for it.
pub(super) struct Shared {
    pub(super) device: Device,
    /// Its client id.
    pub(super) client: String,
    /// Grows when the tab is closed, and another one is in its place.
    pub(super) generation: u32,
    /// Without a network at the moment.
    pub(super) offline: bool,
}

impl Shared {
    pub(super) fn new(device: Device, client: String) -> RefCell<Self> {
        RefCell::new(Self { device, client, generation: 0, offline: false })
    }
}

/// Follows until the device has seen all. `stalls`: it stands still when told to.
pub(super) async fn follow(
    stage: &Stage<'_>,
    shared: &RefCell<Shared>,
    mut caller: Caller,
    stalls: bool,
) {
    let mut failures = 0;
    // Ends when the stage is over: within its deadline after the last push.
    while !stage.is_over(&shared.borrow().device.line) {
        if shared.borrow().offline {
            sleep(LOOK).await;
            continue;
        }
        shared.borrow().client.clone_into(&mut caller.client);
        if once(stage, shared, &mut caller, stalls).await.is_ok() {
            failures = 0;
        } else {
            failures += 1;
            one(&stage.counts.reconnects);
            sleep(caller.pause(failures)).await;
        }
    }
}

/// Follows by one stream, for as long as that lasts.
async fn once(
    stage: &Stage<'_>,
    shared: &RefCell<Shared>,
    caller: &mut Caller,
    stalls: bool,
) -> Outcome {
    let (since, reach, generation) = {
        let shared = shared.borrow();
        (shared.device.since(None), shared.device.line.reach, shared.generation)
    };
    let path = stream_path(reach.app(), &since);
    let door = stage.door(&mut caller.rng);
    let open = Events::open(door, &path, stage.token(caller.user), &caller.client);
    let mut events = timeout(OPENS, open).await??;
    one(&stage.counts.streams);
    let mut turn = shared.borrow_mut().device.line.turn(&since);
    // Some streams end soon, as tabs do that are put aside; others stay as long as they can.
    let stays = caller.rng.u32(0..4) == 0;
    let life = Duration::from_millis(caller.rng.u64(200..8_000));
    let (opened, mut heard) = (Instant::now(), Instant::now());
    // A connection that was made while ways were broken may be dead, and nobody says so.
    let was_healed = stage.healed.is_cancelled();
    loop {
        if stalls {
            stand_still(stage).await;
        }
        let event = match timeout(LOOK, events.next()).await {
            Ok(event) => Some(event?.ok_or("the stream ended")?),
            Err(_) if heard.elapsed() > SILENCE => return Err("silent for too long".into()),
            Err(_) => None,
        };
        let mut shared = shared.borrow_mut();
        let aside = !stays && !was_healed && opened.elapsed() > life;
        let mistrusted = !was_healed && stage.healed.is_cancelled();
        let closed = shared.offline || shared.generation != generation;
        if aside || mistrusted || closed {
            return Ok(());
        }
        match event {
            Some(event) => {
                heard = Instant::now();
                if event.name == "changes" {
                    let page: Page = serde_json::from_slice(&event.data)?;
                    let table = page.table.as_deref();
                    let table =
                        table.and_then(|table| TABLES.iter().position(|name| *name == table));
                    shared.device.take(stage, &mut turn, &page, (table, Path::Stream));
                    let is_cut = page.has_more && caller.rng.u32(0..CUT) == 0;
                    if is_cut && !was_healed {
                        return Ok(());
                    }
                }
            }
            None if stage.is_over(&shared.device.line) => return Ok(()),
            None => {}
        }
    }
}

/// Reads nothing while clients are to stand still.
async fn stand_still(stage: &Stage<'_>) {
    let mut stalled = stage.world.stalled.subscribe();
    // The sender lives as long as the stage.
    let _ = stalled.wait_for(|stalled| !*stalled).await;
}
