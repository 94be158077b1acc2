//! What a page or an event says, found without reading all of it: a reader of JSON would cost more
//! than the node.

/// Every change on the wire has this once.
const CHANGE: &[u8] = b"\"eventId\":";

/// How many changes a page or an event holds.
pub(crate) fn count(text: &[u8]) -> u64 {
    memchr::memmem::find_iter(text, CHANGE).count() as u64
}

/// Whether a page says that there is more.
pub(crate) fn is_there_more(body: &[u8]) -> bool {
    memchr::memmem::rfind(body, b"\"hasMore\":true").is_some()
}

/// The cursor of a page or an event, found without reading all of it.
pub(crate) fn cursor(body: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"\"syncedUntil\":\"";
    let begin = memchr::memmem::rfind(body, NAME)? + NAME.len();
    let rest = body.get(begin..)?;
    std::str::from_utf8(rest.get(..memchr::memchr(b'"', rest)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_skimmed() {
        let page = br#"{"serverChanges":[{"eventId":"a"},{"eventId":"b"}],"syncedUntil":"2026","hasMore":true}"#;
        assert_eq!((count(page), is_there_more(page), cursor(page)), (2, true, Some("2026")));
        assert_eq!((count(b"{}"), is_there_more(b"{}"), cursor(b"{}")), (0, false, None));
    }
}
