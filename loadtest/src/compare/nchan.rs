//! nginx with nchan, from Debian: the streams we are compared with. One process that does
//! everything, with one channel; it ends with this one.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use tokio::process::Command;
use tokio::time::{Instant, sleep_until};
use url::Url;
use uuid::Uuid;

use crate::Outcome;
use crate::client::{Connection, mark};
use crate::nginx::{NGINX, Nginx};
use crate::stats::float;

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// The path of the stream.
pub(super) const STREAM: &str = "/sub";

/// A running nginx.
pub(super) struct Nchan(Nginx);

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

fn server(port: u16) -> String {
    format!(
        "server {{
            listen 127.0.0.1:{port} backlog=4096;
            location = /pub {{
                nchan_publisher; nchan_channel_id one; nchan_message_buffer_length 100;
            }}
            location = {STREAM} {{
                nchan_subscriber eventsource; nchan_channel_id one;
                nchan_subscriber_first_message newest;
            }}
        }}"
    )
}

impl Nchan {
    /// Starts it on a free port.
    pub(super) async fn start() -> Outcome<Self> {
        Ok(Self(Nginx::start(&format!("load_module {MODULE};"), server).await?))
    }

    /// Where it is.
    pub(super) fn url(&self) -> &Url {
        &self.0.url
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Publishes at a rate, from so many connections; gives how many.
    pub(super) async fn publish(&self, writers: usize, rate: f64, time: Duration) -> Outcome<u64> {
        let begun = Instant::now();
        let every = Duration::from_secs_f64(float(writers as u64) / rate);
        let mut runs = Vec::new();
        for writer in 0..writers {
            let first = begun + every.mul_f64(float(writer as u64) / float(writers as u64));
            runs.push(publish(self.0.target.connect().await?, first, every, begun + time));
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
