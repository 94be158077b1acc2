//! Memberships: one asks for the fleet, the latest answer holds, and each change rings.

use std::time::Duration;

use mana_sync::doorbell::Move;
use mana_sync::id::{SpaceId, Stamp, UserId};
use mana_sync::store::{Answered, Ask, Store};
use tokio::task::JoinSet;

use super::publish::verify;
use super::sql::{Ear, store, value};
use crate::support::World;

const LIFE: Duration = Duration::from_mins(5);
const LEASE: Duration = Duration::from_secs(5);

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

async fn question(store: &Store, life: Duration, lease: Duration) -> i64 {
    match store.ask(&alice(), life, lease).await.unwrap() {
        (Ask::You(question), _) => question,
        other => panic!("not asked: {other:?}"),
    }
}

fn home() -> Vec<SpaceId> {
    vec![SpaceId::new("home").unwrap()]
}

async fn joined_at(world: &World) -> Option<Stamp> {
    value(&mut world.admin().await, "select max(joined_at) from sync_members").await
}

#[tokio::test]
async fn one_of_many_that_want_to_know_asks() {
    let world = World::new().await;
    let store = store(&world);
    for _ in 0..10 {
        let mut askers = JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            askers.spawn(async move { store.ask(&alice(), LIFE, LEASE).await.unwrap() });
        }
        let answers = askers.join_all().await;
        let asked: Vec<_> = answers
            .iter()
            .filter_map(
                |(ask, _)| if let Ask::You(question) = ask { Some(*question) } else { None },
            )
            .collect();
        assert_eq!(asked.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|(_, verified)| !verified));
        store.unanswered(&alice(), asked[0]).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_holds_for_its_life_and_a_question_for_its_lease() {
    let world = World::new().await;
    let store = store(&world);
    let first = question(&store, LIFE, LEASE).await;
    assert_eq!(store.ask(&alice(), LIFE, LEASE).await.unwrap(), (Ask::Another, false));
    // The lease is over: another asks, and only its answer is kept.
    let second = question(&store, LIFE, Duration::ZERO).await;
    let late = store.answer(&alice(), first, &home()).await.unwrap();
    assert_eq!(late, Answered { kept: false, moved: false });
    assert_eq!(store.spaces(&alice()).await.unwrap(), None);
    let kept = store.answer(&alice(), second, &home()).await.unwrap();
    assert_eq!(kept, Answered { kept: true, moved: true });
    assert_eq!(store.spaces(&alice()).await.unwrap(), Some(home()));
    let (ask, verified) = store.ask(&alice(), LIFE, LEASE).await.unwrap();
    let Ask::Fresh(left) = ask else { panic!("{ask:?}") };
    assert!(verified && left <= LIFE && left > LIFE / 2, "{left:?}");
    // Its life is over: it is asked again, and the old answer goes on until then.
    question(&store, Duration::ZERO, LEASE).await;
    assert_eq!(store.ask(&alice(), Duration::ZERO, LEASE).await.unwrap(), (Ask::Another, true));
}

#[tokio::test]
async fn a_question_given_back_late_does_not_take_anothers() {
    let world = World::new().await;
    let store = store(&world);
    let first = question(&store, LIFE, LEASE).await;
    question(&store, LIFE, Duration::ZERO).await;
    store.unanswered(&alice(), first).await.unwrap();
    assert_eq!(store.ask(&alice(), LIFE, LEASE).await.unwrap(), (Ask::Another, false));
}

#[tokio::test]
async fn an_answer_from_before_an_invalidation_is_not_kept() {
    let world = World::new().await;
    let store = store(&world);
    verify(&store, "alice", &["home"]).await;
    let asked = question(&store, Duration::ZERO, LEASE).await;
    store.invalidate(&alice()).await.unwrap();
    assert_eq!(store.spaces(&alice()).await.unwrap(), None, "the old answer grants nothing");
    let stale = store.answer(&alice(), asked, &home()).await.unwrap();
    assert_eq!(stale, Answered { kept: false, moved: false });
    assert_eq!(store.spaces(&alice()).await.unwrap(), None);
    // It is asked at once, though the question before is not over.
    let again = question(&store, LIFE, LEASE).await;
    assert!(store.answer(&alice(), again, &home()).await.unwrap().moved);
    assert_eq!(store.spaces(&alice()).await.unwrap(), Some(home()));
}

#[tokio::test]
async fn joining_has_a_fresh_stamp_and_staying_keeps_it() {
    let world = World::new().await;
    let store = store(&world);
    let before = store.clock().await.unwrap();
    verify(&store, "alice", &["home"]).await;
    let joined = joined_at(&world).await.unwrap();
    assert_eq!(joined, store.clock().await.unwrap());
    assert!(joined > before);
    let mut ear = Ear::new(&world).await;
    let stays = question(&store, Duration::ZERO, LEASE).await;
    let same = store.answer(&alice(), stays, &home()).await.unwrap();
    assert_eq!((same.kept, same.moved, joined_at(&world).await), (true, false, Some(joined)));
    assert_eq!(store.clock().await.unwrap(), joined, "nothing moved, so nothing is stamped");
    verify(&store, "alice", &[]).await;
    assert_eq!(joined_at(&world).await, None);
    verify(&store, "alice", &["home"]).await;
    let again = joined_at(&world).await.unwrap();
    assert!(again > joined, "who comes back joins anew");
    verify(&store, "alice", &["home", "work"]).await;
    let home = "select joined_at from sync_members where space_id = 'home'";
    assert_eq!(value::<Stamp>(&mut world.admin().await, home).await, again);
    assert!(joined_at(&world).await.unwrap() > again);
    for _ in 0..3 {
        let ring = ear.ring().await;
        assert_eq!(ring.moves, [Move::Members(alice())]);
    }
}

#[tokio::test]
async fn each_change_of_a_membership_rings() {
    let world = World::new().await;
    let store = store(&world);
    let mut ear = Ear::new(&world).await;
    verify(&store, "alice", &[]).await;
    let verified = ear.ring().await;
    store.invalidate(&alice()).await.unwrap();
    let invalidated = ear.ring().await;
    assert_eq!(verified.moves, [Move::Members(alice())], "unverified is not member of nothing");
    assert_eq!(invalidated.moves, [Move::Members(alice())]);
    assert_eq!((verified.last, store.clock().await.unwrap()), (invalidated.prev, invalidated.last));
}

#[tokio::test]
async fn answers_and_invalidations_at_once_end_in_one_of_their_states() {
    let world = World::new().await;
    let store = store(&world);
    for _ in 0..20 {
        let asked = question(&store, Duration::ZERO, Duration::ZERO).await;
        let (user, spaces) = (alice(), home());
        let (answered, invalidated) =
            tokio::join!(store.answer(&user, asked, &spaces), store.invalidate(&user));
        invalidated.unwrap();
        answered.unwrap();
        assert_eq!(store.spaces(&alice()).await.unwrap(), None, "invalidated, before or after");
    }
}
