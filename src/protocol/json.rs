//! JSON as text: the members of an object, strings, and copies that fit on one line.
//!
//! Values stay slices of the text they came in. `serde_json` passes over a [`RawValue`] without
//! recursion, so no nesting can exhaust the stack.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2, memmem};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Hands the members of an object to a closure, key and value as they stand in the text.
pub(super) struct Members<F>(pub(super) F);

impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> DeserializeSeed<'de> for Members<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry()? {
            (self.0)(key, value);
        }
        Ok(())
    }
}

/// Calls `member` with each member of the object in `text`, and says whether it is an object.
pub(super) fn each_member<'a>(
    text: &'a str,
    member: impl FnMut(&'a RawValue, &'a RawValue),
) -> bool {
    serde_json::Deserializer::from_str(text).deserialize_any(Members(member)).is_ok()
}

/// The value of the object's last member of that name, which has ASCII letters only; `null`
/// counts as none. An object that can't have it is not parsed.
pub(super) fn member<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    if memmem::find(object.as_bytes(), name.as_bytes()).is_none() && !escapes_letters(object) {
        return None;
    }
    let mut found = None;
    each_member(object, |key, value| {
        if string(key).is_some_and(|key| key == name) {
            found = given(value);
        }
    });
    found
}

/// Whether some letter may be spelled as `\uXXXX`, so that a search for a name could miss it.
fn escapes_letters(text: &str) -> bool {
    let text = text.as_bytes();
    memmem::find_iter(text, br"\u00").any(|at| matches!(text.get(at + 4), Some(b'4'..=b'7')))
}

/// The value, where it is not `null`.
pub(super) fn given(value: &RawValue) -> Option<&RawValue> {
    (value.get() != "null").then_some(value)
}

/// The text of a JSON string; none where the value is no string.
pub(super) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get();
    let text = quoted.strip_prefix('"')?.strip_suffix('"')?;
    match memchr(b'\\', text.as_bytes()) {
        None => Some(Cow::Borrowed(text)),
        Some(_) => serde_json::from_str(quoted).ok().map(Cow::Owned),
    }
}

/// Whether the value is an object.
pub(super) fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Appends `text` as a JSON string.
pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    // Nothing can fail in writing a string to memory.
    drop(serde_json::to_writer(out, text));
}

/// Appends the JSON `text` on one line. Raw line ends are legal in JSON only between tokens,
/// where a space says the same; in an event they would end the line.
pub(super) fn put_raw(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(end) = memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..end]);
        out.push(b' ');
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends what `items` put, commas between.
pub(super) fn put_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        put(out, item);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn members_come_as_they_stand() {
        let mut seen = Vec::new();
        let text = " {\"a\" : 1.50 ,\n\"\\u0062\":[ 1 ] , \"a\":\"x\"} ";
        assert!(each_member(text, |key, value| seen.push((key.get(), value.get()))));
        assert_eq!(seen, [("\"a\"", "1.50"), ("\"\\u0062\"", "[ 1 ]"), ("\"a\"", "\"x\"")]);
        for text in ["[]", "null", "1", "\"{}\"", "", "{"] {
            assert!(!each_member(text, |_, _| ()), "{text}");
        }
    }

    #[test]
    fn a_member_is_found_by_its_name() {
        let find = |object: &str| member(object, "spaceId").map(|value| value.get().to_owned());
        for (object, value) in [
            (r#"{"a":1,"spaceId":"x"}"#, Some("\"x\"")),
            (r#"{"spaceId":"x","spaceId":"y"}"#, Some("\"y\"")),
            (r#"{"spaceId":"x","spaceId":null}"#, None),
            (r#"{"a":{"spaceId":"x"},"b":"spaceId"}"#, None),
            (r#"{"a":1}"#, None),
            (r#"{"\u0073paceId":1}"#, Some("1")),
            (r#"{"\u00e4":"\u00e4","\u0073\u0070aceI\u0064":1}"#, Some("1")),
            (r#"{"space\u0049d":1}"#, Some("1")),
            (r#"{"a":"\u00e4 \u003c \u00"}"#, None),
        ] {
            assert_eq!(find(object).as_deref(), value, "{object}");
        }
    }

    #[test]
    fn a_string_is_borrowed_where_it_can_be() {
        assert!(matches!(string(raw("\"ä\"")), Some(Cow::Borrowed("ä"))));
        assert_eq!(string(raw(r#""a\"\u00e4\\""#)).as_deref(), Some("a\"ä\\"));
        assert_eq!(string(raw("\"\"")).as_deref(), Some(""));
        for other in ["1", "null", "{}", "[\"a\"]"] {
            assert_eq!(string(raw(other)), None, "{other}");
        }
    }

    #[test]
    fn raw_text_is_put_on_one_line() {
        let mut out = Vec::new();
        put_raw(&mut out, "{\r\n  \"a\\n\": 1\n}");
        assert_eq!(String::from_utf8(out).unwrap(), "{    \"a\\n\": 1 }");
    }

    proptest! {
        #[test]
        fn a_string_comes_back(text in any::<String>()) {
            let mut out = Vec::new();
            put_string(&mut out, &text);
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.contains(['\n', '\r']));
            prop_assert_eq!(string(raw(&out)).unwrap(), text);
        }
    }
}
