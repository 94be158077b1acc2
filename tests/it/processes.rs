//! Real processes of the built binary: signals, kills, refusals, and the fleet on one machine.

mod commands;
pub mod counts;
mod dev;
pub mod drain;
mod kill;
mod logs;
mod lookups;
mod process;
mod readme;
mod shells;
mod terminal;

pub use drain::{WebSocket, websocket};
pub use process::{Process, free_port, lasting_port};

use crate::support::World;

/// The seed of a random test: `MANA_SYNC_TEST_SEED`, or a new one; it is printed.
pub fn seed() -> u64 {
    let named = std::env::var("MANA_SYNC_TEST_SEED").ok();
    let seed = named.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("MANA_SYNC_TEST_SEED={seed}");
    seed
}

/// A node of `world` as a process, on a port that is free, as soon as it is ready.
pub async fn serve(world: &World, flags: &[&str]) -> Process {
    let mut node = launch(world, flags, &[]);
    node.ready().await;
    node
}

/// The same, with variables of its own, ready or not.
pub fn launch(world: &World, flags: &[&str], variables: &[(&str, &str)]) -> Process {
    launch_at(free_port(), world, flags, variables)
}

/// The same, on this port.
pub fn launch_at(port: u16, world: &World, flags: &[&str], variables: &[(&str, &str)]) -> Process {
    let own = world.flags();
    let port_flag = format!("--port={port}");
    let own = own.iter().map(String::as_str).chain([port_flag.as_str()]);
    let flags: Vec<&str> = own.chain(flags.iter().copied()).collect();
    let mut node = Process::start_with("serve", &flags, variables);
    node.url = format!("http://127.0.0.1:{port}");
    node
}
