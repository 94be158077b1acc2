//! A step of the relay: names what moved, and reads it by one statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::doorbell::{FeedId, Followed, Move, Owner};
use crate::feed::{Brought, Entry, Feeds, Underway};
use crate::id::{AppId, ClientId, SpaceId, Stamp, TableName, UserId};
use crate::metrics;
use crate::store::{FeedRow, FeedsRead, Store};

/// How many feeds one statement is asked about.
pub(super) const FEEDS_AT_ONCE: usize = 1000;

/// No question what moved is begun later: whatever was not asked about by then has moved.
const UNNAMED: Duration = Duration::from_secs(10);

/// The most changes that a step reads into memory; past it, streams read the database.
const MAX_ROWS: usize = 10_000;
/// The most bytes that a step reads into memory.
const MAX_BYTES: usize = 16_000_000;

/// A step, ready to be published.
pub(super) struct Stepped {
    pub(super) underway: Underway,
    /// What moved, by ring or by asking.
    pub(super) moves: Vec<Move>,
    /// Whether a stretch of it was asked for the owners of that moment only.
    pub(super) asked: bool,
    /// What was read; `None` where streams are to go to the database.
    pub(super) brought: Option<Brought>,
}

/// Reads the step up to `to`.
pub(super) async fn read_step(
    store: Store,
    feeds: Arc<Feeds>,
    to: Stamp,
    mut moves: Vec<Move>,
    unnamed: Option<(Stamp, Stamp)>,
) -> Stepped {
    let begun = Instant::now();
    let asked = unnamed.is_some();
    // First, so that whoever follows while the moves are named reads the database up to here.
    feeds.aim(to);
    if let Some((from, upto)) = unnamed {
        moves.extend(name_moves(&store, &feeds, from, upto).await);
    }
    name_tables(&store, &feeds, to, &mut moves).await;
    let underway = feeds.begin(to, &moves);
    let ids = underway.ids();
    if ids.is_empty() {
        metrics::relay_step(0, 0, begun.elapsed());
        return Stepped { underway, moves, asked, brought: Some(Brought::new()) };
    }
    let brought = match store.feeds(&ids, underway.stretch(), MAX_ROWS, MAX_BYTES).await {
        Ok(FeedsRead::Rows(rows)) => {
            metrics::relay_step(1, rows.len(), begun.elapsed());
            Some(sort_into_feeds(rows, underway.stretch(), &ids))
        }
        Ok(FeedsRead::TooMuch) => {
            metrics::overflow("relay_rows");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "a step could not be read; streams go to the database");
            None
        }
    };
    Stepped { underway, moves, asked, brought }
}

/// A ring that moved too many tables to name leaves them to whoever needs the names: watchers, who
/// are told them all.
async fn name_tables(store: &Store, feeds: &Feeds, to: Stamp, moves: &mut [Move]) {
    let needs = |m: &Move| match m {
        Move::Feed(id, None) => feeds.is_watched(&id.owner),
        _ => false,
    };
    let unnamed: Vec<Followed> = moves
        .iter()
        .filter(|m| needs(m))
        .filter_map(|m| match m {
            Move::Feed(FeedId { owner, app }, _) => Some((owner.clone(), Some(app.clone()))),
            Move::Members(_) => None,
        })
        .collect();
    if unnamed.is_empty() {
        return;
    }
    let named = match store.moved(&unnamed, (feeds.published(), to)).await {
        Ok(named) => named,
        Err(error) => return tracing::warn!(%error, "tables could not be named"),
    };
    for m in moves.iter_mut().filter(|m| needs(m)) {
        let Move::Feed(id, tables) = m else { continue };
        *tables = named.iter().find_map(|other| match other {
            Move::Feed(same, tables) if same == id => tables.clone(),
            _ => None,
        });
    }
}

/// Asks what moved of all that is followed here, for unnamed moves would be lost to the streams.
/// What has no answer for long has moved: its streams go to the database.
async fn name_moves(store: &Store, feeds: &Feeds, from: Stamp, to: Stamp) -> Vec<Move> {
    let begun = Instant::now();
    let mut found = Vec::new();
    for some in feeds.followed().chunks(FEEDS_AT_ONCE) {
        loop {
            if begun.elapsed() > UNNAMED {
                break found.extend(some.iter().flat_map(all_moves));
            }
            match store.moved(some, (from, to)).await {
                Ok(moves) => break found.extend(moves),
                Err(error) => {
                    tracing::warn!(%error, "what moved could not be asked");
                    // A database that is away offers nothing to wait for.
                    tokio::time::sleep(super::PAUSE).await;
                }
            }
        }
    }
    found
}

/// Whatever may have moved for somebody who follows this.
fn all_moves((owner, app): &Followed) -> impl Iterator<Item = Move> {
    let feed = app.clone().map(|app| Move::Feed(FeedId { owner: owner.clone(), app }, None));
    let members = match owner {
        Owner::User(user) => Some(Move::Members(user.clone())),
        Owner::Space(_) => None,
    };
    members.into_iter().chain(feed)
}

/// A row belongs to its author's feed, and to its space's; each has its own stamp there.
fn sort_into_feeds(rows: Vec<FeedRow>, (low, high): (Stamp, Stamp), ids: &[FeedId]) -> Brought {
    let mut brought: Brought = HashMap::with_capacity(ids.len());
    for row in rows {
        let (Ok(app), Ok(author), Ok(table)) =
            (AppId::new(&row.app), UserId::new(&row.author), TableName::new(&row.change.table))
        else {
            continue; // Written by SQL, under a name that no client can have.
        };
        let json = Bytes::from(row.change.json());
        let client = row.client.as_deref().and_then(|client| ClientId::new(client).ok());
        let mut put = |owner: Owner, stamp: Stamp| {
            let id = FeedId { owner, app: app.clone() };
            if stamp <= low || stamp > high || ids.binary_search(&id).is_err() {
                return;
            }
            brought.entry(id).or_default().push(Arc::new(Entry {
                stamp,
                app: app.clone(),
                table: table.clone(),
                author: author.clone(),
                client: client.clone(),
                json: json.clone(),
                event: std::sync::OnceLock::new(),
            }));
        };
        put(Owner::User(author.clone()), row.change.stamp);
        if let Some((space, at)) = &row.published
            && let Ok(space) = SpaceId::new(space)
        {
            put(Owner::Space(space), *at);
        }
    }
    for entries in brought.values_mut() {
        entries.sort_by_key(|entry| entry.stamp);
    }
    brought
}
