//! A ring that names too little: the periodic comparison makes up for it.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::support::{World, insert, psql};
use crate::writer::metric;

/// Comparisons come every second.
const A_FEW_COMPARISONS: Duration = Duration::from_secs(4);

/// Stores two changes in one run: `unnamed-n` in alice's feed, then `named-n` in the space `home`;
/// and rings for the run as if `home` were all that moved.
fn half_a_ring(n: u32) -> String {
    format!(
        r#"do $$
        declare
            run record := sync_stamp(2);
        begin
            perform sync_act_for(array['alice', 'bob'], '{{}}');
            perform set_config('app.sync_stamped', 'on', true);
            insert into sync_changes
                (app_id, table_name, record_id, user_id, space_id, op, data, created_at, space_at)
            values
                ('todo', 'tasks', 'unnamed-{n}', 'alice', null, 'insert', '{{}}',
                 sync_time(run.last - 1), null),
                ('todo', 'tasks', 'named-{n}', 'bob', 'home', 'insert', '{{}}',
                 sync_time(run.last), sync_time(run.last));
            perform sync_ring(run.prev, run.last, '[["s", "home", "todo", ["tasks"]]]');
        end $$"#
    )
}

#[tokio::test]
async fn what_a_ring_did_not_name_reaches_a_stream_that_was_past_it() {
    let world = World::new().await;
    let node = world.start(world.settings_with(&["--compare-seconds=1"])).await;
    world.issuer.join("alice", "home");
    world.issuer.join("bob", "home");
    let mut stream = world.client("alice", "phone").stream(&node.url, "tasks", "").await;
    let mut shared = insert("warm", &json!({}));
    shared["spaceId"] = json!("home");
    world.client("bob", "laptop").push(&node.url, &[shared]).await;
    stream.record("warm").await;
    let found = metric(&node, "mana_sync_compare_found_total").await;

    let mut sql = world.sql().await;
    for n in 0..5 {
        psql(&mut sql, &half_a_ring(n)).await;
        stream.record(&format!("named-{n}")).await;
        let unnamed = format!("unnamed-{n}");
        let late = stream.record(&unnamed);
        // A stretch that had to be asked for is not compared: then it happens once more.
        if timeout(A_FEW_COMPARISONS, late).await.is_ok() {
            let now = metric(&node, "mana_sync_compare_found_total").await;
            assert!(now > found, "{now} after {found}");
            return;
        }
    }
    panic!("no comparison found what was not named");
}
