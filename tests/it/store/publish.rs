//! Publishing what was written before membership was verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mana_sync::id::{SpaceId, UserId};
use mana_sync::store::{Ask, Store};

use super::sql::{Ear, append, shared, store, value, values};
use crate::support::{World, psql};

const LIFE: Duration = Duration::from_mins(5);

/// Asks and answers, as the directory does.
pub async fn verify(store: &Store, user: &str, spaces: &[&str]) {
    let user = UserId::new(user).unwrap();
    let spaces: Vec<_> = spaces.iter().map(|space| SpaceId::new(space).unwrap()).collect();
    let (Ask::You(question), _) = store.ask(&user, Duration::ZERO, Duration::ZERO).await.unwrap()
    else {
        panic!("nobody else asks")
    };
    assert!(store.answer(&user, question, &spaces).await.unwrap().kept);
}

#[tokio::test]
async fn what_waits_is_published_oldest_first_and_before_anything_newer() {
    let world = World::new().await;
    let store = store(&world);
    let mut sql = world.sql().await;
    for _ in 0..20 {
        let unpublished = append(&mut sql, &[shared("alice", "home"), shared("bob", "home")]).await;
        assert_eq!(unpublished.unpublished, [1, 2]);
    }
    verify(&store, "alice", &["home"]).await;
    assert_eq!(store.publishing().await.unwrap(), [UserId::new("alice").unwrap()]);
    // The author goes on writing while two publish in pages of two.
    let done = Arc::new(AtomicBool::new(false));
    let (mut writer, is_done) = (world.sql().await, Arc::clone(&done));
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while !is_done.load(Ordering::SeqCst) || written == 0 {
            append(&mut writer, &[shared("alice", "home")]).await;
            written += 1;
        }
        written
    });
    let mut other = world.sql().await;
    let publish = "call sync_publish('alice', 2)";
    tokio::join!(psql(&mut sql, publish), psql(&mut other, publish));
    done.store(true, Ordering::SeqCst);
    let written = writing.await.unwrap();
    store.publish(&UserId::new("alice").unwrap()).await.unwrap();
    assert_eq!(store.publishing().await.unwrap(), []);

    let mut admin = world.admin().await;
    let own = "select created_at from sync_changes where user_id = 'alice' order by ";
    let written_order: Vec<mana_sync::id::Stamp> =
        values(&mut admin, &format!("{own} created_at")).await;
    let feed_order = values(&mut admin, &format!("{own} space_at, created_at")).await;
    assert_eq!(written_order.len(), 20 + written);
    assert_eq!(written_order, feed_order);
    let count = async |sql: &mut _, of: &str| {
        let query = format!("select count({of}), count(*) from sync_changes where user_id = ");
        let alice: i64 = value(sql, &format!("{query} 'alice'")).await;
        let bob: i64 = value(sql, &format!("{query} 'bob'")).await;
        (alice, bob)
    };
    let all = i64::try_from(20 + written).unwrap();
    assert_eq!(count(&mut admin, "distinct space_at").await, (all, 0));
}

#[tokio::test]
async fn each_page_rings_the_space_and_its_author_in_its_own_run() {
    let world = World::new().await;
    let store = store(&world);
    append(&mut world.sql().await, &vec![shared("alice", "home"); 1]).await;
    let rows: Vec<_> = (0..4).map(|_| shared("alice", "home")).collect();
    append(&mut world.sql().await, &rows).await;
    verify(&store, "alice", &["home"]).await;
    let mut ear = Ear::new(&world).await;
    psql(&mut world.sql().await, "call sync_publish('alice', 2)").await;
    let (mut chain, mut published) = (store.clock().await.unwrap().micros(), 0);
    let rings = [ear.ring().await, ear.ring().await, ear.ring().await];
    for ring in rings.iter().rev() {
        assert_eq!(ring.last.micros(), chain);
        assert!(format!("{:?}", ring.moves).contains("Space(SpaceId(\"home\"))"), "{ring:?}");
        assert!(format!("{:?}", ring.moves).contains("Members(UserId(\"alice\"))"), "{ring:?}");
        assert_eq!(ring.moves.len(), 2);
        (chain, published) = (ring.prev.micros(), published + 1);
    }
    assert_eq!(published, 3, "two pages of two, and one of one");
}

#[tokio::test]
async fn a_space_is_open_from_the_end_of_publishing_on() {
    let world = World::new().await;
    let store = store(&world);
    verify(&store, "alice", &["home"]).await;
    let mut sql = world.sql().await;
    let before = append(&mut sql, &[shared("alice", "home")]).await;
    assert_eq!(before.unpublished, [1], "until that is done, further changes wait too");
    store.publish(&UserId::new("alice").unwrap()).await.unwrap();
    let after = append(&mut sql, &[shared("alice", "home"), shared("alice", "work")]).await;
    assert_eq!(after.unpublished, [2]);
    let (ask, verified) = store.ask(&UserId::new("alice").unwrap(), LIFE, LIFE).await.unwrap();
    assert!(verified && matches!(ask, Ask::Fresh(_)));
}

#[tokio::test]
async fn publishing_nothing_is_no_error_and_rings_nothing() {
    let world = World::new().await;
    let store = store(&world);
    let mut ear = Ear::new(&world).await;
    store.publish(&UserId::new("nobody").unwrap()).await.unwrap();
    let beat = store.beat().await.unwrap();
    assert_eq!(ear.text().await, format!("{{\"c\":{}}}", beat.micros()));
}
