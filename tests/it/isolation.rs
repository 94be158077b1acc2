//! Row-level security: a transaction reaches the rows of whom it names, and no others, though the
//! nodes' role owns the tables.

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::store::sql::{Row, append, join, row, shared, value, values};
use crate::support::{World, insert, psql};

/// Alice is in `home`, Bob is not. Each has a change of its own and one of `home`; Bob's waits.
async fn rows(world: &World) {
    join(&mut world.admin().await, "alice", "home").await;
    let rows = [row("alice"), shared("alice", "home"), row("bob"), shared("bob", "home")];
    let appended = append(&mut world.sql().await, &rows).await;
    assert_eq!(appended.unpublished, [4]);
}

/// Begins a transaction that names these; `None` is a setting that was never made.
async fn name(
    sql: &mut PgConnection,
    users: Option<&str>,
    one: Option<&str>,
    spaces: Option<&str>,
) {
    psql(sql, "begin").await;
    let settings = [
        ("app.current_user_ids", users),
        ("app.current_user_id", one),
        ("app.current_space_ids", spaces),
    ];
    for (setting, value) in settings {
        if let Some(value) = value {
            psql(sql, &format!("set local {setting} = '{value}'")).await;
        }
    }
}

/// What a transaction sees, ends, and could write of the rows there are.
async fn reach(sql: &mut PgConnection) -> (Vec<String>, u64, u64) {
    let see = "select concat_ws(' ', user_id, space_id) from sync_changes order by created_at";
    let seen = values(sql, see).await;
    let changed = sqlx::query("update sync_changes set origin = 'x'").execute(&mut *sql).await;
    let deleted = sqlx::query("delete from sync_changes").execute(&mut *sql).await;
    (seen, changed.unwrap().rows_affected(), deleted.unwrap().rows_affected())
}

/// Whether the transaction may insert a change of this user; it is over afterwards.
async fn may_insert(sql: &mut PgConnection, user: &str) -> bool {
    let insert = format!(
        "insert into sync_changes (app_id, table_name, record_id, user_id, op)
         values ('todo', 'tasks', 'r', '{user}', 'delete')"
    );
    let inserted = sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut *sql).await;
    psql(sql, "rollback").await;
    match inserted {
        Ok(_) => true,
        Err(error) => {
            let code = error.as_database_error().unwrap().code();
            assert_eq!(code.as_deref(), Some("42501"), "{error}");
            false
        }
    }
}

#[tokio::test]
async fn who_names_nobody_or_somebody_else_reaches_nothing() {
    let world = World::new().await;
    rows(&world).await;
    let scopes = [
        (None, None, None),
        (Some(""), Some(""), Some("")),
        (Some("{}"), None, Some("{}")),
        (Some("{carol}"), Some("carol"), Some("{work}")),
        // A user is no space, and a space no user.
        (Some("{home}"), Some("home"), Some("{alice,bob}")),
        (Some("{\"alice,bob\"}"), Some("{alice}"), Some("{\"{home}\"}")),
        (Some("{NULL,%,ALICE}"), Some("%"), Some("{NULL,%,HOME}")),
    ];
    for scope in scopes {
        // On a fresh session, and on one whose settings were used before.
        let mut sql = world.sql().await;
        for _ in 0..2 {
            name(&mut sql, scope.0, scope.1, scope.2).await;
            assert_eq!(reach(&mut sql).await, (vec![], 0, 0), "{scope:?}");
            assert!(!may_insert(&mut sql, "alice").await, "{scope:?}");
            name(&mut sql, Some("{alice}"), None, None).await;
            assert!(may_insert(&mut sql, "alice").await);
        }
    }
}

#[tokio::test]
async fn who_names_a_user_reaches_the_users_rows_alone() {
    let world = World::new().await;
    rows(&world).await;
    let mut sql = world.sql().await;
    for (users, one) in [(Some("{bob}"), None), (None, Some("bob")), (Some("{carol}"), Some("bob"))]
    {
        name(&mut sql, users, one, None).await;
        let seen = vec!["bob".to_owned(), "bob home".to_owned()];
        assert_eq!(reach(&mut sql).await, (seen, 2, 2));
        assert!(!may_insert(&mut sql, "alice").await);
        name(&mut sql, users, one, None).await;
        assert!(may_insert(&mut sql, "bob").await);
    }
}

#[tokio::test]
async fn who_names_a_space_sees_what_was_published_in_it_and_writes_nothing() {
    let world = World::new().await;
    rows(&world).await;
    let mut sql = world.sql().await;
    name(&mut sql, None, None, Some("{home,work}")).await;
    assert_eq!(reach(&mut sql).await, (vec!["alice home".to_owned()], 0, 0));
    assert!(!may_insert(&mut sql, "alice").await);
}

#[tokio::test]
async fn a_row_can_not_be_given_to_somebody_else() {
    let world = World::new().await;
    rows(&world).await;
    let mut sql = world.sql().await;
    name(&mut sql, Some("{bob}"), None, None).await;
    let give = "update sync_changes set user_id = 'alice'";
    let error = sqlx::query(give).execute(&mut sql).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{error}");
}

#[tokio::test]
async fn it_is_forced_upon_the_owner_who_can_not_bypass_it() {
    let world = World::new().await;
    let forced: Vec<String> = values(
        &mut world.sql().await,
        "select relname::text from pg_class where relrowsecurity and relforcerowsecurity
         and relowner = (select oid from pg_roles where rolname = current_user
                         and not rolsuper and not rolbypassrls)",
    )
    .await;
    assert_eq!(forced, ["sync_changes"]);
}

#[tokio::test]
async fn names_with_the_signs_of_lists_stay_one_name() {
    let world = World::new().await;
    let mut sql = world.sql().await;
    let names = ["alice,bob", "{alice}", "\"", "\\", "NULL", "a b", "'", "{", "}", " alice"];
    let mut admin = world.admin().await;
    append(&mut sql, &[row("alice"), row("bob")]).await;
    for user in names {
        append(&mut sql, &[row(user)]).await;
        psql(&mut sql, "begin").await;
        sqlx::query("select sync_act_for(array[$1], '{}')")
            .bind(user)
            .execute(&mut sql)
            .await
            .unwrap();
        let named: Vec<String> = value(&mut sql, "select sync_scope_users()").await;
        let seen: Vec<String> = values(&mut sql, "select user_id from sync_changes").await;
        psql(&mut sql, "rollback").await;
        assert_eq!((named, seen), (vec![user.to_owned()], vec![user.to_owned()]));
    }
    assert_eq!(value::<i64>(&mut admin, "select count(*) from sync_changes").await, 12);
}

/// One call of each routine that names somebody.
const ROUTINES: [&str; 6] = [
    "select * from sync_page('alice', 'todo', null, '{tasks}', '{tasks}', '1970-01-01', null, null, \
     now() + interval '1 h', false, true, 10, 1000)",
    "select * from sync_feeds('{alice}', '{todo}', '{home}', '{todo}', '1970-01-01', now(), 10, 1000)",
    "select * from sync_moved('{alice}', '{todo}', '{home}', '{null}', '1970-01-01', now())",
    "call sync_publish('alice', 10)",
    "select sync_act_for('{alice}', '{home}')",
    "set app.current_user_id = ''",
];

#[tokio::test]
async fn no_routine_leaves_a_name_to_the_next_user_of_the_session() {
    let world = World::new().await;
    rows(&world).await;
    let mut sql = world.sql().await;
    let left = "select concat(sync_scope_users(), sync_scope_spaces(),
                              current_setting('app.sync_stamped', true),
                              current_setting('app.sync_unstamped', true))";
    let bad = Row { payload: "{".to_owned(), ..row("alice") };
    let batches = [vec![row("alice"), shared("bob", "home")], vec![bad]];
    for batch in batches {
        crate::store::sql::try_append(&mut sql, &batch).await.unwrap();
        assert_eq!(value::<String>(&mut sql, left).await, "{}{}");
    }
    for routine in ROUTINES {
        psql(&mut sql, routine).await;
        assert_eq!(value::<String>(&mut sql, left).await, "{}{}", "after {routine}");
        assert_eq!(value::<i64>(&mut sql, "select count(*) from sync_changes").await, 0);
    }
}

#[tokio::test]
async fn a_node_reaches_changes_by_routines_that_name_somebody_and_in_no_other_way() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    psql(&mut admin, "create extension pg_stat_statements").await;
    world.issuer.join("alice", "home");
    let node = world.node().await;
    let alice = world.client("alice", "a");
    let mut stream = world.client("alice", "b").stream(&node.url, "tasks", "").await;
    let record = Uuid::now_v7().to_string();
    alice.push(&node.url, &[insert(&record, &serde_json::json!({"spaceId": "home"}))]).await;
    stream.record(&record).await;
    alice.pull(&node.url, "tasks", "").await;
    let asked: Vec<String> = values(
        &mut admin,
        "select query from pg_stat_statements where toplevel
         and dbid = (select oid from pg_database where datname = current_database())
         and userid = 'mana_sync'::regrole",
    )
    .await;
    let called = |routine: &str| asked.iter().any(|query| query.contains(routine));
    assert!(called("sync_append") && called("sync_page") && called("sync_feeds"), "{asked:#?}");
    for query in &asked {
        let words: Vec<_> = query.split_whitespace().collect();
        let direct = words.windows(2).any(|pair| {
            ["from", "into", "update", "join"].contains(&pair[0].to_lowercase().as_str())
                && pair[1].starts_with("sync_changes")
        });
        assert!(!direct, "a statement of its own on sync_changes: {query}");
    }
}

// What a routine shows is what its reader may see, whatever else it is asked about.
#[tokio::test]
async fn each_routine_shows_another_user_nothing() {
    let world = World::new().await;
    rows(&world).await;
    let mut sql = world.sql().await;
    // Bob's own two, of which one waits to be published in a space that he is not in.
    let page = |reader: &str| {
        format!(
            "select count(*) from sync_page('{reader}', 'todo', null, '{{\"\"}}', '{{zzz}}',
                 'epoch', null, null, sync_clock(), false, true, 100, 100000)
             where id is not null"
        )
    };
    let counted = async |sql: &mut PgConnection, query: &str| value::<i64>(sql, query).await;
    assert_eq!(counted(&mut sql, &page("alice")).await, 2);
    assert_eq!(counted(&mut sql, &page("bob")).await, 2);
    assert_eq!(counted(&mut sql, &page("carol")).await, 0);
    for (asked, news) in [("alice", 1), ("carol", 0)] {
        let query = format!(
            "select count(*) from sync_news(array['{asked}'], array['todo'], array[null::text],
                 array[''], array['zzz'], array['epoch'::timestamptz], sync_clock(), false, true)
             where news"
        );
        assert_eq!(counted(&mut sql, &query).await, news, "{asked}");
    }
    let feeds = |users: &str, spaces: &str| {
        format!(
            "select count(*) from sync_feeds({users}, array['todo'], {spaces}, array['todo'],
                 'epoch', sync_clock(), 100, 100000)"
        )
    };
    assert_eq!(counted(&mut sql, &feeds("array['carol']", "array['nowhere']")).await, 0);
    assert_eq!(counted(&mut sql, &feeds("array['bob']", "array['nowhere']")).await, 2);
    // Of a space what was published in it: not what Bob left waiting.
    assert_eq!(counted(&mut sql, &feeds("array['carol']", "array['home']")).await, 1);
    for kind in ["sync_apps('u', 'alice')", "sync_apps('s', 'home')"] {
        assert_eq!(counted(&mut sql, &format!("select count(*) from {kind}")).await, 0, "{kind}");
    }
    // An event id of somebody else's is one's own to use, and tells nothing of the other.
    let taken: Uuid = value(&mut world.admin().await, "select id from sync_changes limit 1").await;
    let again = Row { id: taken, repeatable: true, ..row("carol") };
    append(&mut sql, &[again]).await;
    assert_eq!(counted(&mut sql, &page("carol")).await, 1);
}
