//! Who has the guest come to spaces and leave them, as an administrator of the auth service would:
//! there first, and then the fleet is told to forget what it knew.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, timeout};

use super::counts::one;
use super::stage::{Stage, spaces_of};
use super::wire::{APPS, space_name, user_name};
use crate::Outcome;
use crate::fleet::SERVICE_KEY;
use crate::oracle::Standing;

/// Between two moves, in milliseconds.
const EVERY: std::ops::Range<u64> = 800..5_000;
/// The fleet has taken note within this.
const TOLD: Duration = Duration::from_secs(4);
/// And if not, it is told again until then.
const PATIENCE: Duration = Duration::from_mins(1);
/// A user is known to all nodes within this, at first.
const KNOWN: Duration = Duration::from_secs(20);

/// Makes every user known before anything else happens.
pub(super) async fn introduce(stage: &Stage<'_>) -> Outcome {
    let path = format!("/sync/{}/pull?collection=tasks&since=2999-01-01", APPS[0]);
    for user in 0..stage.users {
        let deadline = Instant::now() + KNOWN;
        loop {
            let mut connection = stage.world.direct(user).connect().await?;
            let answer = connection.get(&path, stage.token(user), "prologue").await?;
            let spaces = memchr::memmem::find(&answer.body, b"chaos-space-").is_some();
            if answer.status == 200 && spaces {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("user {user} is not known: status {}", answer.status).into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Moves the guest, if there is one, until the stage is over.
pub(super) async fn move_guest(stage: &Stage<'_>, guest: Option<usize>, mut rng: Rng) {
    let Some(guest) = guest else { return };
    loop {
        let pause = Duration::from_millis(rng.u64(EVERY));
        if stage.over.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
        let Some(space) = spaces_of(guest).get(rng.usize(0..2)).copied() else { return };
        let (user, name) = (user_name(guest), space_name(space));
        let leaves = stage.is_member(guest, space);
        // The fleet is told of both: all that it knew of the guest is forgotten.
        stage.ledger().moves(guest, space, Standing::Moving);
        if leaves {
            stage.world.issuer.leave(&user, &name);
        } else {
            stage.world.issuer.join(&user, &name);
        }
        if !tell(stage, &user, &mut rng).await {
            return;
        }
        one(&stage.counts.moves);
        let mut ledger = stage.ledger();
        let next = ledger.next();
        let standing = if leaves { Standing::Gone(next) } else { Standing::Member };
        ledger.moves(guest, space, standing);
    }
}

/// Has the fleet forget what it knows of a user; whether it has.
async fn tell(stage: &Stage<'_>, user: &str, rng: &mut Rng) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let path = format!("/internal/memberships/{user}/invalidate");
    while Instant::now() < deadline {
        let node = stage.world.direct(rng.usize(0..stage.world.nodes.len()));
        let telling = async {
            let mut connection = node.connect().await?;
            connection.post_with_key(&path, SERVICE_KEY).await
        };
        match timeout(TOLD, telling).await {
            Ok(Ok(status)) if (200..300).contains(&status) => return true,
            _ => sleep(Duration::from_millis(rng.u64(50..300))).await,
        }
    }
    false
}
