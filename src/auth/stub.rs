//! A service for tests that answers as told and writes down what came over the wire.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::redirect::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

/// What the next requests get.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status line's status, and a body.
    Body(&'static str, String),
    /// A head with these lines, and no body.
    Head(&'static str),
    /// Spaces for ever, after a head.
    Endless,
    /// The connection stays open and silent.
    Silence,
}

struct Shared {
    answer: Mutex<Answer>,
    heads: watch::Sender<Vec<String>>,
}

/// Ends with its value.
pub(crate) struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Stub {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let heads = watch::Sender::new(Vec::new());
        let shared = Arc::new(Shared { answer: Mutex::new(answer), heads });
        let mut serving = JoinSet::new();
        let serve = Arc::clone(&shared);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let serve = Arc::clone(&serve);
                connections.spawn(async move { serve.connection(socket).await });
            }
        });
        Self { address, shared, _serving: serving }
    }

    /// The address of `path` here.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).expect("a valid address")
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().expect("not poisoned") = answer;
    }

    pub(crate) fn body(&self, body: &impl ToString) {
        self.answer(Answer::Body("200 OK", body.to_string()));
    }

    /// The request heads so far, as they came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.heads.borrow().clone()
    }

    /// Waits for the request of this number.
    pub(crate) async fn arrived(&self, count: usize) {
        let mut heads = self.shared.heads.subscribe();
        let arrived = heads.wait_for(|heads| heads.len() >= count);
        timeout(Duration::from_secs(10), arrived).await.expect("in time").expect("the stub lives");
    }
}

impl Shared {
    async fn connection(&self, mut socket: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        self.heads.send_modify(|heads| heads.push(String::from_utf8_lossy(&head).into_owned()));
        let answer = self.answer.lock().expect("not poisoned").clone();
        // The client may have gone away; then the test has seen enough.
        let _ = match answer {
            Answer::Body(status, body) => {
                let length = body.len();
                let head = "connection: close\r\ncontent-length";
                let text = format!("HTTP/1.1 {status}\r\n{head}: {length}\r\n\r\n{body}");
                socket.write_all(text.as_bytes()).await
            }
            Answer::Head(lines) => {
                let text = format!("HTTP/1.1 {lines}\r\nconnection: close\r\n\r\n");
                socket.write_all(text.as_bytes()).await
            }
            Answer::Endless => {
                let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                let mut sent = socket.write_all(head).await;
                while sent.is_ok() {
                    sent = socket.write_all(&[b' '; 8_192]).await;
                }
                sent
            }
            // Ends when the client hangs up.
            Answer::Silence => socket.read_u8().await.map(|_| ()),
        };
    }
}

/// A client as the node's is: no redirects.
pub(crate) fn client() -> reqwest::Client {
    client_within(Duration::from_secs(10))
}

/// The same, where an answer is to be whole within `time`.
pub(crate) fn client_within(time: Duration) -> reqwest::Client {
    reqwest::Client::builder().redirect(Policy::none()).timeout(time).build().expect("a client")
}
