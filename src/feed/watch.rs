//! Watchers: `WebSockets` that want to know which apps moved, not what moved in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Feeds;
use crate::doorbell::{Followed, Move, Owner};
use crate::id::{AppId, SpaceId, TableName, UserId};
use crate::metrics;

/// The most apps, and tables an app, that a watcher remembers between two looks.
const MAX_NAMES: usize = 1024;

/// What moved since the last look: apps, and the tables in each; `None` where they were too many.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Apps that moved, with the tables named.
    pub apps: BTreeMap<AppId, Option<BTreeSet<TableName>>>,
    /// The user's memberships moved.
    pub members: bool,
}

#[derive(Debug)]
struct Watcher {
    /// One app, or all.
    app: Option<AppId>,
    seen: Mutex<Watched>,
    woken: Notify,
}

impl Watcher {
    fn seen(&self) -> MutexGuard<'_, Watched> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, app: &AppId, tables: Option<&[TableName]>) {
        if self.app.as_ref().is_some_and(|mine| mine != app) {
            return;
        }
        let mut seen = self.seen();
        if seen.apps.len() >= MAX_NAMES && !seen.apps.contains_key(app) {
            // Its client polls in any case; that an app is not told costs it time, not changes.
            metrics::overflow("watched_apps");
            return;
        }
        let known = seen.apps.entry(app.clone()).or_insert_with(|| Some(BTreeSet::new()));
        match (known.as_mut(), tables) {
            (Some(names), Some(new)) if names.len() + new.len() <= MAX_NAMES => {
                names.extend(new.iter().cloned());
            }
            _ => *known = None,
        }
        drop(seen);
        self.woken.notify_one();
    }

    fn tell_members(&self) {
        self.seen().members = true;
        self.woken.notify_one();
    }
}

/// All watchers of the node, by whose feeds they watch.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<HashMap<Owner, Vec<Arc<Watcher>>>>);

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Vec<Arc<Watcher>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose feeds are watched, in which app.
    pub(super) fn watched(&self) -> BTreeSet<Followed> {
        let watchers = self.lock();
        let watched = watchers.iter().flat_map(|(owner, watching)| {
            watching.iter().map(|watcher| (owner.clone(), watcher.app.clone()))
        });
        watched.collect()
    }

    pub(super) fn watch(&self, owner: &Owner) -> bool {
        self.lock().contains_key(owner)
    }

    pub(super) fn tell(&self, moves: &[Move]) {
        let watchers = self.lock();
        if watchers.is_empty() {
            return;
        }
        for m in moves {
            match m {
                Move::Feed(id, tables) => {
                    let watching = watchers.get(&id.owner).into_iter().flatten();
                    watching.for_each(|watcher| watcher.note(&id.app, tables.as_deref()));
                }
                Move::Members(user) => {
                    let watching = watchers.get(&Owner::User(user.clone())).into_iter().flatten();
                    watching.for_each(|watcher| watcher.tell_members());
                }
            }
        }
    }

    fn add(&self, owner: Owner, watcher: &Arc<Watcher>) {
        self.lock().entry(owner).or_default().push(Arc::clone(watcher));
    }

    fn remove(&self, owner: &Owner, watcher: &Arc<Watcher>) {
        let mut watchers = self.lock();
        if let Some(watching) = watchers.get_mut(owner) {
            watching.retain(|other| !Arc::ptr_eq(other, watcher));
            if watching.is_empty() {
                watchers.remove(owner);
            }
        }
    }
}

/// A WebSocket's hold on what it watches; ends with it.
#[derive(Debug)]
pub struct Watching {
    feeds: Arc<Feeds>,
    watcher: Arc<Watcher>,
    owners: Vec<Owner>,
}

impl Watching {
    /// Watches a user's feeds, of one app or of all.
    #[must_use]
    pub fn begin(feeds: Arc<Feeds>, user: UserId, app: Option<AppId>) -> Self {
        let watcher = Arc::new(Watcher { app, seen: Mutex::default(), woken: Notify::new() });
        let owner = Owner::User(user);
        feeds.watchers.add(owner.clone(), &watcher);
        Self { feeds, watcher, owners: vec![owner] }
    }

    /// Watches the feeds of these spaces too, and of no others.
    ///
    /// Gives those that were not watched before, in the app that is watched.
    pub fn set_spaces(&mut self, spaces: &[SpaceId]) -> Vec<Followed> {
        let wanted = spaces.iter().cloned().map(Owner::Space);
        let wanted: BTreeSet<Owner> = self.owners.iter().take(1).cloned().chain(wanted).collect();
        for gone in self.owners.iter().filter(|owner| !wanted.contains(*owner)) {
            self.feeds.watchers.remove(gone, &self.watcher);
        }
        let user = self.owners.first().cloned();
        let kept: BTreeSet<Owner> = self.owners.drain(..).filter(|o| wanted.contains(o)).collect();
        let new: Vec<Owner> = wanted.difference(&kept).cloned().collect();
        for owner in &new {
            self.feeds.watchers.add(owner.clone(), &self.watcher);
        }
        self.owners.extend(user.clone());
        self.owners.extend(wanted.into_iter().filter(|owner| Some(owner) != user.as_ref()));
        new.into_iter().map(|owner| (owner, self.watcher.app.clone())).collect()
    }

    /// Does not watch these any more.
    pub fn leave(&mut self, followed: &[Followed]) {
        for (owner, _) in followed {
            self.feeds.watchers.remove(owner, &self.watcher);
            self.owners.retain(|watched| watched != owner);
        }
    }

    /// Has this watcher alone hear of moves.
    pub fn tell(&self, moves: &[Move]) {
        for m in moves {
            if let Move::Feed(id, tables) = m {
                self.watcher.note(&id.app, tables.as_deref());
            }
        }
    }

    /// Waits until something moved, and takes it.
    pub async fn moved(&self) -> Watched {
        loop {
            let seen = std::mem::take(&mut *self.watcher.seen());
            if seen != Watched::default() {
                return seen;
            }
            self.watcher.woken.notified().await;
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        for owner in &self.owners {
            self.feeds.watchers.remove(owner, &self.watcher);
        }
    }
}
