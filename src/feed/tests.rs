use super::*;
use crate::grant::Reader;
use crate::id::{AppId, SpaceId, TableName};
use crate::protocol::{Cursor, Tables};

const START: Stamp = Stamp::from_micros(1_000);
const STEP: Stamp = Stamp::from_micros(2_000);

fn feeds() -> Arc<Feeds> {
    Arc::new(Feeds::new(START, 1_000_000))
}

fn alice() -> Reader {
    Reader::grant(UserId::new("alice").unwrap(), AppId::new("todo").unwrap(), None)
}

fn home() -> FeedId {
    let space = SpaceId::new("home").unwrap();
    FeedId { owner: Owner::Space(space), app: AppId::new("todo").unwrap() }
}

/// A change in the space, which a step brought.
fn brought(stamp: Stamp) -> Brought {
    let entry = Entry {
        stamp,
        table: TableName::new("tasks").unwrap(),
        author: UserId::new("bob").unwrap(),
        client: None,
        json: bytes::Bytes::from_static(b"{}"),
        event: std::sync::OnceLock::new(),
    };
    Brought::from([(home(), vec![Arc::new(entry)])])
}

fn take(following: &Following, cursor: Stamp) -> Caught {
    following.take(Cursor::at(cursor), &Tables::All, 1_000)
}

#[test]
fn a_feed_followed_while_a_step_is_named_does_not_claim_what_the_step_left_out() {
    let feeds = feeds();
    feeds.aim(STEP);
    // The feed is followed when the database has been asked what moved, for others.
    let mut following = Following::begin(Arc::clone(&feeds), alice());
    following.set_spaces(&[SpaceId::new("home").unwrap()]);
    let step = feeds.begin(STEP, &[]);
    feeds.publish(&step, Some(Brought::new()), &[], &mut Ages::default());
    assert!(matches!(take(&following, START), Caught::Behind(None)));
    assert!(matches!(take(&following, STEP), Caught::Up(_)));
}

#[test]
fn a_feed_followed_while_a_step_is_read_does_not_claim_what_the_step_brought() {
    let feeds = feeds();
    let step = feeds.begin(STEP, &[Move::Feed(home(), None)]);
    let mut following = Following::begin(Arc::clone(&feeds), alice());
    following.set_spaces(&[SpaceId::new("home").unwrap()]);
    feeds.publish(&step, Some(brought(STEP)), &[], &mut Ages::default());
    assert!(matches!(take(&following, START), Caught::Behind(None)));
}

#[test]
fn a_feed_followed_before_a_step_holds_what_the_step_brought() {
    let feeds = feeds();
    let mut following = Following::begin(Arc::clone(&feeds), alice());
    following.set_spaces(&[SpaceId::new("home").unwrap()]);
    let step = feeds.begin(STEP, &[Move::Feed(home(), None)]);
    assert!(matches!(take(&following, START), Caught::Up(taken) if taken.entries.is_empty()));
    feeds.publish(&step, Some(brought(STEP)), &[], &mut Ages::default());
    let Caught::Up(taken) = take(&following, START) else { panic!("it is behind") };
    assert_eq!((taken.entries.len(), taken.until, taken.more), (1, STEP, false));
}

#[test]
fn a_step_that_could_not_be_read_sends_followers_to_the_database() {
    let feeds = feeds();
    let mut following = Following::begin(Arc::clone(&feeds), alice());
    following.set_spaces(&[SpaceId::new("home").unwrap()]);
    let step = feeds.begin(STEP, &[Move::Feed(home(), None)]);
    feeds.publish(&step, None, &[], &mut Ages::default());
    assert!(matches!(take(&following, START), Caught::Behind(None)));
    assert!(matches!(take(&following, STEP), Caught::Up(_)));
}

#[test]
fn a_step_in_which_memberships_moved_sends_its_followers_to_the_database() {
    let feeds = feeds();
    let following = Following::begin(Arc::clone(&feeds), alice());
    let moves = [Move::Members(UserId::new("alice").unwrap())];
    let step = feeds.begin(STEP, &moves);
    feeds.publish(&step, Some(Brought::new()), &moves, &mut Ages::default());
    assert!(matches!(take(&following, START), Caught::Behind(None)));
    following.asking_members();
    assert!(matches!(take(&following, START), Caught::Up(_)));
}
