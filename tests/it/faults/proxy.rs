//! A TCP proxy before Postgres, that passes, cuts, or swallows: all, or the answers alone.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a proxy does with what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes it on.
    Pass,
    /// Breaks connections, and makes none.
    Cut,
    /// Passes on what goes over the connections that are open, and makes none.
    Full,
    /// Keeps connections, and passes nothing on, until it passes again.
    Blackhole,
    /// Passes on what is asked, and never the answers to it; whoever asked is cut off afterwards.
    Mute,
}

/// The proxy.
pub struct Proxy {
    /// Its port on 127.0.0.1.
    pub port: u16,
    mode: watch::Sender<Mode>,
    /// Where new connections lead.
    to: watch::Sender<u16>,
    /// Connections made in an earlier era are dead for ever.
    era: watch::Sender<u32>,
}

impl Proxy {
    /// A proxy to a port of 127.0.0.1.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let (to, leads_to) = watch::channel(to);
        let (era, eras) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if matches!(*modes.borrow(), Mode::Cut | Mode::Full) {
                    continue;
                }
                tokio::spawn(carry(client, leads_to.clone(), modes.clone(), eras.clone()));
            }
        });
        Self { port, mode, to, era }
    }

    /// From now on it does this.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Breaks all connections; new ones lead to this port.
    pub fn redirect(&self, to: u16) {
        self.to.send_replace(to);
    }

    /// Swallows all that goes over the connections that are open, for ever; new ones work.
    pub fn deafen(&self) {
        self.era.send_modify(|era| *era += 1);
    }
}

async fn carry(
    client: TcpStream,
    mut to: watch::Receiver<u16>,
    mut modes: watch::Receiver<Mode>,
    mut eras: watch::Receiver<u32>,
) {
    let begun = *eras.borrow_and_update();
    let port = *to.borrow_and_update();
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let doomed = AtomicBool::new(false);
    let pipe = |answers| {
        let (modes, eras, doomed) = (modes.clone(), eras.clone(), &doomed);
        Pipe { modes, eras, begun, answers, doomed }
    };
    let there = pipe(false).pump(from_client, to_server);
    let back = pipe(true).pump(from_server, to_client);
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = modes.wait_for(|mode| *mode == Mode::Cut) => {}
        _ = to.changed() => {}
    }
}

/// One direction of a connection.
struct Pipe<'a> {
    modes: watch::Receiver<Mode>,
    eras: watch::Receiver<u32>,
    /// The era in which the connection was made.
    begun: u32,
    /// Whether it leads from the server to the client.
    answers: bool,
    /// Whether something was asked over the connection to which no answer may come.
    doomed: &'a AtomicBool,
}

impl Pipe<'_> {
    /// Passes bytes on while they may pass.
    async fn pump(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if *self.eras.borrow() != self.begun {
                std::future::pending::<()>().await;
            }
            if !self.answers && *self.modes.borrow() == Mode::Mute {
                self.doomed.store(true, Ordering::SeqCst);
            }
            if self.answers && self.doomed.load(Ordering::SeqCst) {
                drop(self.modes.wait_for(|mode| *mode != Mode::Mute).await);
                return;
            }
            let passing = self.modes.wait_for(|mode| *mode != Mode::Blackhole).await.is_ok();
            if !passing || to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }
}
