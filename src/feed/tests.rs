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
    Brought::from([(home(), vec![change("todo", stamp)])])
}

fn change(app: &str, stamp: Stamp) -> Arc<Entry> {
    Arc::new(Entry {
        stamp,
        app: AppId::new(app).unwrap(),
        table: TableName::new("tasks").unwrap(),
        author: UserId::new("bob").unwrap(),
        client: None,
        json: bytes::Bytes::from_static(b"{}"),
        event: std::sync::OnceLock::new(),
    })
}

/// A stream that follows one app.
struct Stream {
    following: Following,
    app: AppFeeds,
}

fn stream(feeds: &Arc<Feeds>) -> Stream {
    let following = Following::begin(Arc::clone(feeds), alice().user().clone());
    let app = following.app(alice());
    Stream { following, app }
}

fn take(stream: &Stream, cursor: Stamp) -> Caught {
    let apps = std::iter::once((&stream.app, Cursor::at(cursor)));
    stream.following.take(apps, &Tables::All, 1_000)
}

#[test]
fn a_feed_followed_while_a_step_is_named_does_not_claim_what_the_step_left_out() {
    let feeds = feeds();
    feeds.aim(STEP);
    // The feed is followed when the database has been asked what moved, for others.
    let mut stream = stream(&feeds);
    stream.app.set_spaces(&[SpaceId::new("home").unwrap()]);
    let step = feeds.begin(STEP, &[]);
    feeds.publish(&step, Some(Brought::new()), &[], &mut Ages::default());
    assert!(matches!(take(&stream, START), Caught::Behind(Behind::App(0))));
    assert!(matches!(take(&stream, STEP), Caught::Up(_)));
}

#[test]
fn a_feed_followed_while_a_step_is_read_does_not_claim_what_the_step_brought() {
    let feeds = feeds();
    let step = feeds.begin(STEP, &[Move::Feed(home(), None)]);
    let mut stream = stream(&feeds);
    stream.app.set_spaces(&[SpaceId::new("home").unwrap()]);
    feeds.publish(&step, Some(brought(STEP)), &[], &mut Ages::default());
    assert!(matches!(take(&stream, START), Caught::Behind(Behind::App(0))));
}

#[test]
fn a_feed_followed_before_a_step_holds_what_the_step_brought() {
    let feeds = feeds();
    let mut stream = stream(&feeds);
    stream.app.set_spaces(&[SpaceId::new("home").unwrap()]);
    let step = feeds.begin(STEP, &[Move::Feed(home(), None)]);
    assert!(matches!(take(&stream, START), Caught::Up(taken) if taken.entries.is_empty()));
    feeds.publish(&step, Some(brought(STEP)), &[], &mut Ages::default());
    let Caught::Up(taken) = take(&stream, START) else { panic!("it is behind") };
    assert_eq!((taken.entries.len(), taken.until, taken.more), (1, STEP, false));
}

#[test]
fn a_step_that_could_not_be_read_sends_followers_to_the_database() {
    let feeds = feeds();
    let mut stream = stream(&feeds);
    stream.app.set_spaces(&[SpaceId::new("home").unwrap()]);
    let step = feeds.begin(STEP, &[Move::Feed(home(), None)]);
    feeds.publish(&step, None, &[], &mut Ages::default());
    assert!(matches!(take(&stream, START), Caught::Behind(Behind::App(0))));
    assert!(matches!(take(&stream, STEP), Caught::Up(_)));
}

#[test]
fn a_step_in_which_memberships_moved_sends_its_followers_to_the_database() {
    let feeds = feeds();
    let stream = stream(&feeds);
    let moves = [Move::Members(UserId::new("alice").unwrap())];
    let step = feeds.begin(STEP, &moves);
    feeds.publish(&step, Some(Brought::new()), &moves, &mut Ages::default());
    assert!(matches!(take(&stream, START), Caught::Behind(Behind::All(None))));
    stream.following.asking_members();
    assert!(matches!(take(&stream, START), Caught::Up(_)));
}

/// Two apps of one stream, the second read further than the first.
#[test]
fn apps_are_taken_from_where_each_was_read_and_merged_by_stamp() {
    let feeds = feeds();
    let Stream { following, app: todo } = stream(&feeds);
    let notes_of_alice = Reader::grant(
        alice().user().clone(),
        AppId::new("notes").unwrap(),
        alice().client().cloned(),
    );
    let notes = following.app(notes_of_alice.clone());
    let own = |reader: &Reader| FeedId {
        owner: Owner::User(reader.user().clone()),
        app: reader.app().clone(),
    };
    let at = Stamp::from_micros;
    let moves = [Move::Feed(own(&alice()), None), Move::Feed(own(&notes_of_alice), None)];
    let step = feeds.begin(STEP, &moves);
    let brought = Brought::from([
        (own(&alice()), vec![change("todo", at(1_100)), change("todo", at(1_300))]),
        (own(&notes_of_alice), vec![change("notes", at(1_200)), change("notes", at(1_400))]),
    ]);
    feeds.publish(&step, Some(brought), &[], &mut Ages::default());
    let take = |notes_at| {
        let apps = [(&todo, Cursor::at(START)), (&notes, Cursor::at(notes_at))];
        following.take(apps.into_iter(), &Tables::All, 1_000)
    };
    let Caught::Up(taken) = take(at(1_250)) else { panic!("it is behind") };
    let stamps: Vec<i64> = taken.entries.iter().map(|entry| entry.stamp.micros()).collect();
    assert_eq!((stamps, taken.until, taken.more), (vec![1_100, 1_300, 1_400], STEP, false));
    // One of them beyond the watermark: it has nothing, the other is not told beyond what it has.
    let Caught::Up(taken) = take(at(3_000)) else { panic!("it is behind") };
    assert_eq!((taken.entries.len(), taken.until), (2, STEP));
    // One of them can't be taken from: it is named.
    let before = [(&todo, Cursor::at(STEP)), (&notes, Cursor::at(at(900)))];
    let caught = following.take(before.into_iter(), &Tables::All, 1_000);
    assert!(matches!(caught, Caught::Behind(Behind::App(1))), "{caught:?}");
}
