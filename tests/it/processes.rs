//! Real processes of the built binary: signals, kills, refusals, and the fleet on one machine.

mod commands;
mod dev;
mod drain;
mod kill;
mod process;

pub use process::Process;

use crate::support::World;

/// The seed of a random test: `MANA_SYNC_TEST_SEED`, or a new one; it is printed.
pub fn seed() -> u64 {
    let named = std::env::var("MANA_SYNC_TEST_SEED").ok();
    let seed = named.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("MANA_SYNC_TEST_SEED={seed}");
    seed
}

/// A node of `world` as a process, on a port that is free.
pub async fn serve(world: &World, flags: &[&str]) -> Process {
    let own = world.flags();
    let port = format!("--port={}", process::free_port());
    let flags: Vec<&str> = own
        .iter()
        .map(String::as_str)
        .chain([port.as_str()])
        .chain(flags.iter().copied())
        .collect();
    let url = format!("http://127.0.0.1:{}", port.trim_start_matches("--port="));
    let mut node = Process::start("serve", &flags);
    node.url = url;
    node.ready().await;
    node
}
