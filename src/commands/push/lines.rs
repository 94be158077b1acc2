//! The lines of a file as changes, each under an event id.

use std::borrow::Cow;
use std::collections::HashMap;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::commands::ClientError;
use crate::protocol::Changeset;

/// The most changes that are pushed at once, and about the most bytes.
const CHANGES: usize = 200;
const BYTES: usize = 4 << 20;

/// A line that can be pushed.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: usize,
    /// The change, with its event id.
    pub(super) json: Cow<'a, str>,
}

/// Reads all lines; empty ones are passed over. A change without an event id gets one that is made of
/// its text, and of how often that came before: so the same file may be pushed again, or a longer
/// one that begins with it, and nothing is stored twice.
pub(super) fn parse(text: &str) -> Result<Vec<Line<'_>>, ClientError> {
    let mut lines = Vec::new();
    let mut before: HashMap<&str, u64> = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let wrong = |why: String| ClientError::Line { line: number, why };
        if !line.starts_with('{') {
            return Err(wrong("a line is a JSON object".to_owned()));
        }
        let body = format!("{{\"changes\":[{line}]}}");
        let changeset = Changeset::parse(body.into_bytes()).map_err(|bad| {
            let said = bad.to_string();
            wrong(
                said.strip_prefix("changes[0]")
                    .map_or(said.clone(), |why| why.trim_start_matches([':', '.', ' ']).to_owned()),
            )
        })?;
        let [change] = &changeset.changes[..] else {
            return Err(wrong("a line is one change".to_owned()));
        };
        let json = if change.event.is_some() {
            Cow::Borrowed(line)
        } else {
            let nth = before.entry(line).or_default();
            *nth += 1;
            Cow::Owned(with_event(line, event(line, *nth)))
        };
        lines.push(Line { number, json });
    }
    Ok(lines)
}

/// The event id of the nth change with this text.
fn event(line: &str, nth: u64) -> Uuid {
    let digest = Sha256::new().chain_update(nth.to_be_bytes()).chain_update(line).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The object with one more member; of two of one name the last counts.
fn with_event(line: &str, event: Uuid) -> String {
    let open = line.strip_suffix('}').unwrap_or(line);
    format!("{open},\"eventId\":\"{event}\"}}")
}

/// The lines in their order, as many at once as one push takes.
pub(super) fn batches<'a, 'l>(lines: &'l [Line<'a>]) -> impl Iterator<Item = &'l [Line<'a>]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |line: &&Line<'_>| {
            bytes += line.json.len();
            bytes <= BYTES
        };
        let most = rest.iter().take(CHANGES).take_while(fits).count().max(1);
        let batch;
        (batch, rest) = rest.split_at_checked(most)?;
        Some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str = r#"{"table":"tasks","id":"t1","op":"delete"}"#;

    fn events(text: &str) -> Vec<Uuid> {
        let lines = parse(text).unwrap();
        let body = lines.iter().map(|line| line.json.as_ref()).collect::<Vec<_>>().join(",");
        let body = format!("{{\"changes\":[{body}]}}").into_bytes();
        Changeset::parse(body).unwrap().changes.iter().map(|change| change.event.unwrap()).collect()
    }

    #[test]
    fn event_ids_stay_the_same_when_a_file_is_pushed_again_or_grows() {
        let once = events(&format!("{CHANGE}\n\n{CHANGE}\n"));
        assert_eq!(once.len(), 2, "the same line twice is two changes");
        let other = CHANGE.replace("t1", "t2");
        let grown = events(&format!("{CHANGE}\r\n{other}\n{CHANGE}\n{CHANGE}"));
        assert_eq!([grown[0], grown[2]], once[..]);
        assert!(!once.contains(&grown[1]) && !once.contains(&grown[3]));
        let own = "01997f00-0000-7000-8000-00000000000a";
        let named = CHANGE.replace('}', &format!(",\"eventId\":\"{own}\"}}"));
        assert_eq!(events(&named)[0].to_string(), own);
        let null = CHANGE.replace('}', ",\"eventId\":null}");
        assert_eq!(events(&null).len(), 1);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        for (line, why) in [
            ("[]", "line 3: a line is a JSON object"),
            (r#"{"table":"tasks","id":"t1","op":"upsert"}"#, "line 3: op must be insert"),
            (r#"{"id":"t1","op":"delete"}"#, "line 3: table is missing"),
            ("{},{}", "line 3: "),
            ("{\"table\":", "line 3: "),
        ] {
            let said = parse(&format!("{CHANGE}\n\n{line}\n{CHANGE}")).unwrap_err().to_string();
            assert!(said.starts_with(why) && !said.contains("changes["), "{said}");
        }
    }

    #[test]
    fn batches_hold_two_hundred_changes_and_some_megabytes_at_the_most() {
        let text = format!("{CHANGE}\n").repeat(450);
        let lines = parse(&text).unwrap();
        let sizes: Vec<_> = batches(&lines).map(<[_]>::len).collect();
        assert_eq!(sizes, [200, 200, 50]);
        let large = format!(
            r#"{{"table":"t","id":"r","op":"insert","data":{{"a":"{}"}}}}"#,
            "x".repeat(3 << 20)
        );
        let text = format!("{large}\n{large}\n{large}");
        let lines = parse(&text).unwrap();
        assert_eq!(batches(&lines).map(<[_]>::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(batches(&[]).count(), 0);
    }
}
