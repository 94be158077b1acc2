//! What may happen in a step.

use std::collections::BTreeSet;

use mana_sync::dev::issuer::Answer;
use serde_json::Value;

use super::line::Keeps;
use super::play::{Play, SPACES, USERS};
use super::push::NEVER;
use super::watch::Watch;
use crate::support::world::SERVICE_KEY;
use crate::support::{Client, Events, eventually};

impl Play {
    /// One step.
    pub async fn act(&mut self) {
        self.step += 1;
        match self.dice.u8(..100) {
            0..26 => {
                let line = self.pusher();
                self.push(line, 20).await;
            }
            26..30 => self.push_again().await,
            30..32 => self.push_badly().await,
            32..54 => self.read_on().await,
            54..60 => self.look_back().await,
            60..70 => self.open().await,
            70..76 => self.close(),
            76..84 => self.move_in_or_out().await,
            84..87 => self.fail_or_recover().await,
            87..89 => self.deafen().await,
            _ => self.storm().await,
        }
    }

    /// Some lines go on from where they stand.
    async fn read_on(&mut self) {
        for _ in 0..3 {
            let Some(n) = self.line(|_| true) else { return };
            let limit = self.dice.choice([None, Some(1), Some(3), Some(50)]).flatten();
            if self.lines[n].all && self.lines[n].keeps() == Keeps::One {
                self.poll(n).await;
            } else {
                self.pull(n, limit).await;
            }
        }
    }

    /// Somebody reads from a cursor of somebody else, or from the start to the end.
    async fn look_back(&mut self) {
        let Some(n) = self.line(|line| !line.all) else { return };
        let app = self.lines[n].app;
        let old = self.cursors.iter().filter(|(of, _)| *of == app);
        let old: Vec<String> = old.map(|(_, cursor)| cursor.clone()).collect();
        let since = self.dice.choice(old).filter(|_| self.dice.bool());
        self.note(&format!("{} looks back to {since:?}", self.lines[n]));
        let from_start = since.is_none();
        let mut since = since.unwrap_or_default();
        let mut aside = self.lines[n].aside(&since);
        let limit = self.dice.choice([None, Some(7)]).flatten();
        loop {
            let node = self.node();
            let answer = self.pull_page(n, &node, &since, limit).await;
            let more = aside.take_page(&mut self.log, &since, &answer, self.step);
            since = aside.since();
            if !more {
                break;
            }
        }
        if from_start {
            aside.assert_complete(&self.log);
        }
    }

    /// A line opens a stream.
    async fn open(&mut self) {
        if self.lines.iter().filter(|line| line.stream.is_some()).count() >= 6 {
            return self.sync().await;
        }
        let Some(n) = self.line(|_| true) else { return };
        let (client, node) = (self.client_of(n), self.node());
        self.note(&format!("{} streams at {node}", self.lines[n]));
        self.asked(self.lines[n].user);
        let (list, since) = (self.lines[n].list(), self.lines[n].since());
        let stream = if since.is_empty() || self.dice.bool() {
            client.stream(&node, &list, &since).await
        } else {
            self.resume(&client, &node, &list, &since).await
        };
        self.lines[n].stream = Some(Watch::begin(stream, self.step));
        // Its first page is read when its body is; until then nothing was looked up.
        self.sync_line(n).await;
    }

    /// As a browser does: with the `since` of its first attempt, and the id of the last event.
    async fn resume(&self, client: &Client, node: &str, list: &str, last: &str) -> Events {
        let path = format!("{node}/sync/{}/stream?collections={list}&since=", client.app);
        let request = self.http.get(path).bearer_auth(&client.token);
        let request = request.header("x-client-id", &client.client).header("last-event-id", last);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }

    fn close(&mut self) {
        self.look();
        let open = (0..self.lines.len()).filter(|n| self.lines[*n].stream.is_some());
        let Some(n) = self.dice.choice(open.collect::<Vec<_>>()) else { return };
        self.note(&format!("{} closes its stream", self.lines[n]));
        self.lines[n].stream = None;
    }

    /// Takes what has come on the streams.
    pub fn look(&mut self) {
        for line in &mut self.lines {
            let Some(watch) = &mut line.stream else { continue };
            let (events, since) = (watch.look(), watch.synced);
            for event in events {
                match event.name.as_str() {
                    "changes" => line.take_event(&mut self.log, &event.data, (since, self.step)),
                    "spaces" => line.told(&event.data["spaces"]),
                    "heartbeat" => {}
                    other => panic!("an event {other}"),
                }
            }
        }
    }

    /// Waits until each stream has brought what was sent before; then nothing may be missing.
    pub async fn sync(&mut self) {
        self.step += 1;
        for n in 0..self.lines.len() {
            if self.lines[n].stream.is_some() {
                self.sync_line(n).await;
            }
        }
        self.step += 1;
    }

    async fn sync_line(&mut self, n: usize) {
        let node = self.node();
        let plan = self.marker(n, node);
        self.asked(plan.user);
        let answer = plan.send().await;
        self.published().await;
        self.stored(&plan, &answer, true);
        let line = format!("the marker of {}", self.lines[n]);
        eventually(&line, async || {
            self.look();
            self.lines[n].was_offered(plan.places[0]).then_some(())
        })
        .await;
        let line = &mut self.lines[n];
        line.assert_complete(&self.log);
        let told = line.stream.as_ref().and_then(|watch| watch.spaces.clone());
        if let Some(spaces) = self.log.spaces(line.user) {
            let spaces: BTreeSet<String> = spaces.iter().map(|s| SPACES[*s].to_owned()).collect();
            assert_eq!(told.map(BTreeSet::from_iter), Some(spaces), "{line} was told of spaces");
        }
        if let Some(watch) = &mut line.stream {
            watch.synced = self.step;
        }
    }

    /// Somebody joins or leaves a space; mostly the fleet is told.
    async fn move_in_or_out(&mut self) {
        self.sync().await;
        let user = self.dice.usize(..USERS.len());
        self.change_members(user);
        if self.dice.u8(..4) > 0 {
            let node = self.node();
            let invalidate = self.invalidating(user, &node);
            invalidate.await;
            self.invalidated(user);
            self.published().await;
        }
    }

    /// At the auth service, that is.
    pub fn change_members(&mut self, user: usize) {
        let space = self.dice.usize(..SPACES.len());
        if self.dice.u8(..4) == 0 {
            self.note(&format!("{} stays a member of {:?}", USERS[user], self.members[user]));
        } else if self.members[user].remove(&space) {
            self.note(&format!("{} leaves {}", USERS[user], SPACES[space]));
            self.world.issuer.leave(USERS[user], SPACES[space]);
        } else {
            self.note(&format!("{} joins {}", USERS[user], SPACES[space]));
            self.members[user].insert(space);
            self.world.issuer.join(USERS[user], SPACES[space]);
        }
    }

    /// Tells the fleet to ask again.
    pub fn invalidating(&mut self, user: usize, node: &str) -> impl Future<Output = ()> + use<> {
        self.note(&format!("invalidate {} at {node}", USERS[user]));
        let url = format!("{node}/internal/memberships/{}/invalidate", USERS[user]);
        let request = self.http.post(url).header("x-service-key", SERVICE_KEY);
        async move {
            let response = request.send().await.unwrap();
            assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        }
    }

    /// What that means.
    pub fn invalidated(&mut self, user: usize) {
        self.log.forget(user, self.step);
        self.asked(user);
    }

    /// The auth service fails for a while.
    async fn fail_or_recover(&mut self) {
        self.sync().await;
        self.down = !self.down;
        self.note(if self.down { "the auth service fails" } else { "the auth service is back" });
        let answer = if self.down { Answer::Status(503) } else { Answer::Normal };
        self.world.issuer.answer_memberships(answer);
        for user in 0..USERS.len() {
            // Whoever is not verified is looked up by the next request.
            let n = self.lines.iter().position(|line| line.user == user).unwrap();
            let node = self.node();
            let answer = self.pull_page(n, &node, NEVER, None).await;
            assert_eq!(answer["serverChanges"], Value::Array(Vec::new()));
        }
    }

    /// The nodes' listeners lose their connections.
    async fn deafen(&mut self) {
        self.note("the listeners lose their connections");
        let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where datname = current_database() and query ilike 'listen%'";
        let _: i64 = sqlx::query_scalar(ended).fetch_one(self.admin()).await.unwrap();
    }

    /// Everybody reads to the end, and has everything.
    pub async fn finish(&mut self) {
        if self.down {
            self.step += 1;
            self.fail_or_recover().await;
        }
        self.sync().await;
        self.note("everybody reads to the end");
        for n in 0..self.lines.len() {
            self.step += 1;
            self.lines[n].stream = None;
            let polls = self.lines[n].all && self.lines[n].keeps() == Keeps::One;
            while if polls { self.poll(n).await } else { self.pull(n, None).await } {}
            self.lines[n].assert_complete(&self.log);
        }
    }
}
