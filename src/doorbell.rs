//! What Postgres' NOTIFY brings: doorbells, never data.
//!
//! A ring says that a run of stamps has ended and which feeds moved in it; a heartbeat carries the
//! clock. Both are short JSON texts, written by `sync_ring` and `sync_beat` (migrations/).

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use crate::id::{AppId, SpaceId, Stamp, TableName, UserId};

/// The channel of LISTEN and NOTIFY.
pub const CHANNEL: &str = "sync_changes";

/// Whose feed: a user's (all that the user wrote) or a space's (all that was published in it).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The feed of an author.
    User(UserId),
    /// The feed of a space.
    Space(SpaceId),
}

/// An ordered log of changes of one app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeedId {
    /// Whose log it is.
    pub owner: Owner,
    /// The app whose changes it holds.
    pub app: AppId,
}

/// A feed that is followed; without an app, all of its owner's.
pub type Followed = (Owner, Option<AppId>);

/// What a ring says has moved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Move {
    /// A feed has new changes, in these tables; `None` where they were too many to name.
    Feed(FeedId, Option<Arc<[TableName]>>),
    /// A user's memberships are not what they were.
    Members(UserId),
}

/// One notification: a part of a ring, or a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doorbell {
    /// The run `(prev, last]` has ended.
    Ring(Ring),
    /// The clock, as it stood.
    Clock(Stamp),
}

/// A ring, or one of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// The stamp given before the run.
    pub prev: Stamp,
    /// The last stamp of the run.
    pub last: Stamp,
    /// Whether more parts of this ring follow.
    pub more: bool,
    /// What moved.
    pub moves: Vec<Move>,
}

/// A payload that no node of ours has written.
#[derive(Debug, thiserror::Error)]
#[error("not a doorbell: {0}")]
pub struct BadDoorbell(#[from] serde_json::Error);

#[derive(Deserialize)]
#[serde(untagged)]
enum Wire<'a> {
    Clock {
        c: i64,
    },
    Ring {
        p: i64,
        l: i64,
        n: u8,
        #[serde(borrow)]
        m: Vec<WireMove<'a>>,
    },
}

/// Kind, owner, app, tables.
type WireMove<'a> = (Cow<'a, str>, Cow<'a, str>, Option<Cow<'a, str>>, Option<Vec<Cow<'a, str>>>);

impl Doorbell {
    /// Reads a payload. Moves of ids that no client can have (programs may write any text by
    /// SQL) are passed over.
    ///
    /// # Errors
    /// [`BadDoorbell`] where the payload is no doorbell at all.
    pub fn parse(payload: &str) -> Result<Self, BadDoorbell> {
        Ok(match serde_json::from_str(payload)? {
            Wire::Clock { c } => Self::Clock(Stamp::from_micros(c)),
            Wire::Ring { p, l, n, m } => Self::Ring(Ring {
                prev: Stamp::from_micros(p),
                last: Stamp::from_micros(l),
                more: n > 0,
                moves: m.iter().filter_map(read_move).collect(),
            }),
        })
    }
}

fn read_move((kind, owner, app, tables): &WireMove<'_>) -> Option<Move> {
    let owner = match &**kind {
        "m" => return Some(Move::Members(UserId::new(owner).ok()?)),
        "u" => Owner::User(UserId::new(owner).ok()?),
        "s" => Owner::Space(SpaceId::new(owner).ok()?),
        _ => return None,
    };
    let tables = tables
        .as_ref()
        .map(|names| names.iter().filter_map(|name| TableName::new(name).ok()).collect());
    Some(Move::Feed(FeedId { owner, app: AppId::new(app.as_deref()?).ok()? }, tables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_names_feeds_and_a_heartbeat_the_clock() {
        let ring = r#"{"p":1,"l":9,"n":1,"m":[["u","a","todo",["x","y"]],["s","o","todo",null],
                      ["m","b",null,null],["u","","todo",[]]]}"#;
        let feed = |owner| FeedId { owner, app: AppId::new("todo").unwrap() };
        let tables = ["x", "y"].map(|t| TableName::new(t).unwrap()).into();
        assert_eq!(
            Doorbell::parse(ring).unwrap(),
            Doorbell::Ring(Ring {
                prev: Stamp::from_micros(1),
                last: Stamp::from_micros(9),
                more: true,
                moves: vec![
                    Move::Feed(feed(Owner::User(UserId::new("a").unwrap())), Some(tables)),
                    Move::Feed(feed(Owner::Space(SpaceId::new("o").unwrap())), None),
                    Move::Members(UserId::new("b").unwrap()),
                ],
            })
        );
        assert_eq!(Doorbell::parse(r#"{"c":7}"#).unwrap(), Doorbell::Clock(Stamp::from_micros(7)));
        assert!(Doorbell::parse("hello").is_err());
    }
}
