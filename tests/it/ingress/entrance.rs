//! nginx or `HAProxy` before nodes: addresses, ports and paths are the test's, all else is shipped.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use tempfile::TempDir;

use crate::processes::{Process, lasting_port};
use crate::support::eventually;

/// User and group `nobody`.
const NOBODY: u32 = 65_534;

/// What stands before the nodes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// `HAProxy`.
    HaProxy,
}

/// A running proxy; it ends with the test.
pub struct Entrance {
    process: Process,
    folder: TempDir,
    kind: Kind,
    /// `http://127.0.0.1:port`
    pub url: String,
}

impl Entrance {
    /// Starts one before the nodes at these ports, and waits until it serves.
    pub async fn start(kind: Kind, nodes: &[u16]) -> Self {
        let (port, folder) = (lasting_port(), tempfile::tempdir().unwrap());
        let path = folder.path().display().to_string();
        let command = match kind {
            Kind::Nginx => {
                set_up_nginx(folder.path(), port, nodes);
                format!("nginx -p {path} -c {path}/nginx.conf -e stderr -g 'daemon off;'")
            }
            Kind::HaProxy => {
                set_up_haproxy(folder.path(), port, nodes);
                format!("haproxy -db -f {path}/haproxy.cfg")
            }
        };
        // Without privileges, also where the tests have them; it dies with them in any case.
        let user = if fs::metadata(&path).unwrap().uid() == 0 {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            format!("--reuid={NOBODY} --regid={NOBODY} --clear-groups")
        } else {
            String::new()
        };
        let sbin = "env PATH=\"$PATH:/usr/sbin\"";
        let process = Process::shell(&format!("{sbin} setpriv --pdeathsig TERM {user} {command}"));
        let url = format!("http://127.0.0.1:{port}");
        let entrance = Self { process, folder, kind, url };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        eventually("a proxy that serves", async || {
            let answer = http.get(format!("{}/health", entrance.url)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        entrance
    }

    /// Its access log so far: a JSON object a line.
    pub fn log(&self) -> String {
        match self.kind {
            Kind::Nginx => fs::read_to_string(self.folder.path().join("access.log")).unwrap(),
            Kind::HaProxy => self.process.out(),
        }
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        // nginx' workers outlive a master that is killed.
        self.process.terminate();
    }
}

fn set_up_nginx(folder: &Path, port: u16, nodes: &[u16]) {
    let path = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {path}/{name};\n"))
        .concat();
    let places = [
        ("pid /run/nginx.pid;", format!("pid {path}/nginx.pid;")),
        ("include /etc/nginx/conf.d/*.conf;", format!("{temporary}include mana-sync.conf;")),
    ];
    fs::write(folder.join("nginx.conf"), shipped("nginx/nginx.conf", &places)).unwrap();
    let mut places = at_nodes(nodes);
    places.push(("listen 80 ", format!("listen 127.0.0.1:{port} ")));
    places.push(("access_log /dev/stdout ", format!("access_log {path}/access.log ")));
    fs::write(folder.join("mana-sync.conf"), shipped("nginx/mana-sync.conf", &places)).unwrap();
}

fn set_up_haproxy(folder: &Path, port: u16, nodes: &[u16]) {
    let mut places = at_nodes(nodes);
    places.push(("bind :80\n", format!("bind 127.0.0.1:{port}\n")));
    places.push(("bind 127.0.0.1:8405\n", format!("bind 127.0.0.1:{}\n", lasting_port())));
    fs::write(folder.join("haproxy.cfg"), shipped("haproxy/haproxy.cfg", &places)).unwrap();
}

fn at_nodes(ports: &[u16]) -> Vec<(&'static str, String)> {
    let names = ["node-1:3050", "node-2:3050", "node-3:3050"];
    names.into_iter().zip(ports.iter().map(|port| format!("127.0.0.1:{port}"))).collect()
}

/// A file of `deploy/`, with these places in it changed.
fn shipped(file: &str, places: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let mut text = fs::read_to_string(&path).unwrap();
    for (place, ours) in places {
        assert!(text.contains(place), "{} has no {place:?}", path.display());
        text = text.replace(place, ours);
    }
    text
}
