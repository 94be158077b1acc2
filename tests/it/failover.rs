//! The database becomes another one: a standby that was promoted, a backup, a snapshot, a dump.
//!
//! Whatever was lost with the old one, cursors stay good: what is pushed afterwards reaches everybody,
//! and nobody is stuck.

use std::path::PathBuf;

use mana_sync::config::pg_bindir;
use mana_sync::dev::postgres::{Durability, EmbeddedPostgres, Settings};
use mana_sync::store::{Fleet, Grade, Store};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::faults::proxy::Proxy;
use crate::faults::{impatient, push_until_acknowledged, repeatable};
use crate::store::sql::value;
use crate::streams::records;
use crate::support::world::{ROLE, TestNode};
use crate::support::{Client, World, eventually, insert, psql};

/// A database of its own, which nodes reach through a proxy.
struct Site {
    world: World,
    primary: EmbeddedPostgres,
    proxy: Proxy,
    nodes: [TestNode; 2],
}

/// A server on a data folder that is there, or a new one.
async fn server(data: Option<PathBuf>) -> EmbeddedPostgres {
    let extra = [("wal_level", "replica"), ("max_wal_senders", "4"), ("hot_standby", "on")];
    let extra = extra.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let settings = Settings { bindir: pg_bindir(), data, durability: Durability::Fast, extra };
    EmbeddedPostgres::start(settings).await.unwrap()
}

async fn admin(server: &EmbeddedPostgres) -> PgConnection {
    PgConnection::connect(&server.url("postgres", "sync")).await.unwrap()
}

/// Runs a program of Postgres' to its end.
async fn run(server: &EmbeddedPostgres, program: &str, flags: &[&str]) {
    let mut command = server.command(program);
    command.args(flags);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr));
}

impl Site {
    async fn new() -> Self {
        let primary = server(None).await;
        primary.create_role(ROLE).await.unwrap();
        primary.create_database("sync", ROLE, None).await.unwrap();
        Store::prepare(&primary.url(ROLE, "sync")).await.unwrap();
        let (world, proxy) = (World::new().await, Proxy::start(primary.port()).await);
        let mut settings = impatient(&world);
        let url = format!("postgres://{ROLE}@127.0.0.1:{}/sync", proxy.port);
        (settings.database.url, settings.listener.url) = (url.clone(), url);
        let nodes = [world.start(settings.clone()).await, world.start(settings).await];
        Self { world, primary, proxy, nodes }
    }

    /// A copy of the server's files, with all that is needed to start on them.
    async fn backup(&self, flags: &[&str]) -> PathBuf {
        let folder = self.primary.data().with_file_name("copy");
        let server = self.primary.url("postgres", "postgres");
        let into = folder.to_str().unwrap();
        let flags = [&["-d", &server, "-D", into, "-c", "fast"], flags].concat();
        run(&self.primary, "pg_basebackup", &flags).await;
        folder
    }

    fn client(&self, name: &str) -> Client {
        self.world.client("alice", name)
    }
}

/// What the devices know when the database goes.
struct Devices {
    laptop: Client,
    phone: Client,
    /// Where the phone is, which has read everything.
    phone_since: String,
    /// Where the tablet is, which has not read what is lost.
    tablet_since: String,
}

impl Devices {
    /// The laptop pushes what will be kept.
    async fn keep(site: &Site) -> Self {
        let (laptop, phone) = (site.client("laptop"), site.client("phone"));
        for n in 0..5 {
            laptop.push(&site.nodes[0].url, &[insert(&format!("kept-{n}"), &json!({}))]).await;
        }
        let (_, since) = phone.pull_all(&site.nodes[1].url, "tasks", "").await;
        Self { laptop, phone, tablet_since: since.clone(), phone_since: since }
    }

    /// The laptop pushes what the other database will not have, and the phone reads it.
    async fn lose(&mut self, site: &Site) {
        for n in 0..3 {
            let change = [insert(&format!("lost-{n}"), &json!({}))];
            self.laptop.push(&site.nodes[0].url, &change).await;
        }
        let (lost, since) =
            self.phone.pull_all(&site.nodes[1].url, "tasks", &self.phone_since).await;
        assert_eq!(records(&lost), ["lost-0", "lost-1", "lost-2"]);
        self.phone_since = since;
    }

    /// The fleet is led to another server, and everybody goes on.
    async fn go_on(&self, site: &Site, other: &EmbeddedPostgres) {
        let node = |n: usize| site.nodes[n % 2].url.as_str();
        let mut stream = self.phone.stream(node(1), "tasks", &self.phone_since).await;
        site.proxy.redirect(other.port());
        let mut pushed = Vec::new();
        for n in 0..6 {
            pushed.push(format!("after-{n}"));
            push_until_acknowledged(&self.laptop, node(n), &[repeatable(&pushed[n])]).await;
        }
        let streamed = stream.changes(pushed.len()).await;
        assert_eq!(records(&streamed), pushed, "the stream of who has read all");
        for (since, who) in [(&self.phone_since, "phone"), (&self.tablet_since, "tablet")] {
            for n in 0..2 {
                let (pulled, until) = site.client(who).pull_all(node(n), "tasks", since).await;
                assert_eq!(records(&pulled), pushed, "{who}, through node {n}");
                assert!(until > *since);
            }
        }
        let mut whole = records(&site.client("new").pull_all(node(0), "tasks", "").await.0);
        whole.sort();
        let mut wanted: Vec<String> = (0..5).map(|n| format!("kept-{n}")).collect();
        wanted.splice(0..0, pushed);
        assert_eq!(whole, wanted, "a new device gets what there is");
        // What was lost comes back when a device that holds it edits it again.
        push_until_acknowledged(&self.laptop, node(0), &[repeatable("lost-0")]).await;
        assert_eq!(stream.changes(1).await[0]["id"], "lost-0");
    }
}

/// What `doctor` says of the times at which the database became another one.
async fn jumps(server: &EmbeddedPostgres) -> Vec<String> {
    let url = server.url(ROLE, "sync");
    let found = Store::examine(Fleet { url: &url, listen_url: &url, nodes: 1, pool: 8 }).await;
    let found = found.into_iter().filter(|finding| finding.grade == Grade::Note);
    found.map(|finding| finding.says).filter(|says| says.contains("became another")).collect()
}

/// A standby, which has all there is.
async fn standby(site: &Site) -> EmbeddedPostgres {
    let standby = server(Some(site.backup(&["-R"]).await)).await;
    caught_up(site, &standby).await;
    standby
}

async fn caught_up(site: &Site, standby: &EmbeddedPostgres) {
    let mut there = admin(standby).await;
    let here: String =
        value(&mut admin(&site.primary).await, "select pg_current_wal_lsn()::text").await;
    let query = format!("select pg_last_wal_replay_lsn() >= '{here}'");
    eventually("the standby to catch up", async || {
        value::<bool>(&mut there, &query).await.then_some(())
    })
    .await;
}

async fn promote(site: &mut Site, standby: &EmbeddedPostgres) {
    site.primary.kill_hard();
    psql(&mut admin(standby).await, "select pg_promote()").await;
}

#[tokio::test]
async fn a_standby_that_had_everything_loses_nothing() {
    let mut site = Site::new().await;
    let standby = standby(&site).await;
    let mut devices = Devices::keep(&site).await;
    let since = devices.phone_since.clone();
    devices.laptop.push(&site.nodes[0].url, &[insert("last", &json!({}))]).await;
    caught_up(&site, &standby).await;
    promote(&mut site, &standby).await;
    site.proxy.redirect(standby.port());
    let (node, phone) = (&site.nodes[1].url, &devices.phone);
    let path = format!("/sync/todo/pull?collection=tasks&since={since}");
    let pulled: Value = eventually("an answer of the standby", async || {
        let answer = phone.get(node, &path).await;
        (answer.status() == 200).then_some(answer)
    })
    .await
    .json()
    .await
    .unwrap();
    assert_eq!(records(pulled["serverChanges"].as_array().unwrap()), ["last"]);
    let said = eventually("the jump", async || {
        let said = jumps(&standby).await;
        (!said.is_empty()).then_some(said)
    })
    .await;
    assert!(said.len() == 1 && said[0].contains("no node had heard more"), "{said:?}");
    devices.phone_since.clear();
}

/// An asynchronous standby that lacks what was pushed last is promoted.
async fn lag_behind(wall: &str) {
    let mut site = Site::new().await;
    let ahead = format!("select setval('sync_clock', last_value + {wall}) from sync_clock");
    psql(&mut admin(&site.primary).await, &ahead).await;
    let mut devices = Devices::keep(&site).await;
    let standby = standby(&site).await;
    let mut there = admin(&standby).await;
    psql(&mut there, "alter system set primary_conninfo = ''").await;
    psql(&mut there, "select pg_reload_conf()").await;
    eventually("the standby to lose sight of the primary", async || {
        let receivers = "select count(*) from pg_stat_wal_receiver";
        (value::<i64>(&mut there, receivers).await == 0).then_some(())
    })
    .await;
    devices.lose(&site).await;
    promote(&mut site, &standby).await;
    devices.go_on(&site, &standby).await;
    let said = jumps(&standby).await;
    assert!(said.len() == 1 && said[0].contains("is not here"), "{said:?}");
}

#[tokio::test]
async fn what_a_standby_had_not_received_is_lost_and_said_and_everybody_goes_on() {
    lag_behind("0").await;
}

/// A standby whose wall clock is an hour behind that of the primary: the log's clock is what the
/// primary gave, an hour ahead of the wall.
#[tokio::test]
async fn a_standby_s_wall_clock_may_be_an_hour_behind() {
    lag_behind("3600000000").await;
}

#[tokio::test]
async fn a_restore_to_an_earlier_time_leaves_cursors_good() {
    let mut site = Site::new().await;
    let mut devices = Devices::keep(&site).await;
    let folder = site.backup(&["-X", "stream"]).await;
    devices.lose(&site).await;
    site.primary.kill_hard();
    std::fs::write(folder.join("recovery.signal"), "").unwrap();
    let conf = "restore_command = 'false'\nrecovery_target = 'immediate'\n\
                recovery_target_action = 'promote'\n";
    std::fs::write(folder.join("postgresql.auto.conf"), conf).unwrap();
    let restored = server(Some(folder)).await;
    devices.go_on(&site, &restored).await;
    let said = jumps(&restored).await;
    assert!(said.len() == 1 && said[0].contains("is not here"), "{said:?}");
}

/// Neither its identity nor its timeline tells that it is older: the nodes know.
#[tokio::test]
async fn a_snapshot_of_the_disk_is_found_out_by_what_nodes_have_heard() {
    let mut site = Site::new().await;
    let mut devices = Devices::keep(&site).await;
    let folder = site.backup(&["-X", "stream"]).await;
    devices.lose(&site).await;
    site.primary.kill_hard();
    let restored = server(Some(folder)).await;
    devices.go_on(&site, &restored).await;
    let said = jumps(&restored).await;
    assert!(said.len() == 1 && said[0].contains("is not here"), "{said:?}");
}

#[tokio::test]
async fn a_dump_that_is_loaded_elsewhere_leaves_cursors_good() {
    let mut site = Site::new().await;
    let mut devices = Devices::keep(&site).await;
    let dump = site.primary.data().with_file_name("dump");
    let (dump, from) = (dump.to_str().unwrap(), site.primary.url("postgres", "sync"));
    run(&site.primary, "pg_dump", &["-Fc", "-d", &from, "-f", dump]).await;
    devices.lose(&site).await;
    let other = server(None).await;
    other.create_role(ROLE).await.unwrap();
    other.create_database("sync", ROLE, None).await.unwrap();
    let into = other.url("postgres", "sync");
    run(&site.primary, "pg_restore", &["-d", &into, "--exit-on-error", dump]).await;
    site.primary.kill_hard();
    devices.go_on(&site, &other).await;
    let said = jumps(&other).await;
    assert!(said.len() == 1 && said[0].contains("is not here"), "{said:?}");
}
