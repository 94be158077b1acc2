//! Faults of the clients: some stop reading, and very many come back at once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Claim, Fault};
use crate::Outcome;
use crate::chaos::wire::{stream_path, user_name};
use crate::chaos::world::World;
use crate::client::Target;
use crate::proxy::Mode;

/// A stream of the crowd is open within this, or not at all.
const OPENS: Duration = Duration::from_secs(20);
/// So many knock at the same time: all would overflow the listening sockets, and prove nothing
/// of the node.
const KNOCKING: usize = 1_000;
/// They are devices of so many of those who act.
const USERS: usize = 4;
/// They have been away for so long, and read what came meanwhile.
const AWAY: SignedDuration = SignedDuration::from_secs(10);
/// Connections break for so long.
const BREAK: Duration = Duration::from_millis(30);

/// Some streams are not read.
pub(super) struct Stall;

impl Fault for Stall {
    fn name(&self) -> String {
        "streams not read by their clients".to_owned()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Stall]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            world.stalled.send_replace(true);
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            world.stalled.send_replace(false);
            Ok(())
        }
        .boxed()
    }
}

/// Very many streams that break and come back at once, those of the cast among them. The crowd's go
/// to the nodes themselves, past nginx and all proxies, which would only need as many files again.
pub(super) struct Crowd {
    count: usize,
    nodes: usize,
    open: Vec<TcpStream>,
}

impl Crowd {
    pub(super) fn new(count: usize, nodes: usize) -> Self {
        Self { count, nodes, open: Vec::new() }
    }

    /// Opens all of them at once.
    async fn come(&mut self, world: &World) -> Outcome {
        let mut doors = Vec::new();
        for node in &world.nodes {
            if let Some(port) = node.port().await {
                let url = format!("http://127.0.0.1:{port}").parse()?;
                doors.push(Target::resolve(&url).await?);
            }
        }
        let tokens: Vec<_> = (0..USERS).map(|user| world.token(&user_name(user))).collect();
        let since = format!("{:.6}", Timestamp::now() - AWAY);
        // Every other one of a user's follows all apps.
        let paths = [stream_path(Some(0), &since), stream_path(None, &since)];
        let opening = (0..self.count).map(|number| {
            let (door, token) =
                (doors.get(number % doors.len().max(1)), tokens.get(number % USERS));
            let token = token.map_or("", String::as_str);
            let path = paths.get(number / USERS % paths.len()).map_or("", String::as_str);
            let opening = open(door, path, token, number);
            async move { timeout(OPENS, opening).await.ok()?.ok() }
        });
        let mut opening = stream::iter(opening).buffer_unordered(KNOCKING);
        while let Some(opened) = opening.next().await {
            self.open.extend(opened);
        }
        world.crowd.fetch_add(self.open.len() as u64, Ordering::Relaxed);
        if self.open.is_empty() { Err("nobody of the crowd got in".into()) } else { Ok(()) }
    }
}

async fn open(door: Option<&Target>, path: &str, token: &str, number: usize) -> Outcome<TcpStream> {
    let mut connection = door.ok_or("no node")?.connect().await?;
    let status = connection.begin_stream(path, token, &format!("crowd-{number}")).await?;
    if status != 200 {
        return Err(format!("status {status}").into());
    }
    Ok(connection.into_parts().0)
}

impl Fault for Crowd {
    fn name(&self) -> String {
        format!("{} streams reconnect at once", self.count)
    }

    fn claims(&self) -> Vec<Claim> {
        (0..self.nodes).map(Claim::ClientWay).collect()
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            self.come(world).await?;
            world.nodes.iter().for_each(|node| node.clients.set(Mode::Reset));
            self.open.clear();
            sleep(BREAK).await;
            world.nodes.iter().for_each(|node| node.clients.set(Mode::Pass));
            self.come(world).await
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            self.open.clear();
            Ok(())
        }
        .boxed()
    }
}
