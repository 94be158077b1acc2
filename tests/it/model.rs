//! The whole against a plain model: random pushes, pulls, streams, joins, leaves and faults of
//! several users and devices over several nodes. Each device keeps what it was offered; the model
//! knows what it may and what it must be offered.

mod acts;
mod found;
mod line;
mod log;
mod play;
mod push;
mod storm;
mod watch;

use play::Play;

/// Repeats a run: `MANA_SYNC_TEST_SEED=… cargo test --test it model::`.
const SEED: &str = "MANA_SYNC_TEST_SEED";
const STEPS: usize = 150;

/// A play of so many steps, from the seed or, where one is given, from that of the environment.
async fn play(name: &str, nodes: usize) {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("{name}: {SEED}={seed}");
    let mut play = Play::new(seed, nodes).await;
    for _ in 0..STEPS {
        play.act().await;
    }
    play.finish().await;
    println!("{name}: {} changes in {} pushes", play.log.changes.len(), play.pushes);
}

#[tokio::test]
async fn everybody_is_offered_what_they_may_see_once_and_nothing_else() {
    for case in 0..3 {
        play(&format!("case {case} with two nodes"), 2).await;
    }
}

#[tokio::test]
async fn so_it_is_with_three_nodes() {
    for case in 0..2 {
        play(&format!("case {case} with three nodes"), 3).await;
    }
}
