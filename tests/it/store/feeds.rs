//! Reading feeds for a step of the watermark, and naming what moved in a gap.

use mana_sync::doorbell::{FeedId, Move, Owner};
use mana_sync::id::{AppId, SpaceId, Stamp, UserId};
use mana_sync::store::{FeedRow, FeedsRead};

use super::sql::{append, join, row, shared, store};
use crate::support::{World, psql};

const MANY: usize = 1000;
const LARGE: usize = 4_000_000;

fn user(name: &str) -> FeedId {
    FeedId { owner: Owner::User(UserId::new(name).unwrap()), app: AppId::new("todo").unwrap() }
}

fn space(name: &str) -> FeedId {
    FeedId { owner: Owner::Space(SpaceId::new(name).unwrap()), app: AppId::new("todo").unwrap() }
}

fn rows(read: FeedsRead) -> Vec<FeedRow> {
    match read {
        FeedsRead::Rows(rows) => rows,
        FeedsRead::TooMuch => panic!("too much"),
    }
}

/// Alice is in `home`, and so is Bob; each writes a change of its own and one of the space.
async fn step(world: &World) -> (Stamp, Stamp) {
    let mut admin = world.admin().await;
    join(&mut admin, "alice", "home").await;
    join(&mut admin, "bob", "home").await;
    let low = store(world).clock().await.unwrap();
    let batch = [row("alice"), shared("alice", "home"), row("bob"), shared("bob", "home")];
    (low, append(&mut world.sql().await, &batch).await.last)
}

#[tokio::test]
async fn a_row_of_two_named_feeds_comes_once_and_says_both() {
    let world = World::new().await;
    let (low, high) = step(&world).await;
    let store = store(&world);
    let feeds = [user("alice"), space("home"), user("nobody")];
    let mut read = rows(store.feeds(&feeds, (low, high), MANY, LARGE).await.unwrap());
    read.sort_by_key(|row| row.change.stamp);
    let authors: Vec<_> = read.iter().map(|row| row.author.as_str()).collect();
    assert_eq!(authors, ["alice", "alice", "bob"], "Bob's own feed was not asked for");
    let published: Vec<_> = read.iter().map(|row| row.published.clone()).collect();
    let entered = |row: usize| Some(("home".to_owned(), read[row].change.stamp));
    assert_eq!(published, [None, entered(1), entered(2)]);
    assert!(read.iter().all(|row| row.app == "todo" && row.client.is_none()));
}

#[tokio::test]
async fn only_the_stretch_is_read_with_its_end_and_without_its_beginning() {
    let world = World::new().await;
    let (low, high) = step(&world).await;
    let store = store(&world);
    let feeds = [user("alice"), user("bob")];
    let micros = |stamp: Stamp, by: i64| Stamp::from_micros(stamp.micros() + by);
    for (stretch, count) in [
        ((low, high), 4),
        ((low, micros(high, -1)), 3),
        ((micros(high, -1), high), 1),
        ((high, high), 0),
    ] {
        let read = rows(store.feeds(&feeds, stretch, MANY, LARGE).await.unwrap());
        assert_eq!(read.len(), count);
    }
}

#[tokio::test]
async fn another_app_and_an_unpublished_change_are_not_of_the_feed() {
    let world = World::new().await;
    let (low, _) = step(&world).await;
    let store = store(&world);
    let high = append(&mut world.sql().await, &[shared("carol", "home")]).await.last;
    let read = rows(store.feeds(&[space("home")], (low, high), MANY, LARGE).await.unwrap());
    assert_eq!(read.len(), 2, "Carol is no member");
    let other = FeedId { app: AppId::new("notes").unwrap(), ..space("home") };
    assert!(rows(store.feeds(&[other], (low, high), MANY, LARGE).await.unwrap()).is_empty());
    assert!(rows(store.feeds(&[], (low, high), MANY, LARGE).await.unwrap()).is_empty());
}

#[tokio::test]
async fn a_step_beyond_its_bounds_is_cut() {
    let world = World::new().await;
    let (low, high) = step(&world).await;
    let store = store(&world);
    let feeds = [user("alice"), space("home")];
    let read = async |rows, bytes| store.feeds(&feeds, (low, high), rows, bytes).await.unwrap();
    assert!(matches!(read(2, LARGE).await, FeedsRead::TooMuch));
    assert_eq!(rows(read(3, LARGE).await).len(), 3);
    assert!(matches!(read(MANY, 100).await, FeedsRead::TooMuch));
}

#[tokio::test]
async fn a_gap_names_what_moved_in_it() {
    let world = World::new().await;
    let store = store(&world);
    let (low, high) = step(&world).await;
    let user_of = |name: &str| Owner::User(UserId::new(name).unwrap());
    let todo = || Some(AppId::new("todo").unwrap());
    let home = || Owner::Space(SpaceId::new("home").unwrap());
    let tables = || Some([mana_sync::id::TableName::new("tasks").unwrap()].into());
    for app in [todo(), None] {
        let moved = store.moved(&[(user_of("alice"), app.clone())], (low, high)).await.unwrap();
        assert_eq!(moved, [Move::Feed(user("alice"), tables())], "in {app:?}");
        let moved = store.moved(&[(home(), app.clone())], (low, high)).await.unwrap();
        assert_eq!(moved, [Move::Feed(space("home"), tables())], "in {app:?}");
    }
    let other = Some(AppId::new("other").unwrap());
    let still = [(user_of("nobody"), None), (user_of("alice"), other)];
    assert!(store.moved(&still, (low, high)).await.unwrap().is_empty());
    let all = [(user_of("alice"), todo()), (user_of("bob"), None), (home(), todo())];
    assert!(store.moved(&all, (high, high)).await.unwrap().is_empty());

    store.invalidate(&UserId::new("alice").unwrap()).await.unwrap();
    let now = store.clock().await.unwrap();
    let moved = store.moved(&all, (high, now)).await.unwrap();
    assert_eq!(moved, [Move::Members(UserId::new("alice").unwrap())]);
}

#[tokio::test]
async fn what_was_published_late_moved_the_space_and_who_wrote_it() {
    let world = World::new().await;
    let store = store(&world);
    append(&mut world.sql().await, &[shared("alice", "home")]).await;
    super::publish::verify(&store, "alice", &["home"]).await;
    let low = store.clock().await.unwrap();
    psql(&mut world.sql().await, "call sync_publish('alice', 10)").await;
    let high = store.clock().await.unwrap();
    let alice = Owner::User(UserId::new("alice").unwrap());
    let home = Owner::Space(SpaceId::new("home").unwrap());
    let moved = store.moved(&[(alice, None), (home, None)], (low, high)).await.unwrap();
    let [Move::Feed(feed, _), Move::Members(author)] = &moved[..] else { panic!("{moved:?}") };
    assert_eq!((feed, author.as_str()), (&space("home"), "alice"));
    let feeds = [user("alice"), space("home")];
    let read = rows(store.feeds(&feeds, (low, high), MANY, LARGE).await.unwrap());
    assert_eq!(read.len(), 1);
    // The last stamp is the joining's.
    let at = Stamp::from_micros(high.micros() - 1);
    assert_eq!(read[0].published, Some(("home".to_owned(), at)));
    assert!(read[0].change.stamp < low, "its author wrote it before");
}
