//! Faults that anybody can make who may speak SQL: connections ended, locks held, slots taken.

use std::time::Duration;

use fastrand::Rng;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Claim, Fault};
use crate::Outcome;
use crate::chaos::database::{Door, MAX_CONNECTIONS};
use crate::chaos::world::World;

/// Between two times that connections are ended.
const EVERY: Duration = Duration::from_millis(150);

/// Connections that are ended again and again.
pub(super) struct Ended {
    listeners: bool,
    // Aborted when it is dropped.
    ending: JoinSet<()>,
}

impl Ended {
    pub(super) fn all() -> Self {
        Self { listeners: false, ending: JoinSet::new() }
    }

    pub(super) fn listeners() -> Self {
        Self { listeners: true, ending: JoinSet::new() }
    }
}

async fn end(door: Door, listeners: bool) {
    let only = if listeners { "and query ilike 'listen%'" } else { "" };
    let statement = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where application_name = 'mana-sync' {only}"
    );
    loop {
        // A server that is away has nobody to end.
        let _ = door.run(&[&statement]).await;
        sleep(EVERY.mul_f64(0.3 + 1.4 * fastrand::f64())).await;
    }
}

impl Fault for Ended {
    fn name(&self) -> String {
        let what = if self.listeners { "listeners" } else { "all connections" };
        format!("{what} ended by Postgres, again and again")
    }

    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            self.ending.spawn(end(world.door(), self.listeners));
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            self.ending.shutdown().await;
            Ok(())
        }
        .boxed()
    }
}

/// An open transaction that locks the log.
pub(super) struct Locked {
    mode: &'static str,
    holder: Option<PgConnection>,
}

impl Locked {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mode = if rng.bool() { "share row exclusive" } else { "access exclusive" };
        Self { mode, holder: None }
    }
}

impl Fault for Locked {
    fn name(&self) -> String {
        format!("the log locked in {} mode", self.mode)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Sessions]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let mut holder = world.door().open().await?;
            let statement = format!("lock table sync_changes in {} mode", self.mode);
            holder.execute("begin").await?;
            holder.execute(AssertSqlSafe(statement)).await?;
            self.holder = Some(holder);
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            if let Some(holder) = self.holder.take() {
                // Where the server is gone the lock is gone with it.
                holder.close().await.ok();
            }
            Ok(())
        }
        .boxed()
    }
}

/// All connections that are left are somebody else's, and the nodes lose what they had.
#[derive(Default)]
pub(super) struct Slots {
    taken: Vec<PgConnection>,
}

impl Fault for Slots {
    fn name(&self) -> String {
        "all connections of Postgres taken".to_owned()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Sessions]
    }

    fn begin<'a>(&'a mut self, world: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            let door = world.door();
            let mut admin = door.open().await?;
            for _ in 0..MAX_CONNECTIONS {
                match door.open_as_node().await {
                    Ok(taken) => self.taken.push(taken),
                    Err(_) => break,
                }
            }
            let end = "select pg_terminate_backend(pid) from pg_stat_activity \
                       where application_name = 'mana-sync' and random() < 0.5";
            admin.execute(end).await?;
            Ok(())
        }
        .boxed()
    }

    fn heal<'a>(&'a mut self, _: &'a World) -> BoxFuture<'a, Outcome> {
        async {
            // Dropped, they are closed.
            self.taken.clear();
            Ok(())
        }
        .boxed()
    }
}
