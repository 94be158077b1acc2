//! Connections of the pool that are ended, or die without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use mana_sync::store::Store;

use super::database::END_ALL;
use super::{impatient, proxy, through};
use crate::support::{World, eventually, psql};

/// A store whose pool is full of idle connections: while the log was locked, each had something to
/// wait for.
async fn warm(world: &World, url: String) -> Store {
    const CONNECTIONS: u32 = 8;
    let mut settings = impatient(world).database;
    (settings.url, settings.connections) = (url, CONNECTIONS);
    let store = Store::new(&settings).unwrap();
    let mut admin = world.admin().await;
    psql(&mut admin, "begin; lock table sync_changes").await;
    let waiting = (0..CONNECTIONS).map(|_| store.vitals(&["sync_changes"]));
    let unlocking = async {
        let all = async || (store.connections() == (CONNECTIONS as usize, 0)).then_some(());
        eventually("all connections", all).await;
        psql(&mut admin, "rollback").await;
    };
    let (answers, ()) = tokio::join!(join_all(waiting), unlocking);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    store
}

#[tokio::test]
async fn readers_notice_nothing_of_connections_that_the_server_has_ended() {
    let world = World::new().await;
    let store = warm(&world, world.database.clone()).await;
    psql(&mut world.admin().await, END_ALL).await;
    store.identify().await.unwrap();
}

#[tokio::test]
async fn one_connection_found_dead_tells_of_the_others() {
    let world = World::new().await;
    let proxy = proxy(&world).await;
    let store = warm(&world, through(&world, &proxy)).await;
    proxy.deafen();
    store.identify().await.unwrap_err();
    store.identify().await.unwrap();
}

#[tokio::test]
async fn connections_that_die_at_any_moment_leave_room_for_others() {
    const ROUNDS: usize = 6;
    let world = World::new().await;
    let proxy = proxy(&world).await;
    let mut settings = impatient(&world);
    settings.database.url = through(&world, &proxy);
    settings.database.connections = 2;
    let node = world.start(settings).await;
    let alice = world.client("alice", "laptop");
    let answered = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        let (alice, node, answered) = (alice.clone(), node.url.clone(), Arc::clone(&answered));
        tokio::spawn(async move {
            loop {
                let answer = alice.get(&node, "/sync/todo/pull?collection=tasks&since=").await;
                answered.fetch_add(usize::from(answer.status() == 200), Ordering::Relaxed);
            }
        });
    }
    for round in 0..ROUNDS {
        let before = answered.load(Ordering::Relaxed);
        // By then whoever had a dead connection has given it up.
        let busy = async || (answered.load(Ordering::Relaxed) > before + 20).then_some(());
        eventually(&format!("pulls in round {round}"), busy).await;
        proxy.deafen();
    }
}
