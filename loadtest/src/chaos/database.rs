//! The Postgres under a chaos run: it dies as a whole, comes back on what it had written, and can
//! have a synchronous standby that takes over.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mana_sync::config::pg_bindir;
use mana_sync::dev::postgres::{Durability, EmbeddedPostgres, Settings};
use mana_sync::store::Store;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use crate::Outcome;
use crate::fleet::ROLE;
use crate::procfs;
use crate::signals::{self, Signal};

/// The database of the nodes.
const NAME: &str = "chaos";
/// Connections beyond those that the nodes need.
pub(super) const MAX_CONNECTIONS: u32 = 140;
/// A statement of a fault takes no longer than this.
const STATEMENT: Duration = Duration::from_secs(10);
/// A standby follows, or takes over, within this.
const FOLLOWS: Duration = Duration::from_secs(30);

/// The server that the nodes write to, and maybe one that follows it.
pub(super) struct Database {
    server: EmbeddedPostgres,
    standby: Option<EmbeddedPostgres>,
    /// Where standbys have their data, and how many were made.
    folder: Folder,
    made: u32,
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // At the worst it stays among the temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a superuser reaches the server, without holding it.
#[derive(Debug, Clone)]
pub(super) struct Door {
    admin: String,
    node: String,
}

impl Door {
    fn of(server: &EmbeddedPostgres) -> Self {
        Self { admin: server.url("postgres", NAME), node: server.url(ROLE, NAME) }
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        self.admin.clone()
    }

    /// A connection that waits for nothing very long.
    pub(super) async fn open(&self) -> Outcome<PgConnection> {
        let mut connection = timeout(STATEMENT, PgConnection::connect(&self.admin)).await??;
        let limit = format!("set statement_timeout = {}", STATEMENT.as_millis());
        connection.execute(AssertSqlSafe(limit)).await?;
        Ok(connection)
    }

    /// A connection as the nodes' role, to which the superuser's reserve is not open.
    pub(super) async fn open_as_node(&self) -> Outcome<PgConnection> {
        Ok(timeout(STATEMENT, PgConnection::connect(&self.node)).await??)
    }

    /// Runs statements that need no answer, in a connection of their own.
    pub(super) async fn run(&self, statements: &[&str]) -> Outcome {
        let mut connection = self.open().await?;
        for statement in statements {
            let ran = connection.execute(AssertSqlSafe((*statement).to_owned()));
            timeout(STATEMENT, ran).await??;
        }
        Ok(())
    }
}

fn settings(data: Option<PathBuf>) -> Settings {
    let connections = MAX_CONNECTIONS.to_string();
    let extra = [
        ("max_connections", connections.as_str()),
        ("shared_buffers", "128MB"),
        ("max_wal_size", "256MB"),
        ("wal_keep_size", "64MB"),
        ("wal_level", "replica"),
        ("wal_receiver_status_interval", "1s"),
        ("wal_retrieve_retry_interval", "200ms"),
    ];
    Settings {
        bindir: pg_bindir(),
        data,
        durability: Durability::Durable,
        extra: extra.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

impl Database {
    /// Starts a server with our schema, on this disk where there is one.
    pub(super) async fn start(disk: Option<&Disk>) -> Outcome<Self> {
        let data = disk.map(|disk| disk.folder.join("data"));
        let server = EmbeddedPostgres::start(settings(data)).await?;
        server.create_role(ROLE).await?;
        server.create_database(NAME, ROLE, None).await?;
        Store::prepare(&server.url(ROLE, NAME)).await?;
        let name = format!("loadtest-standby-{}", std::process::id());
        let folder = disk.map_or_else(std::env::temp_dir, |disk| disk.folder.clone());
        let folder = Folder(folder.join(name));
        Ok(Self { server, standby: None, folder, made: 0 })
    }

    /// The server's port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.server.port()
    }

    /// The URL for a node that reaches the server by this port.
    pub(super) fn url(&self, port: u16) -> Outcome<String> {
        let mut url = url::Url::parse(&self.server.url(ROLE, NAME))?;
        url.set_port(Some(port)).map_err(|()| "a URL without a port")?;
        Ok(url.into())
    }

    /// How a superuser reaches it.
    pub(super) fn door(&self) -> Door {
        Door::of(&self.server)
    }

    /// Kills the server and all its processes at once.
    pub(super) fn kill(&mut self) {
        let pid = self.server.pid();
        let family = procfs::children(pid);
        // What has ended by itself needs no signal.
        let _ = signals::send(pid, Signal::KILL);
        for child in family {
            let _ = signals::send(child, Signal::KILL);
        }
        self.server.kill_hard();
    }

    /// Starts it again on what it had written.
    pub(super) async fn restart(&mut self) -> Outcome {
        Ok(self.server.restart().await?)
    }

    /// Starts it again if it is not there, and so its standby.
    pub(super) async fn revive(&mut self) -> Outcome {
        if self.door().open().await.is_err() {
            self.kill();
            self.restart().await?;
        }
        let Some(standby) = &mut self.standby else { return Ok(()) };
        let door = Door::of(standby);
        if door.open().await.is_err() {
            standby.restart().await?;
        }
        Ok(())
    }

    /// The processes that serve connections of nodes.
    pub(super) async fn backends(door: &Door) -> Outcome<Vec<u32>> {
        let query = "select pid from pg_stat_activity where application_name = 'mana-sync'";
        let pids: Vec<i32> = sqlx::query_scalar(query).fetch_all(&mut door.open().await?).await?;
        Ok(pids.into_iter().filter_map(|pid| u32::try_from(pid).ok()).collect())
    }

    /// Gives it a standby, if it has none. From then on each commit waits for both servers, unless
    /// the standby may lag behind.
    pub(super) async fn follow(&mut self, may_lag: bool) -> Outcome {
        if self.standby.is_some() {
            return Ok(());
        }
        let owner = fs::metadata(self.server.data())?;
        fs::create_dir_all(&self.folder.0)?;
        chown(&self.folder.0, Some(owner.uid()), Some(owner.gid()))?;
        self.made += 1;
        let data = self.folder.0.join(format!("data-{}", self.made));
        let mut copy = tokio::process::Command::from(self.server.command("pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-X", "stream", "-c", "fast"]);
        copy.args(["-p", &self.server.port().to_string(), "-D"]).arg(&data);
        let copied = copy.kill_on_drop(true).output().await?;
        if !copied.status.success() {
            let said = String::from_utf8_lossy(&copied.stderr);
            return Err(format!("pg_basebackup: {}", said.trim()).into());
        }
        self.standby = Some(EmbeddedPostgres::start(settings(Some(data))).await?);
        let door = self.door();
        let streams = "select count(*) > 0 from pg_stat_replication where state = 'streaming'";
        wait("a standby that follows", &door, streams).await?;
        if may_lag {
            return Ok(());
        }
        door.run(&["alter system set synchronous_standby_names = '*'", "select pg_reload_conf()"])
            .await?;
        let synced = "select bool_or(sync_state = 'sync') is true from pg_stat_replication";
        wait("a synchronous standby", &door, synced).await
    }

    /// From now on the standby hears nothing more.
    pub(super) async fn let_lag(&self) -> Outcome {
        let query = "select pid from pg_stat_replication";
        let pids: Vec<i32> =
            sqlx::query_scalar(query).fetch_all(&mut self.door().open().await?).await?;
        for pid in pids.into_iter().filter_map(|pid| u32::try_from(pid).ok()) {
            signals::send(pid, Signal::STOP)?;
        }
        Ok(())
    }

    /// Kills the server and lets the standby take over.
    pub(super) async fn fail_over(&mut self) -> Outcome {
        let standby = self.standby.take().ok_or("there is no standby")?;
        self.kill();
        let old = std::mem::replace(&mut self.server, standby);
        let data = old.data().to_owned();
        drop(old);
        if data.starts_with(&self.folder.0) {
            // Its successor has all of it.
            let _ = fs::remove_dir_all(data);
        }
        let door = self.door();
        // Nobody follows it yet, so commits wait for nobody. The promotion is waited for below.
        door.run(&[
            "select pg_promote(false)",
            "alter system reset synchronous_standby_names",
            "select pg_reload_conf()",
        ])
        .await?;
        wait("the promotion", &door, "select not pg_is_in_recovery()").await
    }
}

async fn wait(what: &str, door: &Door, question: &'static str) -> Outcome {
    let deadline = Instant::now() + FOLLOWS;
    while Instant::now() < deadline {
        if let Ok(mut connection) = door.open().await
            && let Ok(true) = sqlx::query_scalar(question).fetch_one(&mut connection).await
        {
            return Ok(());
        }
        // Postgres offers nothing else to wait for.
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("{what} did not come within {FOLLOWS:?}").into())
}

/// A file system of its own for the data, so that it can be full: memory, mounted where that is
/// allowed.
pub(super) struct Disk {
    folder: PathBuf,
}

/// Its size in megabytes, and more for each minute of a run: the log of two servers has room in it.
const SIZE: u64 = 900;
const MORE: u64 = 50;

impl Disk {
    /// Mounts it, for a run of so long; says why not where it can't.
    pub(super) async fn mount(time: Duration) -> Outcome<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may mount a file system".into());
        }
        let folder = std::env::temp_dir().join(format!("loadtest-disk-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut mount = tokio::process::Command::new("mount");
        let size = format!("size={}m,mode=0755", SIZE + MORE * time.as_secs().div_ceil(60));
        mount.args(["-t", "tmpfs", "-o", &size, "loadtest"]).arg(&folder);
        let mounted = mount.kill_on_drop(true).output().await?;
        if mounted.status.success() {
            return Ok(Self { folder });
        }
        let _ = fs::remove_dir(&folder);
        let said = String::from_utf8_lossy(&mounted.stderr);
        Err(format!("nothing can be mounted here: {}", said.trim()).into())
    }

    /// Takes all the room that is left.
    pub(super) async fn fill(&self) -> Outcome {
        let file = self.ballast();
        let filled = tokio::task::spawn_blocking(move || write_until_full(&file)).await?;
        match filled {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => Err("the disk can't be filled".into()),
        }
    }

    /// Gives the room back.
    pub(super) fn free(&self) {
        // Where it was never filled there is nothing to give back.
        let _ = fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

fn write_until_full(file: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::File::create(file)?;
    let piece = vec![0; 1 << 20];
    for _ in 0..1 << 20 {
        file.write_all(&piece)?;
    }
    Ok(())
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.free();
        let unmounted = std::process::Command::new("umount").arg("-l").arg(&self.folder).status();
        if unmounted.is_ok_and(|status| status.success()) {
            // The place of the mount is empty; at the worst it stays.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}
