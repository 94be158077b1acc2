//! JSON that loses nothing: numbers stay the text that they came as.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON value; two are equal when no reader could tell them apart, digit for digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// `null`, `true`, `false`, or a number, as it is spelled.
    Token(String),
    Text(String),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
}

impl Tree {
    /// Reads JSON text.
    pub fn parse(json: &str) -> Self {
        let json = json.trim();
        match json.as_bytes()[0] {
            b'{' => {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap();
                Self::Map(members.into_iter().map(|(k, v)| (k, Self::parse(v.get()))).collect())
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(json).unwrap();
                Self::List(items.iter().map(|item| Self::parse(item.get())).collect())
            }
            b'"' => Self::Text(serde_json::from_str(json).unwrap()),
            _ => Self::Token(json.to_owned()),
        }
    }

    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The text, where it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The items of a list.
    pub fn into_items(self) -> Vec<Self> {
        if let Self::List(items) = self { items } else { panic!("{self:?} is no list") }
    }

    /// The members of an object.
    pub fn members(&self) -> &BTreeMap<String, Self> {
        if let Self::Map(members) = self { members } else { panic!("{self:?} is no object") }
    }

    /// The members of an object.
    pub fn into_members(self) -> BTreeMap<String, Self> {
        if let Self::Map(members) = self { members } else { panic!("{self:?} is no object") }
    }

    /// Whether this or anything in it is so; names of members count as texts.
    pub fn any(&self, so: &impl Fn(&Self) -> bool) -> bool {
        so(self)
            || match self {
                Self::Token(_) | Self::Text(_) => false,
                Self::List(items) => items.iter().any(|item| item.any(so)),
                Self::Map(members) => {
                    members.iter().any(|(name, value)| so(&Self::text(name)) || value.any(so))
                }
            }
    }

    /// How many objects stand in each other here.
    pub fn depth(&self) -> usize {
        let deepest = |of: &mut dyn Iterator<Item = &Self>| of.map(Self::depth).max().unwrap_or(0);
        match self {
            Self::Token(_) | Self::Text(_) => 0,
            Self::List(items) => deepest(&mut items.iter()),
            Self::Map(members) => 1 + deepest(&mut members.values()),
        }
    }

    /// A member of an object; `null` is as good as none.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members().get(name).filter(|value| **value != Self::Token("null".to_owned()))
    }
}

#[test]
fn digits_count_and_the_order_of_keys_does_not() {
    assert_eq!(Tree::parse(r#"{"a": 1, "b": [null]}"#), Tree::parse(r#"{"b":[ null ],"a":1}"#));
    assert_ne!(Tree::parse("[9007199254740993]"), Tree::parse("[9007199254740992]"));
    assert_ne!(Tree::parse("1.0"), Tree::parse("1.00"));
    assert_eq!(Tree::parse(r#""\u00e9""#), Tree::parse("\"é\""));
}
