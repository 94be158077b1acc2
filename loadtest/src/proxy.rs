//! A TCP proxy of this process, on loopback, before a Postgres, a node or a service. It passes on
//! what it gets, until it is told to do harm.
//!
//! Invariant: it holds at most one piece of each direction of a connection; whatever it does not
//! pass on, it does not read.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Outcome;

/// What is read at once.
const PIECE: usize = 64 * 1024;

/// What a proxy does with what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes it on.
    Pass,
    /// Closes connections, and makes none.
    Cut,
    /// Breaks connections by a reset, and makes none.
    Reset,
    /// Keeps connections, and passes nothing on, until it does something else.
    Blackhole,
    /// Passes each piece on so much later.
    Slow(Duration),
    /// Passes on what is asked, and never the answers to it; whoever asked is cut off afterwards.
    Mute,
}

/// A proxy; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    state: watch::Sender<State>,
    // Aborted when it is dropped.
    _tasks: JoinSet<()>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// The port that new connections lead to.
    to: u16,
    /// Connections made in an earlier era are dead, and nobody is told.
    era: u32,
}

impl Proxy {
    /// A proxy to a port of 127.0.0.1.
    pub(crate) async fn start(to: u16) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (state, states) = watch::channel(State { mode: Mode::Pass, to, era: 0 });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, states));
        Ok(Self { port, state, _tasks: tasks })
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on it does this.
    pub(crate) fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// New connections lead to this port of 127.0.0.1.
    pub(crate) fn lead(&self, to: u16) {
        self.state.send_modify(|state| state.to = to);
    }

    /// Swallows all that goes over the connections that are open, for ever; new ones work.
    pub(crate) fn deafen(&self) {
        self.state.send_modify(|state| state.era += 1);
    }
}

async fn accept(listener: TcpListener, states: watch::Receiver<State>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => drop(open.spawn(carry(client, states.clone()))),
                // No file is free: when a connection ends, one is.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, mut states: watch::Receiver<State>) {
    let begun = match states.wait_for(|state| state.mode != Mode::Blackhole).await {
        Ok(state) => *state,
        Err(_) => return,
    };
    if refuses(begun.mode) {
        return end(begun.mode, &[&client]);
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, begun.to)).await else { return };
    // Without it small answers would be late; at the worst they are.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let doomed = AtomicBool::new(false);
    let pipe = |answers| Pipe { states: states.clone(), era: begun.era, answers, doomed: &doomed };
    let (there, back) = (pipe(false), pipe(true));
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = there.pump(from_client, to_server) => None,
            () = back.pump(from_server, to_client) => None,
            state = states.wait_for(|state| refuses(state.mode)) => state.ok().map(|state| state.mode),
        }
    };
    if let Some(mode) = broken {
        end(mode, &[&client, &server]);
    }
}

fn refuses(mode: Mode) -> bool {
    matches!(mode, Mode::Cut | Mode::Reset)
}

/// Has sockets closed as the mode demands, when they are dropped.
fn end(mode: Mode, sockets: &[&TcpStream]) {
    for socket in sockets {
        if mode == Mode::Reset {
            // One that is gone already needs no reset.
            let _ = socket.set_zero_linger();
        }
    }
}

/// One direction of a connection.
struct Pipe<'a> {
    states: watch::Receiver<State>,
    /// The era in which the connection was made.
    era: u32,
    /// Whether it leads from the server to the client.
    answers: bool,
    /// Whether something was asked over the connection to which no answer may come.
    doomed: &'a AtomicBool,
}

impl Pipe<'_> {
    /// Passes on what comes, while it may pass.
    async fn pump(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let state = *self.states.borrow();
            if state.era != self.era {
                std::future::pending::<()>().await;
            }
            match state.mode {
                Mode::Mute if !self.answers => self.doomed.store(true, Ordering::SeqCst),
                Mode::Slow(by) => sleep(by).await,
                _ => {}
            }
            if self.answers && self.doomed.load(Ordering::SeqCst) {
                drop(self.states.wait_for(|state| state.mode != Mode::Mute).await);
                return;
            }
            let passing = self.states.wait_for(|state| state.mode != Mode::Blackhole).await.is_ok();
            let Some(read) = piece.get(..count).filter(|_| passing) else { return };
            if to.write_all(read).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    /// An echo behind a proxy, and a connection through it.
    async fn echo() -> (Proxy, JoinSet<()>, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().port()).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                open.spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        let socket = connect(&proxy).await;
        (proxy, tasks, socket)
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap()
    }

    /// What comes back; nothing where nothing does for a while.
    async fn answer(socket: &mut TcpStream, text: &[u8]) -> Option<std::io::Result<usize>> {
        socket.write_all(text).await.ok();
        let mut read = [0; 16];
        timeout(Duration::from_millis(200), socket.read(&mut read)).await.ok()
    }

    #[tokio::test]
    async fn it_passes_and_holds_back_and_passes_again() {
        let (proxy, _echo, mut socket) = echo().await;
        assert_eq!(answer(&mut socket, b"one").await.unwrap().unwrap(), 3);
        proxy.set(Mode::Blackhole);
        assert!(answer(&mut socket, b"two").await.is_none());
        proxy.set(Mode::Slow(Duration::from_millis(60)));
        let begun = Instant::now();
        assert_eq!(answer(&mut socket, b"").await.unwrap().unwrap(), 3, "what was held back");
        assert_eq!(answer(&mut socket, b"three").await.unwrap().unwrap(), 5);
        assert!(begun.elapsed() >= Duration::from_millis(120));
    }

    #[tokio::test]
    async fn it_cuts_and_resets() {
        for (mode, orderly) in [(Mode::Cut, true), (Mode::Reset, false)] {
            let (proxy, _echo, mut socket) = echo().await;
            answer(&mut socket, b"one").await.unwrap().unwrap();
            proxy.set(mode);
            assert_eq!(answer(&mut socket, b"").await.unwrap().is_ok_and(|n| n == 0), orderly);
            let mut refused = connect(&proxy).await;
            assert!(!answer(&mut refused, b"two").await.unwrap().is_ok_and(|n| n > 0));
            proxy.set(Mode::Pass);
            assert_eq!(answer(&mut connect(&proxy).await, b"one").await.unwrap().unwrap(), 3);
        }
    }

    #[tokio::test]
    async fn answers_are_lost_and_open_connections_go_deaf() {
        let (proxy, _echo, mut socket) = echo().await;
        assert_eq!(answer(&mut socket, b"zero").await.unwrap().unwrap(), 4);
        proxy.deafen();
        assert!(answer(&mut socket, b"one").await.is_none());
        let mut fresh = connect(&proxy).await;
        assert_eq!(answer(&mut fresh, b"one").await.unwrap().unwrap(), 3);
        proxy.set(Mode::Mute);
        assert!(answer(&mut fresh, b"two").await.is_none());
        proxy.set(Mode::Pass);
        assert_eq!(answer(&mut fresh, b"").await.unwrap().unwrap(), 0, "cut off");
    }
}
