//! A stream of events, cut into lines as `docs/protocol.md` spells them.

use std::time::Duration;

use reqwest::Response;

/// A node says something every 30 s; who is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// No event is larger.
const MOST: usize = 64 << 20;

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
    /// When to come again, where it says so.
    pub(super) retry: Option<Duration>,
}

/// The events of an open stream.
pub(super) struct Events {
    response: Response,
    text: Vec<u8>,
    /// Up to where `text` has no end of an event.
    seen: usize,
}

/// Why there are no more events.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the stream ended")]
    Over,
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the connection broke")]
    Broken,
    #[error("an event has more than {MOST} bytes")]
    TooLarge,
}

impl Events {
    pub(super) fn new(response: Response) -> Self {
        Self { response, text: Vec::new(), seen: 0 }
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Result<Event, End> {
        loop {
            let rest = &self.text[self.seen..];
            if let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..self.seen + end + 2).collect();
                self.seen = 0;
                return Ok(parse(&String::from_utf8_lossy(&event)));
            }
            self.seen = self.text.len().saturating_sub(1);
            if self.text.len() > MOST {
                return Err(End::TooLarge);
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            match chunk.map_err(|_| End::Silent)?.map_err(|_| End::Broken)? {
                Some(chunk) => self.text.extend_from_slice(&chunk),
                None => return Err(End::Over),
            }
        }
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match key {
            "event" => value.clone_into(&mut event.name),
            "data" => value.clone_into(&mut event.data),
            "retry" => event.retry = value.parse().ok().map(Duration::from_millis),
            _ => {}
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_line_by_line() {
        let event = parse("event: reconnect\ndata: {\"a\": 1}\nid: x\nretry: 250\n\n");
        let retry = Some(Duration::from_millis(250));
        let data = "{\"a\": 1}".to_owned();
        assert_eq!(event, Event { name: "reconnect".to_owned(), data, retry });
    }
}
