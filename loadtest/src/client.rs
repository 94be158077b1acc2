//! A client as light as can be: what it costs is not to be counted against the node, which shares
//! the machine with it. One connection, one request at a time, kept alive.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use url::Url;

use crate::Outcome;

/// A request has no answer after this: something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// The largest head of an answer.
const MAX_HEAD: usize = 64 * 1024;

/// Begins the time in a payload, 16 hexadecimal digits of nanoseconds since 1970.
pub(crate) const MARK: &[u8] = b"@@";

/// A node, as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    host: String,
}

impl Target {
    /// The node at `url`; plain HTTP only.
    pub(crate) async fn resolve(url: &Url) -> Outcome<Self> {
        if url.scheme() != "http" {
            return Err(
                format!("{url}: only http:// is spoken here; aim behind the ingress").into()
            );
        }
        let host = url.host_str().ok_or("a URL without a host")?;
        let port = url.port_or_known_default().unwrap_or(80);
        let address = tokio::net::lookup_host((host, port)).await?.next();
        let address = address.ok_or_else(|| format!("{host} has no address"))?;
        Ok(Self { address, host: format!("{host}:{port}") })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> Outcome<Url> {
        Ok(format!("http://{}", self.host).parse()?)
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Outcome<Connection> {
        self.connect_from(None).await
    }

    /// Opens a connection from this address of the machine: each address has ports of its own.
    pub(crate) async fn connect_from(&self, local: Option<IpAddr>) -> Outcome<Connection> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(local) = local {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        let stream = timeout(PATIENCE, socket.connect(self.address)).await??;
        stream.set_nodelay(true)?;
        let read = BytesMut::with_capacity(16 * 1024);
        Ok(Connection { stream, host: self.host.clone(), read, chunked: false })
    }
}

/// A connection to a node.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    host: String,
    read: BytesMut,
    /// Whether the body of the last answer comes in chunks.
    chunked: bool,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: BytesMut,
}

impl Connection {
    /// Pushes to an app.
    pub(crate) async fn push(
        &mut self,
        app: &str,
        token: &str,
        client: &str,
        body: &[u8],
    ) -> Outcome<Answer> {
        let head = format!(
            "POST /sync/{app} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
             x-client-id: {client}\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.exchange(&request).await
    }

    /// Gets a path.
    pub(crate) async fn get(&mut self, path: &str, token: &str, client: &str) -> Outcome<Answer> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
             x-client-id: {client}\r\n\r\n",
            self.host
        );
        self.exchange(request.as_bytes()).await
    }

    /// Begins a stream: sends the request and reads the answer's head. What follows is read by
    /// [`Connection::more`].
    pub(crate) async fn begin_stream(
        &mut self,
        path: &str,
        token: &str,
        client: &str,
    ) -> Outcome<u16> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
             x-client-id: {client}\r\naccept: text/event-stream\r\n\r\n",
            self.host
        );
        self.stream.write_all(request.as_bytes()).await?;
        let (status, _) = timeout(PATIENCE, self.head()).await??;
        Ok(status)
    }

    /// The bytes of a stream that have come, raw: with the marks of its chunks. False at its end.
    pub(crate) async fn more(&mut self) -> Outcome<bool> {
        Ok(self.stream.read_buf(&mut self.read).await? > 0)
    }

    /// Whether what a stream brings comes in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.chunked
    }

    /// What was read of a stream and not taken yet.
    pub(crate) fn unread(&mut self) -> &mut BytesMut {
        &mut self.read
    }

    /// The socket of a stream that has begun, and what was read of it beyond its head.
    pub(crate) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.read)
    }

    /// Posts a body as it is, without a token.
    pub(crate) async fn post_plain(&mut self, path: &str, body: &[u8]) -> Outcome<Answer> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.exchange(&request).await
    }

    /// Posts nothing, with the key of a service; gives the status.
    pub(crate) async fn post_with_key(&mut self, path: &str, key: &str) -> Outcome<u16> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nx-service-key: {key}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n",
            self.host
        );
        self.stream.write_all(request.as_bytes()).await?;
        Ok(timeout(PATIENCE, self.head()).await??.0)
    }

    async fn exchange(&mut self, request: &[u8]) -> Outcome<Answer> {
        self.stream.write_all(request).await?;
        timeout(PATIENCE, self.answer()).await?
    }

    async fn answer(&mut self) -> Outcome<Answer> {
        let (status, length) = self.head().await?;
        let length = length.ok_or("an answer without a length")?;
        while self.read.len() < length {
            self.fill().await?;
        }
        Ok(Answer { status, body: self.read.split_to(length) })
    }

    /// The status and the length, where there is one.
    async fn head(&mut self) -> Outcome<(u16, Option<usize>)> {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                break end;
            }
            if self.read.len() > MAX_HEAD {
                return Err("the head of an answer has no end".into());
            }
            self.fill().await?;
        };
        let head = self.read.split_to(end + 4);
        let head = std::str::from_utf8(&head)?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        self.chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked\r\n");
        Ok((status.ok_or("an answer without a status")?, length))
    }

    async fn fill(&mut self) -> Outcome {
        if self.stream.read_buf(&mut self.read).await? == 0 {
            return Err("the node closed the connection".into());
        }
        Ok(())
    }
}

/// Nanoseconds since 1970: one clock for all processes of this machine.
pub(crate) fn now_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The text that marks this moment in a payload.
pub(crate) fn mark() -> String {
    format!("@@{:016x}", now_nanos())
}

/// Takes the marks out of what a stream has brought, and leaves what may become one.
pub(crate) fn take_marks(unread: &mut BytesMut, mut found: impl FnMut(u64)) {
    const LENGTH: usize = 18;
    let mut done = 0;
    for at in memchr::memmem::find_iter(unread, MARK) {
        let Some(digits) = unread.get(at + MARK.len()..at + LENGTH) else { break };
        let nanos = std::str::from_utf8(digits).ok().and_then(|d| u64::from_str_radix(d, 16).ok());
        if let Some(nanos) = nanos {
            found(nanos);
        }
        done = at + LENGTH;
    }
    let keep = unread.len().saturating_sub(LENGTH - 1).max(done).min(unread.len());
    drop(unread.split_to(keep));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_however_they_are_cut() {
        let text = format!("{{\"t\":\"{}\"}} and {}", "@@00000000000000ff", "@@0000000000000100");
        for cut in 0..text.len() {
            let (mut unread, mut found) = (BytesMut::new(), Vec::new());
            for part in [&text[..cut], &text[cut..]] {
                unread.extend_from_slice(part.as_bytes());
                take_marks(&mut unread, |nanos| found.push(nanos));
            }
            assert_eq!(found, [255, 256], "cut at {cut}");
        }
    }
}
