//! A TCP proxy before Postgres, that passes, cuts, or swallows.

use std::net::Ipv4Addr;

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
    /// Keeps connections, and passes nothing on, until it passes again.
    Blackhole,
}

/// The proxy.
pub struct Proxy {
    /// Its port on 127.0.0.1.
    pub port: u16,
    mode: watch::Sender<Mode>,
    /// Connections made in an earlier era are dead for ever.
    era: watch::Sender<u32>,
}

impl Proxy {
    /// A proxy to a port of 127.0.0.1.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let (era, eras) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Cut {
                    continue;
                }
                tokio::spawn(carry(client, to, modes.clone(), eras.clone()));
            }
        });
        Self { port, mode, era }
    }

    /// From now on it does this.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Swallows all that goes over the connections that are open, for ever; new ones work.
    pub fn deafen(&self) {
        self.era.send_modify(|era| *era += 1);
    }
}

async fn carry(
    client: TcpStream,
    to: u16,
    mut modes: watch::Receiver<Mode>,
    mut eras: watch::Receiver<u32>,
) {
    let begun = *eras.borrow_and_update();
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let there = pump(from_client, to_server, modes.clone(), eras.clone(), begun);
    let back = pump(from_server, to_client, modes.clone(), eras.clone(), begun);
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = modes.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Passes bytes on while they may pass.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    eras: watch::Receiver<u32>,
    begun: u32,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if *eras.borrow() != begun {
            std::future::pending::<()>().await;
        }
        let passing = modes.wait_for(|mode| *mode != Mode::Blackhole).await.is_ok();
        if !passing || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
