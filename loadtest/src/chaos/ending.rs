//! The end of a run: what is stored is looked up when nothing is under way any more, all readers
//! catch up with that, new devices read it from the start, and the oracle judges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use futures::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::Played;
use super::counts::Totals;
use super::device::Device;
use super::faults::Kind;
use super::reader::Reader;
use super::stage::{SPACES, Stage};
use super::wire::{APPS, number_of, space_name};
use super::world::AFTERMATH;
use crate::Outcome;
use crate::oracle::{Number, Reach, Stored, Verdict};
use crate::report::{Output, Report};

/// What members wrote is published within this: the nodes look for it every 30 seconds.
const PUBLISHED: Duration = Duration::from_secs(45);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);

/// What the run came to.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    verdict: Verdict,
    totals: Totals,
    faults: BTreeMap<String, u64>,
    /// Users and spaces in an app of which devices hold different records.
    diverged: u64,
    /// Stored changes that nobody made.
    strange: u64,
    /// Changes of old clients, without event ids, that are stored more than once.
    repeated: u64,
    /// Nodes that ended by themselves.
    crashes: u64,
    /// Seconds from the beginning until something was caught.
    caught_after: Option<f64>,
    offence: Option<String>,
    broken: Option<String>,
}

/// Waits until everything that will be stored is, then looks it up.
pub(super) async fn settle(stage: &Stage<'_>, say: &impl Fn(&str)) -> Outcome {
    tokio::select! {
        () = stage.over.cancelled() => {}
        () = stage.caught.cancelled() => return Ok(()),
    }
    say("nobody makes changes any more");
    let settled = settle_all(stage).await;
    say("all that will be stored is");
    // Also where that failed: nobody is to wait for ever.
    stage.settle();
    settled
}

async fn settle_all(stage: &Stage<'_>) -> Outcome {
    stage.world.ready().await?;
    // Nobody gives up any more since all was healed; by then nothing may be under way of what was.
    if let Some(given_up) = stage.last_given_up() {
        sleep_until(given_up + AFTERMATH).await;
    }
    let deadline = Instant::now() + PUBLISHED;
    loop {
        let unanswered = stage.under_way().load(Ordering::Relaxed);
        let rows = stored(stage).await?;
        let waits = {
            let mut ledger = stage.ledger();
            ledger.stored(&rows);
            ledger.awaits_publishing()
        };
        if unanswered == 0 && waits == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{unanswered} pushes and {waits} publications still wait").into());
        }
        sleep(LOOK).await;
    }
}

/// All that is stored: the number, the event, and whether it is in its space.
async fn stored(stage: &Stage<'_>) -> Outcome<Vec<(Option<Number>, u128, bool)>> {
    let query = "select id::text, origin, space_at is not null from sync_changes";
    let mut connection = stage.world.door().open().await?;
    let rows: Vec<(String, Option<String>, bool)> =
        sqlx::query_as(query).fetch_all(&mut connection).await?;
    let rows = rows.into_iter().map(|(id, origin, published)| {
        let event = uuid::Uuid::parse_str(&id).map_or(0, |id| id.as_u128());
        (origin.as_deref().and_then(number_of), event, published)
    });
    Ok(rows.collect())
}

/// Has new devices read all, and judges.
pub(super) async fn judge(stage: &Stage<'_>, played: Played, say: &impl Fn(&str)) -> Judged {
    let Played { mut devices, faults, broken } = played;
    let offence = stage.offence();
    if offence.is_none() && broken.is_none() {
        say("all readers have seen it, or had their time; new devices read it");
        stage.give_time();
        let readers = (0..stage.users).map(|user| async move {
            let reader = |kind, reach| Reader::new(kind, user, reach, Rng::with_seed(user as u64));
            let apps = (0..APPS.len()).map(Reach::App);
            let pulls = apps.map(|app| reader("fresh-pull", app).pull(stage));
            let stream = reader("fresh-stream", Reach::Apps).stream(stage, false);
            let (mut read, streamed) = tokio::join!(join_all(pulls), stream);
            read.push(streamed);
            read
        });
        devices.extend(join_all(readers).await.into_iter().flatten().flatten());
    }
    if offence.is_some() {
        // Nobody was waited for.
        for device in &mut devices {
            device.line.open = false;
        }
    }
    let found = match stored(stage).await {
        Ok(rows) if offence.is_none() => stage.ledger().stored(&rows),
        _ => Stored::default(),
    };
    let verdict = stage.ledger().judge(devices.iter().map(|device| &device.line));
    // What was lost with a server some devices hold, and others never will.
    let comparable = offence.is_none() && !stage.ledger().expects_losses();
    let diverged = if comparable { diverged(stage, &devices) } else { 0 };
    let name = |kind: Kind| format!("{kind:?}");
    Judged {
        verdict,
        totals: stage.counts.totals(&stage.world.crowd),
        faults: faults.into_iter().map(|(kind, count)| (name(kind), count)).collect(),
        diverged,
        strange: found.strange,
        repeated: found.again,
        crashes: stage.world.nodes.iter().map(super::nodes::Slot::crashes).sum(),
        caught_after: offence.as_ref().map(|offence| offence.after.as_secs_f64()),
        offence: offence.map(|offence| offence.what),
        broken,
    }
}

/// How many users' and spaces' records in an app are not the same on all devices that should hold
/// them.
fn diverged(stage: &Stage<'_>, devices: &[Device]) -> u64 {
    let mut hashes: BTreeMap<(usize, Option<usize>, usize), BTreeSet<u64>> = BTreeMap::new();
    for device in devices.iter().filter(|device| device.line.open) {
        let user = device.line.user;
        for app in (0..APPS.len()).filter(|app| device.line.reach.reads(*app)) {
            let hash = device.state.hash(app, None);
            hashes.entry((app, None, user)).or_default().insert(hash);
            for space in (0..SPACES).filter(|space| stage.is_member(user, *space)) {
                let hash = device.state.hash(app, Some(&space_name(space)));
                hashes.entry((app, Some(space), 0)).or_default().insert(hash);
            }
        }
    }
    hashes.values().filter(|hashes| hashes.len() > 1).count() as u64
}

impl Judged {
    /// Whether all is as promised.
    pub(super) fn is_clean(&self) -> bool {
        let wrong = self.diverged + self.strange + self.totals.wrongly_refused();
        self.verdict.is_clean()
            && self.offence.is_none()
            && self.broken.is_none()
            && wrong + self.totals.pushes_stuck == 0
            && self.totals.pushes_acknowledged > 0
    }

    /// What is wrong, in a sentence.
    pub(super) fn why(&self) -> String {
        if let Some(broken) = &self.broken {
            return broken.clone();
        }
        match (&self.offence, self.caught_after) {
            (Some(offence), Some(after)) => format!("caught after {after:.1} s: {offence}"),
            _ => "the oracle found something wrong".to_owned(),
        }
    }

    /// Prints it for people.
    pub(super) fn print(&self, output: &Output) {
        let say = |line: &str| output.say(line);
        say("faults that happened");
        for (fault, count) in &self.faults {
            say(&format!("  {fault:<30} {count:>10}"));
        }
        self.totals.rows().iter().for_each(|row| say(row));
        say(&format!("{:<32} {:>10}", "stored twice for old clients", self.repeated));
        say(&format!("{:<32} {:>10}", "nodes that ended by themselves", self.crashes));
        let verdict = &self.verdict;
        say(&format!(
            "{} lines with {} sightings; {} changes unpublished at first",
            verdict.lines, verdict.seen, verdict.unpublished
        ));
        if verdict.forgotten > 0 {
            let forgotten = verdict.forgotten;
            say(&format!("{forgotten} acknowledged changes were lost with a server, as expected"));
        }
        verdict.examples.iter().for_each(|example| say(&format!("  {example}")));
        say(&format!(
            "lost {}, duplicated {}, out of order {}, crossed {}, cursors back {}, unknown {}, \
             diverged {}",
            verdict.lost,
            verdict.duplicated,
            verdict.out_of_order,
            verdict.leaked,
            verdict.cursors_back,
            verdict.unknown + self.strange,
            self.diverged
        ));
        let wrong = self.totals.wrongly_refused();
        if wrong + self.totals.pushes_stuck > 0 {
            let stuck = self.totals.pushes_stuck;
            say(&format!("{wrong} requests refused for good, {stuck} pushes never answered"));
        }
    }

    /// Puts it into the report.
    pub(super) fn fill(&self, report: &mut Report) {
        report.figure("judged", self);
    }
}
