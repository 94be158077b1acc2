//! Looking through JSON text without parsing it.
//!
//! What Postgres can't store or the protocol forbids hides in a few places of a body that may
//! have 10 MB: escapes and brackets. These passes jump from one to the next, so that a body
//! without any costs next to nothing.

use std::ops::RangeInclusive;

use memchr::{memchr, memchr2, memchr2_iter};

const HIGH: RangeInclusive<u32> = 0xd800..=0xdbff;
const LOW: RangeInclusive<u32> = 0xdc00..=0xdfff;
/// The bytes of one `\uXXXX`.
const ESCAPE: usize = 6;

/// The place of the next escape at or after `from`, where escapes before were stepped over whole:
/// the second backslash of `\\` begins none.
fn next_escape(text: &[u8], from: usize) -> Option<usize> {
    memchr(b'\\', text.get(from..)?).map(|found| from + found)
}

/// The number of the `\uXXXX` at `at`; none where there is something else.
fn unit(text: &[u8], at: usize) -> Option<u32> {
    let [b'\\', b'u', hex @ ..] = text.get(at..at + ESCAPE)? else { return None };
    hex.iter().try_fold(0, |unit, &byte| Some(unit * 16 + char::from(byte).to_digit(16)?))
}

/// Turns every unpaired surrogate escape into `\ufffd`, in place, and says whether there is a
/// `\u0000` anywhere.
///
/// Postgres would store an unpaired surrogate, but no strict reader would take it back.
pub(super) fn mend_escapes(body: &mut [u8]) -> bool {
    let mut nul = false;
    let mut from = 0;
    while let Some(at) = next_escape(body, from) {
        from = at + 2;
        let Some(first) = unit(body, at) else { continue };
        from = at + ESCAPE;
        nul |= first == 0;
        if HIGH.contains(&first) && unit(body, from).is_some_and(|unit| LOW.contains(&unit)) {
            from += ESCAPE;
        } else if HIGH.contains(&first) || LOW.contains(&first) {
            body[at..from].copy_from_slice(br"\ufffd");
        }
    }
    nul
}

/// Whether there is a `\u0000` in the JSON `text`.
pub(super) fn has_nul(text: &str) -> bool {
    let text = text.as_bytes();
    let mut from = 0;
    while let Some(at) = next_escape(text, from) {
        if unit(text, at) == Some(0) {
            return true;
        }
        from = at + 2;
    }
    false
}

/// Whether objects and arrays stand in each other more than `most` deep in the JSON `text`.
pub(super) fn deeper_than(text: &str, most: usize) -> bool {
    let bytes = text.as_bytes();
    // Hardly any value has as many brackets at all, those in its strings included.
    if memchr2_iter(b'{', b'[', bytes).nth(most).is_none() {
        return false;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' if depth == most => return true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(bytes, at),
            _ => {}
        }
    }
    false
}

/// Behind the quote that ends the string whose text begins at `at`.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// `text` as a piece of a message: quoted, escaped and shortened.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn mended(text: &str) -> (String, bool) {
        let mut body = text.as_bytes().to_vec();
        let nul = mend_escapes(&mut body);
        (String::from_utf8(body).unwrap(), nul)
    }

    #[test]
    fn unpaired_surrogates_are_replaced() {
        for (text, after) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00""#, r#""\ufffd""#),
            (r#""\ud83dx\ude00""#, r#""\ufffdx\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
            (r#""\ud83d\\ude00""#, r#""\ufffd\\ude00""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
        ] {
            assert_eq!(mended(text), (after.to_owned(), false), "{text}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "",
            r#""no escapes, 😀""#,
            r#""\ud83d\ude00""#,
            r#""\uD83D\uDE00\n\"\\""#,
            r#""\\ud83d""#,
            r#""\\\\ud83d""#,
            r#""\ufffd\u00e4""#,
            // No JSON, and not for this pass to tell.
            r#""\ud8"#,
            r#""\ud83"#,
            r"\",
            r"\u",
            r#""\u+d80""#,
        ] {
            assert_eq!(mended(text), (text.to_owned(), false), "{text}");
        }
    }

    #[test]
    fn u0000_is_found_where_it_is_an_escape() {
        for (text, nul) in [
            (r#""\u0000""#, true),
            (r#""\\\u0000""#, true),
            (r#""a\nb\u0000""#, true),
            (r#""\\u0000""#, false),
            (r#""\u0001\\\\u0000""#, false),
            (r#""\u00000""#, true),
            (r#""\u000""#, false),
            (r#""plain""#, false),
        ] {
            assert_eq!(mended(text).1, nul, "{text}");
            assert_eq!(has_nul(text), nul, "{text}");
        }
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(!deeper_than(&deep(128), 128));
        assert!(deeper_than(&deep(129), 128));
        assert!(!deeper_than(&format!("[{}]", vec!["[]"; 500].join(",")), 2));
        assert!(deeper_than(&format!("[{}]", vec!["[{}]"; 500].join(",")), 2));
        assert!(!deeper_than(&format!(r#"["{}\"{}"]"#, "[".repeat(300), "{".repeat(300)), 1));
        assert!(deeper_than(r#"["\\",[]]"#, 1));
        assert!(!deeper_than("7", 0));
        assert!(deeper_than("[]", 0));
        assert!(!deeper_than(r#"["[["#, 1));
    }

    #[test]
    fn hostile_text_is_quoted_short() {
        assert_eq!(quoted("a\"b\n\u{202e}\0"), r#""a\"b\n\u{202e}\0""#);
        assert_eq!(quoted(&"ä".repeat(60)), format!("\"{}\"", "ä".repeat(60)));
        assert_eq!(quoted(&"ä".repeat(61)), format!("\"{}…\"", "ä".repeat(60)));
    }

    proptest! {
        #[test]
        fn any_string_survives_and_any_units_become_readable(units in prop::collection::vec(
            prop_oneof![any::<u16>(), 0xd7f0_u16..0xe010, Just(u16::from(b'\\'))], 0..12,
        )) {
            let mut escaped = String::new();
            for unit in &units {
                write!(escaped, "\\u{unit:04x}").unwrap();
            }
            let (text, nul) = mended(&format!("\"{escaped}\""));
            prop_assert_eq!(nul, units.contains(&0));
            let read: String = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn no_bytes_make_it_panic(mut body in prop::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'u'), Just(b'd'), Just(b'"'), Just(b'['), any::<u8>()], 0..40,
        )) {
            mend_escapes(&mut body);
            let text = String::from_utf8_lossy(&body);
            has_nul(&text);
            deeper_than(&text, 1);
        }

        #[test]
        fn depth_is_that_of_a_tree(tree in tree(), most in 0_usize..6) {
            let text = tree.to_string();
            prop_assert_eq!(deeper_than(&text, most), depth(&tree) > most, "{}", text);
        }
    }

    fn tree() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            "[\\[\\]{}\"\\\\a]{0,6}".prop_map(serde_json::Value::String),
        ];
        leaf.prop_recursive(6, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::Array),
                prop::collection::btree_map("[\\[{\"\\\\]{0,3}", inner, 0..3)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn depth(tree: &serde_json::Value) -> usize {
        match tree {
            serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            serde_json::Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}
