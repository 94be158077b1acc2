//! The events of a stream, out of the raw bytes of its connection.
//!
//! Invariant: an event is handed out whole or not at all, wherever the bytes were cut and whenever
//! the reading was given up, so that its cursor may be kept.

use std::time::Duration;

use bytes::{Buf, BytesMut};

use crate::Outcome;
use crate::client::{Connection, Target};

/// The longest line that tells a chunk's size.
const MAX_SIZE_LINE: usize = 64;
/// An event that is larger has no end.
const MAX_EVENT: usize = 64 * 1024 * 1024;

/// A stream, read event by event.
#[derive(Debug)]
pub(crate) struct Events {
    connection: Connection,
    body: Body,
    /// The bytes of the body that were not handed out yet.
    read: BytesMut,
    /// How much of them holds no end of an event.
    searched: usize,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// What its `event:` line says.
    pub(crate) name: String,
    /// What its `data:` line says.
    pub(crate) data: BytesMut,
    /// When to come back, where its `retry:` line says so.
    pub(crate) retry: Option<Duration>,
}

/// Where in the body the next byte of the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Not chunked: all bytes are the body's.
    Plain,
    /// Before a chunk's size.
    Size,
    /// So many bytes of a chunk are to come.
    Chunk(usize),
    /// Before the line end of a chunk.
    End,
    /// Behind the last chunk.
    Over,
}

impl Events {
    /// Opens a stream; an error where the answer is not 200.
    pub(crate) async fn open(
        target: &Target,
        path: &str,
        token: &str,
        client: &str,
    ) -> Outcome<Self> {
        let mut connection = target.connect().await?;
        let status = connection.begin_stream(path, token, client).await?;
        if status != 200 {
            return Err(format!("a stream was answered {status}").into());
        }
        let body = if connection.is_chunked() { Body::Size } else { Body::Plain };
        Ok(Self { connection, body, read: BytesMut::new(), searched: 0 })
    }

    /// The next event; none at the stream's end. It may be given up at any time.
    pub(crate) async fn next(&mut self) -> Outcome<Option<Event>> {
        loop {
            self.body = self.body.take(self.connection.unread(), &mut self.read)?;
            if let Some(event) = take_event(&mut self.read, &mut self.searched) {
                return Ok(Some(event));
            }
            if self.read.len() > MAX_EVENT {
                return Err("an event has no end".into());
            }
            if self.body == Body::Over || !self.connection.more().await? {
                return Ok(None);
            }
        }
    }
}

impl Body {
    /// Moves what belongs to the body from `raw`, and says where that ends.
    fn take(mut self, raw: &mut BytesMut, body: &mut BytesMut) -> Outcome<Self> {
        // Every turn but the last takes something from raw.
        while !raw.is_empty() {
            self = match self {
                Self::Plain => {
                    body.unsplit(raw.split());
                    Self::Plain
                }
                Self::Size => {
                    let Some(end) = memchr::memmem::find(raw, b"\r\n") else {
                        if raw.len() > MAX_SIZE_LINE {
                            return Err("a chunk's size has no end".into());
                        }
                        break;
                    };
                    let line = raw.split_to(end + 2);
                    let digits =
                        line.as_ref().split(|byte: &u8| matches!(byte, b';' | b'\r')).next();
                    let digits = std::str::from_utf8(digits.unwrap_or_default())?;
                    match usize::from_str_radix(digits.trim(), 16)? {
                        0 => Self::Over,
                        size => Self::Chunk(size),
                    }
                }
                Self::Chunk(left) => {
                    let part = raw.split_to(left.min(raw.len()));
                    body.extend_from_slice(&part);
                    if part.len() == left { Self::End } else { Self::Chunk(left - part.len()) }
                }
                Self::End if raw.len() < 2 => break,
                Self::End => {
                    raw.advance(2);
                    Self::Size
                }
                Self::Over => break,
            };
        }
        Ok(self)
    }
}

fn take_event(read: &mut BytesMut, searched: &mut usize) -> Option<Event> {
    let from = searched.saturating_sub(1);
    let Some(end) = memchr::memmem::find(read.get(from..)?, b"\n\n") else {
        *searched = read.len();
        return None;
    };
    *searched = 0;
    let mut text = read.split_to(from + end + 2);
    let mut event = Event { name: String::new(), data: BytesMut::new(), retry: None };
    while let Some(end) = memchr::memchr(b'\n', &text) {
        let mut line = text.split_to(end + 1);
        line.truncate(end);
        if line.starts_with(b"event: ") {
            event.name = String::from_utf8_lossy(line.get(7..).unwrap_or_default()).into_owned();
        } else if line.starts_with(b"data: ") {
            event.data = line.split_off(6);
        } else if let Some(millis) = line.strip_prefix(b"retry: ") {
            let millis = std::str::from_utf8(millis).ok().and_then(|digits| digits.parse().ok());
            event.retry = millis.map(Duration::from_millis);
        }
    }
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_their_bytes_are_cut() {
        let raw = b"10\r\nevent: spaces\nda\r\nA;x=y\r\nta: {}\n\nev\r\n25\r\nent: changes\nid: 7\nretry: 70\ndata: [1\
            \r\n3\r\n]\n\n\r\n0\r\n\r\n";
        for cut in 0..raw.len() {
            let (mut body, mut searched, mut found) = (BytesMut::new(), 0, Vec::new());
            let (mut state, mut unread) = (Body::Size, BytesMut::new());
            for part in [&raw[..cut], &raw[cut..]] {
                unread.extend_from_slice(part);
                state = state.take(&mut unread, &mut body).unwrap();
                while let Some(event) = take_event(&mut body, &mut searched) {
                    found.push((event.name, event.data.to_vec(), event.retry));
                }
            }
            let retry = Some(Duration::from_millis(70));
            let expected = [
                ("spaces".to_owned(), b"{}".to_vec(), None),
                ("changes".to_owned(), b"[1]".to_vec(), retry),
            ];
            assert_eq!(found, expected, "cut at {cut}");
            assert_eq!(state, Body::Over);
        }
    }

    #[test]
    fn a_chunk_of_no_size_is_an_error() {
        let mut raw = BytesMut::from(&b"zz\r\n"[..]);
        assert!(Body::Size.take(&mut raw, &mut BytesMut::new()).is_err());
        let mut raw = BytesMut::from(&[b'1'; 100][..]);
        assert!(Body::Size.take(&mut raw, &mut BytesMut::new()).is_err());
    }
}
