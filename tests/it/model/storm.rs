//! A step in which several things happen at once: pushes through all nodes, a program that writes
//! SQL and holds its transaction open, lines that read on, memberships that change.

use std::collections::HashMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde_json::Value;
use sqlx::PgConnection;
use tokio::time::sleep;

use super::log::Change;
use super::play::{APPS, Play, TABLES, USERS};
use super::push::Plan;
use super::watch::Watch;
use crate::support::{Events, psql};

/// What happens at once, ready to run; gives what is to be told to the model afterwards.
type Deed = BoxFuture<'static, Vec<Done>>;

enum Done {
    Pushed(Box<Pushed>),
    /// A line's stream.
    Opened(usize, Box<Events>),
}

/// A push, the line behind it, and the answer.
struct Pushed {
    plan: Plan,
    line: usize,
    answer: Value,
}

impl Play {
    /// A storm, and what it leaves.
    pub async fn storm(&mut self) {
        self.sync().await;
        self.note("a storm");
        let mut deeds: Vec<Deed> = Vec::new();
        let moved = (self.dice.u8(..3) > 0).then(|| self.dice.usize(..USERS.len()));
        if let Some(user) = moved {
            self.change_members(user);
            let node = self.node();
            let invalidating = self.invalidating(user, &node);
            deeds.push(self.later(invalidating.map(|()| Vec::new()).boxed()));
        }
        if self.dice.bool() {
            self.write(&mut deeds).await;
        }
        let mut busy = Vec::new();
        for _ in 0..self.dice.usize(2..8) {
            let n = self.pusher();
            if !busy.contains(&n) {
                busy.push(n);
                deeds.push(self.burst(n));
            }
        }
        for _ in 0..self.dice.usize(..4) {
            let Some(n) = self.line(|_| true).filter(|n| !busy.contains(n)) else { continue };
            busy.push(n);
            deeds.push(self.opening(n));
        }
        self.dice.shuffle(&mut deeds);
        let done = join_all(deeds).await.into_iter().flatten().collect();
        self.calm(moved, done).await;
    }

    /// Tells the model what a storm has left.
    async fn calm(&mut self, moved: Option<usize>, done: Vec<Done>) {
        if let Some(user) = moved {
            self.invalidated(user);
        }
        let mut pushed = Vec::new();
        for done in done {
            match done {
                Done::Pushed(push) => {
                    self.asked(push.plan.user);
                    pushed.push(push);
                }
                Done::Opened(n, stream) => {
                    self.asked(self.lines[n].user);
                    self.lines[n].stream = Some(Watch::begin(*stream, self.step));
                }
            }
        }
        self.published().await;
        for push in &pushed {
            self.stored(&push.plan, &push.answer, false);
        }
        self.see_late().await;
        for push in &pushed {
            self.read_answer(&push.plan, push.line, &push.answer);
        }
        self.sync().await;
    }

    /// A device pushes several times, one after the other.
    fn burst(&mut self, n: usize) -> Deed {
        let mut plans = vec![self.plan(n, 5)];
        for _ in 0..self.dice.usize(..8) {
            let plan = self.plan(n, 3);
            plans.push(plan.blind());
        }
        let deed = async move {
            let mut done = Vec::new();
            for plan in plans {
                let answer = plan.send().await;
                done.push(Done::Pushed(Box::new(Pushed { plan, line: n, answer })));
            }
            done
        };
        deed.boxed()
    }

    /// A line opens its stream while others push.
    fn opening(&mut self, n: usize) -> Deed {
        let (client, node) = (self.client_of(n), self.node());
        self.note(&format!("{} streams at {node}", self.lines[n]));
        let (list, since) = (self.lines[n].list(), self.lines[n].since());
        let deed = async move {
            let stream = client.stream(&node, &list, &since).await;
            vec![Done::Opened(n, Box::new(stream))]
        };
        self.later(deed.boxed())
    }

    /// The same, some milliseconds later.
    fn later(&mut self, deed: Deed) -> Deed {
        let pause = Duration::from_millis(self.dice.u64(..40));
        sleep(pause).then(|()| deed).boxed()
    }

    /// A program inserts a row by SQL, and keeps its stamp for a while before it commits, so that
    /// later stamps become visible first; or it gives up.
    async fn write(&mut self, deeds: &mut Vec<Deed>) {
        let (user, table) = (self.dice.usize(..USERS.len()), self.dice.usize(..TABLES.len()));
        let commits = self.dice.u8(..3) > 0;
        let hold = f64::from(self.dice.u8(1..12)) / 100.0;
        let record = format!("r{}", self.log.changes.len());
        self.note(&format!("SQL {record} of {}, commits: {commits}, {hold} s", USERS[user]));
        let connection = self.world.sql().await;
        let end = if commits { "commit" } else { "rollback" };
        let (app, name) = (APPS[0], USERS[user]);
        let sql = format!(
            "begin; select set_config('app.current_user_id', '{name}', true); \
             insert into sync_changes (app_id, table_name, record_id, user_id, space_id, op, data) \
             values ('{app}', '{}', '{record}', '{name}', 'home', 'insert', '{{\"n\":\"{record}\"}}'); \
             set constraints all immediate; select pg_sleep({hold}); {end}",
            TABLES[table]
        );
        deeds.push(run(connection, sql).boxed());
        if commits {
            self.pushes += 1;
            self.log.push(Change {
                record,
                user,
                client: String::new(),
                app: 0,
                table,
                space: Some(0),
                at: self.step,
                published: None,
                late: false,
                event: None,
            });
        }
    }

    /// What entered its space at once, and what late, is not for the model to say where
    /// memberships moved beside it.
    async fn see_late(&mut self) {
        let entered = "select record_id, space_at > created_at from sync_changes \
             where record_id = any($1) and space_at is not null";
        let now = self.step;
        let new: Vec<usize> = (0..self.log.changes.len())
            .filter(|place| self.log.changes[*place].at == now)
            .collect();
        let names = new.iter().map(|place| self.log.changes[*place].record.clone());
        let query = sqlx::query_as(entered).bind(names.collect::<Vec<_>>());
        let entered: HashMap<String, bool> =
            query.fetch_all(self.admin()).await.unwrap().into_iter().collect();
        for place in new {
            let change = &mut self.log.changes[place];
            let late = entered.get(&change.record);
            change.published = late.map(|_| now);
            change.late = late == Some(&true);
        }
    }
}

async fn run(mut connection: PgConnection, sql: String) -> Vec<Done> {
    psql(&mut connection, &sql).await;
    Vec::new()
}
