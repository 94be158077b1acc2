//! What a node that died while it published has left behind.

use std::time::Duration;

use mana_sync::directory::members::sweep;
use sqlx::PgConnection;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::store::sql::{Ear, append, shared, store, value};
use crate::support::{PATIENCE, World, eventually, psql};

const SOON: Duration = Duration::from_millis(20);

/// A membership of `home` whose publishing has begun, by a node that is no more.
async fn leave_half_published(admin: &mut PgConnection, user: &str) {
    let membership = format!(
        "insert into sync_users (user_id, verified_at) values ('{user}', now());
         insert into sync_members values ('{user}', 'home', sync_clock(), false)"
    );
    psql(admin, &membership).await;
}

/// Waits until the space is open to `user`, and all that waited is in its feed.
async fn is_published(admin: &mut PgConnection, user: &str) {
    let left = format!(
        "select (select count(*) from sync_members where user_id = '{user}' and not published)
              + (select count(*) from sync_changes where user_id = '{user}' and space_at is null)"
    );
    let what = format!("what {user} left");
    eventually(&what, async || (value::<i64>(admin, &left).await == 0).then_some(())).await;
}

// P-76: What was kept back enters the feed when a later lookup verifies the membership
#[tokio::test]
async fn a_sweep_publishes_what_a_dead_node_has_left_waiting() {
    let world = World::new().await;
    let (mut sql, mut admin) = (world.sql().await, world.admin().await);
    for user in ["alice", "bob"] {
        let rows = [shared(user, "home"), shared(user, "home")];
        assert_eq!(append(&mut sql, &rows).await.unpublished, [1, 2], "kept back at first");
    }
    leave_half_published(&mut admin, "alice").await;
    let mut ear = Ear::new(&world).await;
    let stop = CancellationToken::new();
    let sweeping = tokio::spawn(sweep(store(&world), SOON, stop.clone()));

    is_published(&mut admin, "alice").await;
    let moves = format!("{:?}", ear.ring().await.moves);
    assert!(moves.contains(r#"Space(SpaceId("home"))"#), "the space is rung: {moves}");
    let waiting = "select count(*) from sync_changes where user_id = 'bob' and space_at is null";
    assert_eq!(value::<i64>(&mut admin, waiting).await, 2, "who is no member goes on waiting");
    let in_order = "select array_agg(id order by space_at) = array_agg(id order by created_at)
                    from sync_changes where user_id = 'alice'";
    assert!(value::<bool>(&mut admin, in_order).await, "oldest first");

    // It goes on: what is left later, a later sweep finds.
    leave_half_published(&mut admin, "bob").await;
    is_published(&mut admin, "bob").await;
    stop.cancel();
    timeout(PATIENCE, sweeping).await.expect("it ends when told").unwrap();
}
