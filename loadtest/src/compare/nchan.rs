//! nginx with nchan, from Debian: the streams we are compared with. One process that does
//! everything, with one channel; it ends with this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, sleep_until};
use url::Url;
use uuid::Uuid;

use crate::Outcome;
use crate::client::{Connection, Target, mark};
use crate::fleet::free_port;
use crate::stats::float;

const NGINX: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// The path of the stream.
pub(super) const STREAM: &str = "/sub";
/// nginx is ready within this.
const READY: Duration = Duration::from_secs(10);

/// A running nginx.
pub(super) struct Nchan {
    pub(super) url: Url,
    pub(super) pid: u32,
    target: Target,
    // Killed when it is dropped; its folder goes after it.
    _child: Child,
    _folder: Folder,
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // At the worst it stays among the temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Why it can't be run here, where that is so.
pub(super) fn missing() -> Option<String> {
    let missing = [NGINX, MODULE].into_iter().find(|path| !Path::new(path).exists())?;
    Some(format!("nginx with nchan: {missing} is missing (--install-peers gets it)"))
}

/// Gets it from Debian.
pub(super) async fn install() -> Outcome {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]);
    command.args(["nginx-light", "libnginx-mod-nchan"]);
    // The package would start a server of its own.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command.stdout(Stdio::null()).kill_on_drop(true);
    if command.status().await?.success() { Ok(()) } else { Err("apt-get failed".into()) }
}

fn config(port: u16, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "load_module {MODULE};
        daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors error;
        worker_rlimit_nofile 20000;
        events {{ worker_connections 19000; }}
        http {{
            access_log off; keepalive_requests 1000000000; tcp_nodelay on;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            server {{
                listen 127.0.0.1:{port} backlog=4096;
                location = /pub {{
                    nchan_publisher; nchan_channel_id one; nchan_message_buffer_length 100;
                }}
                location = {STREAM} {{
                    nchan_subscriber eventsource; nchan_channel_id one;
                    nchan_subscriber_first_message newest;
                }}
            }}
        }}"
    )
}

impl Nchan {
    /// Starts it on a free port.
    pub(super) async fn start() -> Outcome<Self> {
        let port = free_port()?;
        let path = std::env::temp_dir().join(format!("loadtest-nginx-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        let folder = Folder(path);
        let file = folder.0.join("nginx.conf");
        fs::write(&file, config(port, &folder.0))?;
        // It dies with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", NGINX, "-p"]).arg(&folder.0).arg("-c").arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn()?;
        let pid = child.id().ok_or("nginx ended at once")?;
        let url: Url = format!("http://127.0.0.1:{port}").parse()?;
        let target = Target::resolve(&url).await?;
        let deadline = Instant::now() + READY;
        while target.connect().await.is_err() {
            if Instant::now() > deadline {
                return Err("nginx was not ready in time".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { url, pid, target, _child: child, _folder: folder })
    }

    /// Publishes at a rate, from so many connections; gives how many.
    pub(super) async fn publish(&self, writers: usize, rate: f64, time: Duration) -> Outcome<u64> {
        let begun = Instant::now();
        let every = Duration::from_secs_f64(float(writers as u64) / rate);
        let mut runs = Vec::new();
        for writer in 0..writers {
            let first = begun + every.mul_f64(float(writer as u64) / float(writers as u64));
            runs.push(publish(self.target.connect().await?, first, every, begun + time));
        }
        let mut published = 0;
        for count in join_all(runs).await {
            published += count?;
        }
        Ok(published)
    }
}

async fn publish(
    mut connection: Connection,
    first: Instant,
    every: Duration,
    end: Instant,
) -> Outcome<u64> {
    let (mut due, mut published) = (first, 0);
    while due < end {
        sleep_until(due).await;
        let answer = connection.post_plain("/pub", event(published).as_bytes()).await?;
        if !matches!(answer.status, 200..=202) {
            return Err(format!("nchan answered {}", answer.status).into());
        }
        published += 1;
        due += every;
    }
    Ok(published)
}

/// The data of an event as a node sends it.
fn event(number: u64) -> String {
    format!(
        "{{\"table\":\"tasks\",\"changes\":[{{\"eventId\":\"{}\",\"schemaVersion\":1,\
         \"table\":\"tasks\",\"id\":\"client-0-{number}-0\",\"op\":\"insert\",\
         \"data\":{{\"title\":\"Buy milk and bread\",\"done\":false,\"order\":0,\
         \"at\":\"{}\"}},\"spaceId\":\"everybody\"}}],\
         \"syncedUntil\":\"2026-11-22T09:36:12.123456Z\",\"hasMore\":false}}",
        Uuid::now_v7(),
        mark()
    )
}
