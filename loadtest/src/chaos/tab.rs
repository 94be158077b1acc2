//! A tab, as they are in the field: it makes changes, keeps them until they are acknowledged, is
//! offline at times, reads by whatever way, and is closed when its user loses patience.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::counts::{Path, many, one};
use super::device::{Caller, Device};
use super::follow::{Shared, follow};
use super::stage::{Stage, draw_space};
use super::wire::{Draft, Page, Seen, TABLES, app_name};
use crate::Outcome;
use crate::oracle::{Made, Number, Reach};

/// A client that was offline pushes so many at once, at the most.
const LARGEST: usize = 200;
/// Offline at the most, in milliseconds.
const OFFLINE: u64 = 5_000;
/// A push that was not acknowledged so long after everybody has stopped never will be.
const STUCK: Duration = Duration::from_mins(1);
/// One attempt in so many that fail is the last one: the tab is closed.
const CLOSED: u32 = 60;
/// Between two readings when nothing else is left to do.
const LOOK: Duration = Duration::from_millis(250);
/// Pages that are read in one go.
const PAGES: usize = 40;

/// How a tab goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// It leaves event ids to the node: what it pushes twice may be stored twice.
    pub(super) is_old: bool,
    /// It follows by streams and pulls each table by itself. Else it reads by the answers to its
    /// pushes alone, with one cursor.
    pub(super) reads: bool,
}

/// A tab.
pub(super) struct Tab {
    pub(super) number: usize,
    pub(super) user: usize,
    pub(super) app: usize,
    pub(super) habits: Habits,
    /// Between two pushes, on average.
    pub(super) every: Duration,
    pub(super) rng: Rng,
}

/// Changes on their way.
#[derive(Default)]
struct Batch {
    numbers: Vec<Number>,
    /// As they are pushed.
    json: Vec<Value>,
    /// As readers see them.
    seen: Vec<Seen>,
}

/// A tab at work.
struct Acting<'a> {
    stage: &'a Stage<'a>,
    shared: &'a RefCell<Shared>,
    tab: Tab,
    writer: usize,
    caller: Caller,
    /// Those that were closed.
    closed: Vec<Device>,
}

impl Tab {
    /// Lives until all is read; gives the devices that it was.
    pub(super) async fn live(mut self, stage: &Stage<'_>) -> Vec<Device> {
        let (writer, reads) = (stage.writer(), self.habits.reads);
        let (client, device) = self.open(writer);
        let shared = Shared::new(device, client.clone());
        let following = Caller::new(self.user, client.clone(), self.rng.fork());
        let caller = Caller::new(self.user, client, self.rng.fork());
        let acting =
            Acting { stage, shared: &shared, tab: self, writer, caller, closed: Vec::new() };
        let follow = async {
            if reads {
                follow(stage, &shared, following, false).await;
            }
        };
        let (mut devices, ()) = tokio::join!(acting.act(), follow);
        devices.push(shared.into_inner().device);
        devices
    }

    /// The client id and the device of a new tab.
    fn open(&self, writer: usize) -> (String, Device) {
        let Habits { is_old, reads } = self.habits;
        let reach = if reads { Reach::Table(self.app) } else { Reach::App(self.app) };
        let age = if is_old { "old" } else { "new" };
        let kind = if reads { "tab" } else { "echo" };
        let client = format!("{kind}-{}-{writer}", self.number);
        let name = format!("{age} {client} of user {} in {}", self.user, app_name(self.app));
        (client, Device::new(name, self.user, Some(writer), reach))
    }
}

impl Acting<'_> {
    async fn act(mut self) -> Vec<Device> {
        let stage = self.stage;
        loop {
            let pause = self.tab.every.mul_f64(0.2 + 1.6 * self.tab.rng.f64());
            if stage.over.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
            // From here on it is waited for.
            stage.under_way().fetch_add(1, Ordering::Relaxed);
            let size = match self.tab.rng.u32(0..12) {
                0 => self.stay_away().await,
                _ => draw_size(&mut self.tab.rng),
            };
            let batch = self.make(size);
            self.push(batch).await;
            stage.under_way().fetch_sub(1, Ordering::Relaxed);
            if self.tab.habits.reads && self.tab.rng.u32(0..3) == 0 {
                self.pull().await;
            }
        }
        while !stage.is_over(&self.shared.borrow().device.line) {
            sleep(LOOK).await;
            if self.tab.habits.reads {
                self.pull().await;
            } else {
                // Its only way to read on: a push of nothing.
                self.attempt(&Batch::default()).await.ok();
            }
        }
        self.closed
    }

    /// Is offline for a while; gives how many changes are made meanwhile.
    async fn stay_away(&mut self) -> usize {
        self.shared.borrow_mut().offline = true;
        self.caller.hang_up();
        sleep(Duration::from_millis(self.tab.rng.u64(200..OFFLINE))).await;
        self.shared.borrow_mut().offline = false;
        self.tab.rng.usize(1..=LARGEST)
    }

    fn make(&mut self, size: usize) -> Batch {
        let mut batch = Batch::default();
        let stalled = *self.stage.world.stalled.borrow();
        for _ in 0..size {
            let space = draw_space(self.tab.user, &mut self.tab.rng);
            let event = (!self.tab.habits.is_old).then(Uuid::now_v7);
            let draft = Draft::draw(&mut self.tab.rng, space, event, stalled);
            let Ok(seen) = draft.seen() else { continue };
            let number = self.stage.ledger().make(Made {
                event: draft.event.map(|event| event.as_u128()),
                writer: self.writer,
                user: self.tab.user,
                app: self.tab.app,
                space: draft.space,
                table: draft.table,
                digest: seen.digest(),
            });
            batch.numbers.push(number);
            batch.json.push(draft.numbered(number));
            batch.seen.push(seen);
        }
        batch
    }

    /// Pushes until it is acknowledged, or the tab is closed.
    async fn push(&mut self, batch: Batch) {
        let (stage, mut failures) = (self.stage, 0);
        let mut stopped = None;
        while self.attempt(&batch).await.is_err() {
            failures += 1;
            one(&stage.counts.retries);
            let is_last = self.tab.rng.u32(0..CLOSED) == 0 && !stage.calm.is_cancelled();
            if is_last {
                one(&stage.counts.given_up);
                stage.gave_up();
                return self.close();
            }
            if stage.healed.is_cancelled() {
                let stopped = *stopped.get_or_insert_with(Instant::now);
                if stopped.elapsed() > STUCK {
                    one(&stage.counts.stuck);
                    return;
                }
            }
            if stage.caught.is_cancelled() {
                return;
            }
            sleep(self.caller.pause(failures)).await;
        }
    }

    async fn attempt(&mut self, batch: &Batch) -> Outcome {
        let (stage, mut turn, since) = {
            let device = &mut self.shared.borrow_mut().device;
            let since = device.since(None);
            (self.stage, device.line.turn(&since), since)
        };
        let body = json!({ "since": since, "changes": batch.json }).to_string();
        let page = self.caller.push(stage, self.tab.app, body.as_bytes()).await?;
        self.acknowledged(batch, &page);
        let device = &mut self.shared.borrow_mut().device;
        device.take(stage, &mut turn, &page, (None, Path::Push));
        batch.seen.iter().for_each(|seen| device.state.apply(Some(self.tab.app), seen));
        Ok(())
    }

    fn acknowledged(&self, batch: &Batch, page: &Page) {
        if batch.numbers.is_empty() {
            return;
        }
        let mut ledger = self.stage.ledger();
        for (number, seen) in batch.numbers.iter().zip(&batch.seen) {
            let unpublished = page.unpublished.iter().any(|one| one.is_of(seen));
            ledger.acknowledge(*number, unpublished);
        }
        drop(ledger);
        one(&self.stage.counts.pushes);
        many(&self.stage.counts.changes, batch.numbers.len() as u64);
    }

    /// Reads all tables, one by one, as far as there is something.
    async fn pull(&mut self) {
        for table in 0..TABLES.len() {
            for _ in 0..PAGES {
                match self.page(table).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => return one(&self.stage.counts.retries),
                }
            }
        }
    }

    /// Reads a page; whether there is more.
    async fn page(&mut self, table: usize) -> Outcome<bool> {
        let (mut turn, since) = {
            let device = &mut self.shared.borrow_mut().device;
            let since = device.since(Some(table));
            (device.line.turn(&since), since)
        };
        let page = self.caller.pull(self.stage, (self.tab.app, Some(table)), &since).await?;
        let device = &mut self.shared.borrow_mut().device;
        device.take(self.stage, &mut turn, &page, (Some(table), Path::Pull));
        Ok(page.has_more)
    }

    /// The tab is closed, and its user opens another one, which knows nothing.
    fn close(&mut self) {
        self.writer = self.stage.writer();
        let (client, device) = self.tab.open(self.writer);
        self.caller.hang_up();
        client.clone_into(&mut self.caller.client);
        let mut shared = self.shared.borrow_mut();
        let mut old = std::mem::replace(&mut shared.device, device);
        shared.client = client;
        shared.generation += 1;
        old.line.open = false;
        self.closed.push(old);
    }
}

/// Most pushes are small.
fn draw_size(rng: &mut Rng) -> usize {
    match rng.u32(0..100) {
        0..72 => rng.usize(1..=5),
        72..93 => rng.usize(6..=40),
        93..99 => rng.usize(41..=120),
        _ => LARGEST,
    }
}
