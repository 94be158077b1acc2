use proptest::prelude::*;

use super::*;
use crate::id::AppId;

fn at(micros: i64) -> Stamp {
    Stamp::from_micros(micros)
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn space(name: &str) -> SpaceId {
    SpaceId::new(name).unwrap()
}

fn app() -> AppId {
    AppId::new("todo").unwrap()
}

fn of(name: &str) -> FeedId {
    FeedId { owner: Owner::User(user(name)), app: app() }
}

fn home() -> FeedId {
    FeedId { owner: Owner::Space(space("home")), app: app() }
}

fn moved(id: FeedId) -> Move {
    Move::Feed(id, None)
}

fn alice() -> Reader {
    Reader::grant(user("alice"), app(), None)
}

/// A memory that is complete from 100, of a node where alice is a member of home.
fn recent_of_home() -> Recent {
    let recent = Recent::new(at(100), true);
    recent.learn(&alice(), (at(100), at(100)), Some(&[space("home")]), recent.age());
    recent
}

fn is_known(recent: &Recent, since: i64) -> bool {
    recent.nothing_new(&alice(), at(since), &Own::default()).is_some()
}

#[test]
fn a_feed_that_no_ring_named_is_quiet_from_where_the_memory_is_complete() {
    let recent = recent_of_home();
    recent.note(at(110), &[moved(of("bob"))]);
    assert_eq!(
        recent.nothing_new(&alice(), at(100), &Own::default()),
        Some(Known(Some([space("home")].into())))
    );
    assert!(!is_known(&recent, 99), "it may have moved before");
}

#[test]
fn the_own_feed_and_each_spaces_are_news() {
    for feed in [of("alice"), home()] {
        let recent = recent_of_home();
        recent.note(at(110), &[moved(feed)]);
        assert!(!is_known(&recent, 109));
        assert!(is_known(&recent, 110));
    }
}

#[test]
fn what_a_push_moved_alone_is_no_news_to_it() {
    let own = |last, feeds: &[FeedId]| Own { last: at(last), feeds: feeds.to_vec() };
    let knows = |recent: &Recent, own| recent.nothing_new(&alice(), at(105), &own).is_some();
    let recent = recent_of_home();
    recent.note(at(105), &[moved(of("alice"))]);
    recent.note(at(110), &[moved(of("alice")), moved(home())]);
    assert!(knows(&recent, own(110, &[of("alice"), home()])));
    assert!(!knows(&recent, own(110, &[of("alice")])), "another push moved the space");
    assert!(!knows(&recent, own(111, &[of("alice"), home()])), "another batch moved both");
    recent.note(at(120), &[moved(of("alice"))]);
    assert!(!knows(&recent, own(120, &[of("alice")])), "home moved, and alice's before that");
}

#[test]
fn spaces_hold_until_a_ring_says_that_they_moved() {
    let recent = recent_of_home();
    recent.note(at(110), &[Move::Members(user("bob"))]);
    assert!(is_known(&recent, 110));
    recent.note(at(120), &[Move::Members(user("alice"))]);
    assert!(!is_known(&recent, 120));
    recent.learn(&alice(), (at(120), at(119)), Some(&[]), recent.age());
    assert!(!is_known(&recent, 120), "read before they moved");
    recent.learn(&alice(), (at(120), at(120)), None, recent.age());
    assert_eq!(recent.nothing_new(&alice(), at(120), &Own::default()), Some(Known(None)));
    assert!(!is_known(&recent, 119), "a space may have been joined since");
}

#[test]
fn without_spaces_nothing_is_to_be_known_of_them() {
    let recent = Recent::new(at(100), false);
    assert!(is_known(&recent, 100));
    assert!(!is_known(&Recent::new(at(100), true), 100));
}

#[test]
fn what_is_forgotten_is_not_known_and_what_was_read_before_not_learnt() {
    let recent = recent_of_home();
    let age = recent.age();
    recent.forget(at(200));
    recent.learn(&alice(), (at(200), at(300)), Some(&[]), age);
    assert!(!is_known(&recent, 250));
    recent.learn(&alice(), (at(200), at(200)), Some(&[]), recent.age());
    assert!(is_known(&recent, 200) && !is_known(&recent, 199));
}

#[test]
fn it_is_bounded_and_knows_what_it_gave_up() {
    let recent = Recent::new(at(0), false);
    let last = 3 * i64::try_from(MOST_MOVED).unwrap();
    for n in 1..=last {
        recent.note(at(n), &[moved(of(&format!("user-{n}")))]);
    }
    let memory = recent.lock();
    assert!(memory.young.feeds.len() + memory.old.feeds.len() <= 2 * MOST_MOVED);
    let from = memory.old.from.micros();
    drop(memory);
    assert!(from > 0 && from < last);
    assert!(is_known(&recent, from) && !is_known(&recent, from - 1));
    let recent = recent_of_home();
    for n in 1..=3 * MOST_STANDINGS {
        let reader = Reader::grant(user(&format!("user-{n}")), app(), None);
        recent.learn(&reader, (at(100), at(100)), None, recent.age());
    }
    let memory = recent.lock();
    assert!(memory.young_standings.len() + memory.old_standings.len() <= 2 * MOST_STANDINGS);
}

proptest! {
    /// Against a plain model: all moves, ever.
    #[test]
    fn it_never_calls_quiet_what_moved(
        rings in prop::collection::vec((0..4_usize, any::<bool>()), 0..40),
        forgets in prop::collection::vec(0..40_usize, 0..3),
        since in 0..50_i64,
        mine in 0..40_usize,
    ) {
        let feeds = [of("alice"), home(), of("bob"), of("carol")];
        let recent = Recent::new(at(0), true);
        recent.learn(&alice(), (at(0), at(0)), Some(&[space("home")]), recent.age());
        let mut news = Vec::new();
        let mut own = Own::default();
        for (n, (feed, both)) in rings.iter().enumerate() {
            let last = i64::try_from(n).unwrap() + 1;
            if forgets.contains(&n) {
                recent.forget(at(last - 1));
                recent.learn(&alice(), (at(0), at(last - 1)), Some(&[space("home")]), recent.age());
            }
            let mut named = vec![moved(feeds[*feed].clone())];
            if *both {
                named.push(moved(home()));
            }
            recent.note(at(last), &named);
            if n == mine {
                own = Own { last: at(last), feeds: vec![feeds[*feed].clone()] };
            }
            let others = named.iter().filter(|m| match m {
                Move::Feed(id, _) => (*id == feeds[0] || *id == feeds[1])
                    && !(n == mine && own.feeds.contains(id)),
                Move::Members(_) => false,
            });
            news.extend(others.map(|_| last));
        }
        let there_is_news = news.iter().any(|last| *last > since);
        if recent.nothing_new(&alice(), at(since), &own).is_some() {
            prop_assert!(!there_is_news, "news at {news:?}, none told after {since}");
        }
    }
}
