//! Faults, short: everything goes wrong and nothing is lost, and nodes that are wrong on purpose are
//! caught, so that the first means something. Each run is a fleet of its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A mutant is caught within this.
const CAUGHT: Duration = Duration::from_mins(1);

/// The seed: `MANA_SYNC_TEST_SEED`, or a new one; the run prints it.
fn seed() -> u64 {
    let named = std::env::vars().find(|(name, _)| name == "MANA_SYNC_TEST_SEED");
    named.map_or_else(|| fastrand::u64(..), |(_, seed)| seed.parse().unwrap())
}

/// Runs `chaos` with these flags; its report goes where cargo has tests write.
fn chaos(name: &str, flags: &str) -> Output {
    let folder = format!("{}/chaos-{name}", env!("CARGO_TARGET_TMPDIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["chaos", "--seed", &seed().to_string(), "--out", &folder]);
    let output = command.args(flags.split_whitespace()).output().unwrap();
    println!("{}{}", text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs nodes that are this mutant, under the faults that bring it out.
fn is_caught(mutant: &str, flags: &str) {
    let begun = Instant::now();
    let output = chaos(mutant, &format!("--mutant {mutant} --seconds 45 {flags}"));
    let took = begun.elapsed();
    assert_eq!(output.status.code(), Some(1), "{mutant} was not caught");
    assert!(took < CAUGHT, "{mutant} was caught after {took:?}");
    let why = text(&output.stderr);
    println!("{mutant}: caught, after {took:.1?} all in all");
    assert!(why.contains("caught after") || why.contains("the oracle found"), "{mutant}: {why}");
}

#[test]
fn nothing_is_lost_whatever_goes_wrong() {
    let output = chaos("all", "--seconds 45 --reconnects 300");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(said.contains("lost 0, duplicated 0, out of order 0, crossed 0"), "{said}");
}

#[test]
fn a_node_that_acknowledges_before_it_stores_is_caught() {
    is_caught("early-ack", "--faults kill,locked --pushes 30");
}

#[test]
fn a_node_that_takes_the_clock_for_the_horizon_is_caught() {
    is_caught("plain-clock", "--faults slow-disk");
}

#[test]
fn a_node_that_follows_after_it_has_read_is_caught() {
    is_caught("late-follow", "--faults reconnects --users 8 --pushes 50 --reconnects 600");
}

#[test]
fn a_node_that_ignores_a_gap_in_the_chain_is_caught() {
    is_caught("gap-ignored", "--calm --pushes 30");
}

#[test]
fn a_node_that_does_not_catch_up_when_it_listens_again_is_caught() {
    is_caught("skip-catch-up", "--faults listeners");
}

#[test]
fn a_node_that_remembers_memberships_for_too_long_is_caught() {
    is_caught("stale-members", "--calm");
}

#[test]
fn a_node_that_does_not_tell_the_least_of_its_apps_cursors_is_caught() {
    is_caught("any-cursor", "--calm --pushes 40");
}
