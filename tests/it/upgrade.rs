//! A rolling upgrade: nodes of an older release beside newer ones, on a schema that is newer than
//! they are. What each release asks of the database is recorded (`tests/fixtures/queries`), and
//! must go on finding what it asks for.

mod newer;
mod recorder;
mod release;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use release::{Release, Statement};

use crate::support::{World, psql, say};

/// The Rust files of a folder, and of those in it, as one text, but for the import, a
/// command of its own that no node runs.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name == "import") {
            continue;
        }
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

/// The statements that stand in the store as literals.
fn written() -> BTreeSet<String> {
    let text = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store"));
    let calls = ["sqlx::query(", "sqlx::query_scalar(", "sqlx::raw_sql("];
    let begun = calls.iter().flat_map(|call| text.split(call).skip(1));
    // What is no literal is a name; those are the doctor's, who is of no node.
    let literals = begun.filter_map(|rest| rest.trim_start().strip_prefix('"'));
    let literals = literals.map(|rest| rest.split('"').next().unwrap().replace("\\\n", " "));
    literals.map(|sql| release::plain(&sql)).filter(|sql| release::is_ours(sql)).collect()
}

#[tokio::test]
async fn what_this_release_asks_of_the_database_is_recorded() {
    let asked = recorder::record().await;
    let recorded: BTreeSet<&str> = asked.iter().map(|one| one.sql.as_str()).collect();
    for sql in &written() {
        assert!(recorded.contains(sql.as_str()), "the scene does not make a node ask this: {sql}");
    }
    let world = World::new().await;
    let asked = release::describe(&mut world.sql().await, asked).await;
    let release = Release::named(env!("CARGO_PKG_VERSION"));
    if std::env::var("MANA_SYNC_RECORD").is_ok() {
        release.write(&asked);
    }
    let kept = release.read();
    let differ: Vec<&Statement> = asked
        .iter()
        .filter(|a| !kept.contains(a))
        .chain(kept.iter().filter(|k| !asked.contains(k)))
        .collect();
    assert!(differ.is_empty(), "scripts/record-queries records it anew: {differ:#?}");
}

#[tokio::test]
async fn every_recorded_release_finds_what_it_asks_for() {
    let world = World::new().await;
    let releases = Release::all();
    for release in &releases {
        let statements = release.read();
        let problems = release::problems(&mut world.sql().await, &statements).await;
        assert!(problems.is_empty(), "nodes of {} would fail: {problems:#?}", release.name);
        say(&format!("{} statements of {} find what they ask for", statements.len(), release.name));
    }
    assert!(releases.iter().any(|release| release.name == env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_migration_that_takes_something_away_is_found_out() {
    let statements = Release::named(env!("CARGO_PKG_VERSION")).read();
    for (migration, names) in [
        ("alter function sync_clock() rename to sync_now", "sync_clock"),
        ("alter table sync_members rename column published to is_published", "sync_members"),
        ("drop procedure sync_invalidate(text)", "sync_invalidate"),
        // A second one with a default is ambiguous for whoever names all but that.
        (
            "create function sync_beat(p_why text default '') returns timestamptz language sql \
             as 'select now()'",
            "sync_beat",
        ),
        (
            "drop function sync_holder; create function sync_holder(out lower bigint, out pid integer) \
             language sql as 'select 1::bigint, 1'",
            "sync_holder",
        ),
    ] {
        let world = World::new().await;
        let mut sql = world.sql().await;
        psql(&mut sql, migration).await;
        let problems = release::problems(&mut sql, &statements).await;
        assert!(!problems.is_empty(), "{migration} breaks nobody");
        assert!(problems.iter().all(|problem| problem.contains(names)), "{problems:#?}");
    }
}
