//! nginx, from Debian: one process that does everything, in a temporary folder, without any
//! privilege. It ends with this process, however that ends.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::Outcome;
use crate::client::Target;
use crate::fleet::free_port;

/// The program.
pub(crate) const NGINX: &str = "/usr/sbin/nginx";
/// nginx is ready within this.
const READY: Duration = Duration::from_secs(10);
/// User and group `nobody`.
const NOBODY: u32 = 65_534;

/// A running nginx.
pub(crate) struct Nginx {
    pub(crate) url: Url,
    pub(crate) target: Target,
    pub(crate) pid: u32,
    // Killed when it is dropped; its folder goes after it.
    _child: Child,
    _folder: Folder,
}

/// The project's own configuration, on this port before three nodes.
pub(crate) fn shipped(port: u16, nodes: &[u16]) -> String {
    let text = include_str!("../../deploy/nginx/mana-sync.conf")
        .replace("listen 80 ", &format!("listen 127.0.0.1:{port} "))
        .replace("access_log /dev/stdout ", "access_log /dev/null ");
    nodes.iter().zip(1..).fold(text, |text, (node, number)| {
        text.replace(&format!("node-{number}:3050"), &format!("127.0.0.1:{node}"))
    })
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // At the worst it stays among the temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Nginx {
    /// Starts it on a free port. `modules` stands at the beginning of its configuration, what
    /// `http` makes of the port in the block of that name.
    pub(crate) async fn start(modules: &str, http: impl FnOnce(u16) -> String) -> Outcome<Self> {
        let port = free_port()?;
        let name = format!("loadtest-nginx-{}-{port}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0)?;
        let file = folder.0.join("nginx.conf");
        fs::write(&file, config(modules, &http(port), &folder.0))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if rustix::process::geteuid().is_root() {
            chown(&folder.0, Some(NOBODY), Some(NOBODY))?;
            command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}"));
            command.arg("--clear-groups");
        }
        command.args([NGINX, "-p"]).arg(&folder.0).arg("-c").arg(&file);
        command.arg("-e").arg(folder.0.join("errors"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C is for this process, which ends it.
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().ok_or("nginx ended at once")?;
        let url: Url = format!("http://127.0.0.1:{port}").parse()?;
        let target = Target::resolve(&url).await?;
        let deadline = Instant::now() + READY;
        while target.connect().await.is_err() {
            if Instant::now() > deadline {
                let said = fs::read_to_string(folder.0.join("errors")).unwrap_or_default();
                return Err(format!("nginx was not ready in time: {said}").into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { url, target, pid, _child: child, _folder: folder })
    }
}

fn config(modules: &str, http: &str, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "{modules}
        daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors error;
        worker_rlimit_nofile 20000;
        events {{ worker_connections 19000; }}
        http {{
            access_log off; keepalive_requests 1000000000; tcp_nodelay on;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            {http}
        }}"
    )
}
