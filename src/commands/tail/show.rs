//! A change as a line that people read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style as Paint};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What of a payload is shown on a terminal.
const WIDTH: usize = 160;

/// A change, as the wire has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change<'a> {
    #[serde(borrow)]
    pub(super) table: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) op: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) space_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fields: BTreeMap<String, Field<'a>>,
    deleted_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Field<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// For people, on a terminal.
    Colour,
    /// For files and other programs.
    Plain,
}

impl Style {
    pub(super) fn of_stdout() -> Self {
        match anstream::AutoStream::choice(&io::stdout()) {
            anstream::ColorChoice::Never => Self::Plain,
            _ => Self::Colour,
        }
    }

    fn paint(self, paint: Paint, text: &str) -> String {
        match self {
            Self::Colour => format!("{paint}{text}{paint:#}"),
            Self::Plain => text.to_owned(),
        }
    }
}

impl Change<'_> {
    /// Writes the line; `until` is the cursor of the event that it came in.
    pub(super) fn write(&self, out: &mut impl Write, until: &str, style: Style) -> io::Result<()> {
        let colour = match self.op.as_ref() {
            "insert" => AnsiColor::Green,
            "update" => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        // The time of day to the millisecond.
        let time =
            style.paint(Paint::new().dimmed(), &harmless(until.get(11..23).unwrap_or(until)));
        let op = style.paint(colour.on_default(), &format!("{:6}", harmless(&self.op)));
        let record = format!("{}/{}", harmless(&self.table), harmless(&self.id));
        let record = style.paint(Paint::new().bold(), &record);
        write!(out, "{time}  {op}  {record}")?;
        if let Some(space) = &self.space_id {
            let space = format!("@{}", harmless(space));
            write!(out, "  {}", style.paint(AnsiColor::Cyan.on_default(), &space))?;
        }
        let mut payload = harmless(&self.payload());
        if style == Style::Colour && payload.chars().count() > WIDTH {
            payload = payload.chars().take(WIDTH).chain(['…']).collect();
        }
        let gap = if payload.is_empty() { "" } else { "  " };
        writeln!(out, "{gap}{payload}")
    }

    fn payload(&self) -> String {
        let mut text = self.data.map_or_else(String::new, |data| data.get().to_owned());
        for (name, field) in &self.fields {
            let gap = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{gap}{name}={}", field.value.get());
        }
        if let Some(time) = &self.deleted_at {
            let _ = write!(text, "at {time}");
        }
        text
    }
}

/// The text without what a terminal would obey: another user wrote it.
fn harmless(text: &str) -> String {
    let is_order = |c: char| {
        c.is_control()
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_order(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str, style: Style) -> String {
        let change: Change<'_> = serde_json::from_str(json).unwrap();
        let mut out = Vec::new();
        change.write(&mut out, "2026-11-22T09:36:12.123456Z", style).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_change_is_a_line() {
        let insert = r#"{"eventId":"x","table":"tasks","id":"t1","op":"insert","data":{"a": 1},"spaceId":"home"}"#;
        assert_eq!(
            line(insert, Style::Plain),
            "09:36:12.123  insert  tasks/t1  @home  {\"a\": 1}\n"
        );
        let update = r#"{"table":"tasks","id":"t1","op":"update","fields":{"b":{"value":"x","at":"t"},"a":{"value":2}}}"#;
        assert_eq!(line(update, Style::Plain), "09:36:12.123  update  tasks/t1  a=2 b=\"x\"\n");
        let delete = r#"{"table":"tasks","id":"t1","op":"delete"}"#;
        assert_eq!(line(delete, Style::Plain), "09:36:12.123  delete  tasks/t1\n");
        assert!(line(delete, Style::Colour).contains("\u{1b}[31mdelete\u{1b}[0m"));
    }

    #[test]
    fn nobody_else_s_text_moves_the_terminal() {
        let evil = "{\"table\":\"\\u001b[2J\",\"id\":\"\u{9b}1m\\u202e\",\"op\":\"insert\",\"data\":{\"a\":\"\u{85}\"}}";
        let line = line(evil, Style::Plain);
        assert!(!line.trim_end().chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(line.contains(r"\u{1b}[2J/\u{9b}1m\u{202e}"), "{line}");
    }

    #[test]
    fn a_long_payload_is_cut_on_a_terminal_alone() {
        let long =
            format!(r#"{{"table":"t","id":"r","op":"insert","data":"{}"}}"#, "é".repeat(500));
        assert!(line(&long, Style::Plain).chars().count() > 500);
        assert!(line(&long, Style::Colour).trim_end().ends_with('…'));
    }
}
