//! The fleet as clients meet it: three processes behind nginx or `HAProxy`, with the very
//! configurations that the project ships.

mod bodies;
mod doors;
mod entrance;
mod leaving;
mod slow;
mod streams;

use entrance::{Entrance, Kind};

use crate::processes::{Process, lasting_port, launch_at};
use crate::support::World;

/// The nodes of a fleet.
const NODES: usize = 3;

/// Three nodes and what stands before them.
struct Fleet {
    // Dropped first: it is connected to the nodes.
    entrance: Entrance,
    nodes: Vec<Process>,
    ports: Vec<u16>,
    flags: Vec<&'static str>,
    world: World,
}

impl Fleet {
    /// A fleet, as soon as all of it serves. `flags` are further ones of `mana-sync serve`.
    async fn start(kind: Kind, flags: &[&'static str]) -> Self {
        let world = World::new().await;
        let ports: Vec<u16> = (0..NODES).map(|_| lasting_port()).collect();
        let flags = [&["--trusted-proxies=127.0.0.1"], flags].concat();
        let start = |port: &u16| launch_at(*port, &world, &flags, &[("LOG_FORMAT", "json")]);
        let mut nodes: Vec<Process> = ports.iter().map(start).collect();
        for node in &mut nodes {
            node.ready().await;
        }
        let entrance = Entrance::start(kind, &ports).await;
        Self { entrance, nodes, ports, flags, world }
    }

    /// Where clients come.
    fn url(&self) -> &str {
        &self.entrance.url
    }

    /// Starts a node where one was, and waits until it is ready.
    async fn replace(&mut self, number: usize) {
        let (port, log) = (self.ports[number], [("LOG_FORMAT", "json")]);
        let mut node = launch_at(port, &self.world, &self.flags, &log);
        node.ready().await;
        self.nodes[number] = node;
    }
}

/// Each of these, through each of the two.
macro_rules! through_each {
    ($($part:ident::$check:ident),* $(,)?) => {
        mod nginx {
            $(#[tokio::test]
            async fn $check() {
                super::$part::$check(super::Kind::Nginx).await;
            })*
        }
        mod haproxy {
            $(#[tokio::test]
            async fn $check() {
                super::$part::$check(super::Kind::HaProxy).await;
            })*
        }
    };
}

through_each!(
    streams::events_arrive_at_once_and_whole,
    streams::websockets_pass,
    bodies::uploads_pass_up_to_the_nodes_limit,
    doors::clients_find_no_way_to_what_is_for_operators,
    doors::requests_keep_their_names_and_addresses,
    leaving::nodes_leave_and_join_and_clients_notice_a_reconnect_at_most,
);
