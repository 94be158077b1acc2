//! Rings: short enough for Postgres whatever they name, and read as they were meant.

use std::collections::HashSet;

use mana_sync::doorbell::{Doorbell, Move, Owner};
use mana_sync::id::Stamp;
use sqlx::PgConnection;

use super::sql::{Ear, rng, store};
use crate::support::World;

/// NOTIFY refuses 8,000 bytes and more.
const PAYLOAD_BYTES: usize = 8000;

/// A change, as far as a ring tells of it: kind of feed, owner, table.
type Moved = (String, String, String);

/// Rings for changes of the app `todo`.
async fn ring(sql: &mut PgConnection, changes: &[Moved]) {
    let of = |kind: &str, column: fn(&Moved) -> &String| -> Vec<String> {
        changes.iter().filter(|change| change.0 == kind).map(|c| column(c).clone()).collect()
    };
    let apps = |kind: &str| vec!["todo"; of(kind, |c| &c.1).len()];
    sqlx::query(
        "select sync_ring(4, 9, sync_moves('u', $1, $2, $3) || sync_moves('s', $4, $5, $6))",
    )
    .bind(of("u", |c| &c.1))
    .bind(apps("u"))
    .bind(of("u", |c| &c.2))
    .bind(of("s", |c| &c.1))
    .bind(apps("s"))
    .bind(of("s", |c| &c.2))
    .execute(sql)
    .await
    .unwrap();
}

/// Hears a ring in its parts; gives how many there were, and all they name.
async fn hear(ear: &mut Ear) -> (usize, Vec<Move>) {
    let (mut parts, mut moves) = (0, Vec::new());
    loop {
        let text = ear.text().await;
        assert!(text.len() < PAYLOAD_BYTES, "{} bytes", text.len());
        let Doorbell::Ring(part) = Doorbell::parse(&text).unwrap() else { panic!("{text}") };
        assert_eq!((part.prev, part.last), (Stamp::from_micros(4), Stamp::from_micros(9)));
        (parts, moves) = (parts + 1, [moves, part.moves].concat());
        if !part.more {
            return (parts, moves);
        }
    }
}

/// A name of at most 255 bytes, of characters that JSON or UTF-8 make longer.
fn name(rng: &mut fastrand::Rng, max: usize) -> String {
    let alphabet = ['a', 'z', '"', '\\', '\u{1}', '\n', 'ä', '語', '😀', '\'', ','];
    let (length, mut name) = (rng.usize(1..=max), String::new());
    while let Some(next) = rng.choice(alphabet) {
        if name.len() + next.len_utf8() > length {
            break;
        }
        name.push(next);
    }
    if name.is_empty() { "x".to_owned() } else { name }
}

/// Every change is told by some move: of its feed, with its table or with all.
fn assert_told(changes: &[Moved], moves: &[Move]) {
    let told: HashSet<(&str, &str, Option<&str>)> = moves
        .iter()
        .flat_map(|moved| {
            let Move::Feed(feed, tables) = moved else { panic!("{moved:?}") };
            let owner = match &feed.owner {
                Owner::User(user) => ("u", user.as_str()),
                Owner::Space(space) => ("s", space.as_str()),
            };
            let names: Vec<_> = match tables {
                Some(tables) => tables.iter().map(|table| Some(table.as_str())).collect(),
                None => vec![None],
            };
            names.into_iter().map(move |table| (owner.0, owner.1, table))
        })
        .collect();
    for (kind, owner, table) in changes {
        let all = told.contains(&(kind.as_str(), owner.as_str(), None));
        let named = told.contains(&(kind.as_str(), owner.as_str(), Some(table.as_str())));
        assert!(all || named, "{kind} {owner:?} {table:?} is not told");
    }
    let feeds: HashSet<_> = changes.iter().map(|change| (&change.0, &change.1)).collect();
    assert_eq!(feeds.len(), moves.len(), "a feed is named once");
}

#[tokio::test]
async fn random_rings_come_in_parts_that_fit_and_lose_nothing() {
    let world = World::new().await;
    let (mut sql, mut ear, mut rng) = (world.sql().await, Ear::new(&world).await, rng());
    let mut most = 0;
    for _ in 0..40 {
        let longest = if rng.bool() { 255 } else { 12 };
        let feeds = rng.usize(1..60);
        let changes: Vec<Moved> = (0..feeds)
            .flat_map(|_| {
                let (kind, owner) = (if rng.bool() { "u" } else { "s" }, name(&mut rng, 255));
                (0..rng.usize(1..40))
                    .map(|_| (kind.to_owned(), owner.clone(), name(&mut rng, longest)))
                    .collect::<Vec<_>>()
            })
            .collect();
        ring(&mut sql, &changes).await;
        let (parts, moves) = hear(&mut ear).await;
        assert_told(&changes, &moves);
        most = most.max(parts);
    }
    assert!(most > 3, "no ring was large: {most} parts");
}

#[tokio::test]
async fn a_feed_names_up_to_32_tables_and_then_all() {
    let world = World::new().await;
    let (mut sql, mut ear) = (world.sql().await, Ear::new(&world).await);
    for (count, named) in [(32, Some(32)), (33, None)] {
        let changes: Vec<Moved> =
            (0..count).map(|n| ("u".into(), "alice".into(), format!("t{n}"))).collect();
        ring(&mut sql, &changes).await;
        let (_, moves) = hear(&mut ear).await;
        let [Move::Feed(_, tables)] = &moves[..] else { panic!("{moves:?}") };
        assert_eq!(tables.as_ref().map(|tables| tables.len()), named);
    }
}

#[tokio::test]
async fn a_heartbeat_carries_the_clock() {
    let world = World::new().await;
    let store = store(&world);
    let mut ear = Ear::new(&world).await;
    let clock = store.clock().await.unwrap();
    assert_eq!(store.beat().await.unwrap(), clock);
    assert_eq!(Doorbell::parse(&ear.text().await).unwrap(), Doorbell::Clock(clock));
}
