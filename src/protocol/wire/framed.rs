//! Events as they go to a socket.
//!
//! HTTP/1.1 sends what has no length beforehand in chunks, each with its size before it. An event
//! that goes to many streams is framed once, with its text, so that each stream writes the same
//! bytes by one call. The invariant: no chunk is empty, because an empty one ends the body.

use bytes::Bytes;

/// Bytes of events, in the frame of one chunk.
#[derive(Debug, Clone, Default)]
pub struct Framed {
    chunk: Bytes,
    /// Where in it the text begins.
    text: usize,
}

/// Room for any size in hexadecimal digits, and a line's end.
const SIZE: usize = 2 * size_of::<usize>() + END.len();

/// Ends the size, and the chunk.
const END: &[u8] = b"\r\n";

impl Framed {
    /// The end of a body in chunks.
    pub const LAST: &[u8] = b"0\r\n\r\n";

    /// Frames what `write` appends.
    #[must_use]
    pub fn new(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut out = vec![0; SIZE];
        write(&mut out);
        let text = out.len() - SIZE;
        if text == 0 {
            return Self::default();
        }
        out.extend_from_slice(END);
        let size = format!("{text:X}\r\n");
        let begin = SIZE - size.len();
        out[begin..SIZE].copy_from_slice(size.as_bytes());
        Self { chunk: Bytes::from(out).slice(begin..), text: size.len() }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }

    /// The chunk, for a body that is sent in chunks.
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// The text alone, for a body that ends with its connection.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.chunk[self.text..self.chunk.len().saturating_sub(END.len())]
    }
}

impl From<&[u8]> for Framed {
    fn from(text: &[u8]) -> Self {
        Self::new(|out| out.extend_from_slice(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_tells_its_size() {
        for (text, chunk) in [("a", "1\r\na\r\n"), ("0123456789\n", "B\r\n0123456789\n\r\n")] {
            let framed = Framed::from(text.as_bytes());
            assert_eq!(framed.chunk(), chunk.as_bytes());
            assert_eq!(framed.text(), text.as_bytes());
        }
        let long = Framed::from("x".repeat(300_000).as_bytes());
        assert!(long.chunk().starts_with(b"493E0\r\nxxx") && long.chunk().ends_with(b"xxx\r\n"));
        assert_eq!((long.chunk().len(), long.text().len()), (300_009, 300_000));
    }

    #[test]
    fn nothing_is_no_chunk() {
        let nothing = Framed::new(|_| {});
        assert!(nothing.is_empty() && nothing.chunk().is_empty() && nothing.text().is_empty());
    }
}
