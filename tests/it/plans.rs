//! How reads go through a million changes: along an index, to the end of the page, and no further.
//!
//! `big` wrote a third of all changes, and the space `home` holds another third. Plans are heard
//! from `auto_explain`, of the very statements that the functions run, by the nodes' role.

mod heard;

use std::time::Instant;

use sqlx::{AssertSqlSafe, PgConnection};

use self::heard::{Heard, Plan};
use crate::support::{World, psql};

/// What a page of 1,000 may touch of each of two feeds, in blocks of 8 KB: a row lies in a block
/// of its own at the worst, and so does its place in the index.
const PAGE_BLOCKS: u64 = 4_200;
/// What a read with nothing new may touch: down two or three trees.
const IDLE_BLOCKS: u64 = 60;
/// What closing a gap may touch: down a tree for each feed and app, and what moved.
const GAP_BLOCKS: u64 = 400;

/// Rows that sorts may see: a page of each of two feeds, and one row more to know of it. Each
/// table of several has a page of its own.
const PAGE_ROWS: u64 = 2_002;

/// Indexes are made when the rows are there, and event ids rise: both make it quick.
const LOAD: &str = "
    create temporary table kept as
        select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
        from pg_index where indrelid = 'sync_changes'::regclass and not indisunique;
    do $$ declare name text; begin
        for name in select k.name from kept k loop execute 'drop index ' || name; end loop;
    end $$;
    alter table sync_changes disable trigger user;
    insert into sync_changes (id, app_id, table_name, record_id, user_id, space_id, op, data,
        client_id, created_at, space_at)
    select lpad(to_hex(n), 32, '0')::uuid, 'todo', 't' || n % 10, 'r' || n, case when n % 3 = 0 then 'big' else 'u' || n % 1000 end,
           case when n % 3 = 1 then 'home' end, 'insert', '{\"title\": \"Milk\"}', 'c' || n % 7,
           sync_time(start + n), case when n % 3 = 1 then sync_time(start + n) end
    from generate_series(1, 1000000) n, sync_micros('2026-01-01Z') start;
    alter table sync_changes enable trigger user;
    do $$ declare definition text; begin
        for definition in select k.definition from kept k loop execute definition; end loop;
    end $$;
    select setval('sync_clock', sync_micros('2026-01-01Z') + 1000000);
    insert into sync_users (user_id, verified_at) values ('big', now()), ('late', now());
    insert into sync_members values
        ('big', 'home', timestamptz '2025-12-31Z', true),
        ('late', 'home', timestamptz '2026-01-01 00:00:00.9Z', true);
    analyze";

const PAGE: &str = "select count(*) from sync_page('{reader}', 'todo', 'c1', {tables}, '{since}Z', \
    null, null, '2026-01-01 00:00:01Z', false, true, 1000, 4000000)";
const ALL: &str = "array[''], array[repeat(U&'\\+10FFFF', 64)]";

fn page(reader: &str, tables: &str, since: &str) -> String {
    PAGE.replace("{reader}", reader).replace("{tables}", tables).replace("{since}", since)
}

fn feeds(low: &str) -> String {
    format!(
        "select count(*) from sync_feeds('{{big,late,u1}}', '{{todo,todo,todo}}', '{{home}}', \
         '{{todo}}', '2026-01-01 {low}Z', '2026-01-01 00:00:01Z', 1000, 4000000)"
    )
}

fn moved(low: &str) -> String {
    format!(
        "select count(*) from sync_moved('{{big,late,u1}}', '{{todo,null,todo}}', '{{home}}', \
         '{{null}}', '2026-01-01 {low}Z', '2026-01-01 00:00:01Z')"
    )
}

/// Three readers who ask at once: one who owns a third of all, a member of a large space, nobody.
fn news(since: &str) -> String {
    format!(
        "select count(*) filter (where news) from sync_news('{{big,late,nobody}}', \
         '{{todo,todo,todo}}', '{{null,null,null}}', array['', '', 't1'], \
         array[repeat(U&'\\+10FFFF', 64), repeat(U&'\\+10FFFF', 64), 't1'], \
         array_fill(timestamptz '{since}Z', array[3]), '2026-01-01 00:00:01Z', false, true)"
    )
}

struct Case {
    name: &'static str,
    query: String,
    rows: i64,
    blocks: u64,
}

fn case(name: &'static str, query: String, rows: i64, blocks: u64) -> Case {
    Case { name, query, rows, blocks }
}

/// A page's last row tells of the page; so does that of feeds which are cut.
fn cases() -> Vec<Case> {
    let end = "2026-01-01 00:00:01";
    vec![
        case("first page, all tables", page("big", ALL, "1970-01-01"), 1001, PAGE_BLOCKS),
        case(
            "first page, one table",
            page("big", "'{t3}', '{t3}'", "1970-01-01"),
            1001,
            PAGE_BLOCKS,
        ),
        case("a page in the middle", page("big", ALL, "2026-01-01 00:00:00.5"), 1001, PAGE_BLOCKS),
        case(
            "first page of three tables",
            page("big", "'{t1,t2,t3}', '{t1,t2,t3}'", "1970-01-01"),
            1001,
            3 * PAGE_BLOCKS,
        ),
        case(
            "history of a joined space",
            page("late", ALL, "2026-01-01 00:00:00.8"),
            1001,
            PAGE_BLOCKS,
        ),
        case("nothing new", page("big", ALL, end), 1, IDLE_BLOCKS),
        case("a stranger", page("nobody", ALL, "1970-01-01"), 1, IDLE_BLOCKS),
        case("is there news, and there is none", news(end), 0, IDLE_BLOCKS),
        case("is there news, and there is", news("2026-01-01 00:00:00.5"), 2, IDLE_BLOCKS),
        case("a step with nothing", feeds("00:00:01"), 0, IDLE_BLOCKS),
        case("a step of 300 stamps", feeds("00:00:00.999700"), 200, 2 * IDLE_BLOCKS),
        case("a step that is too much", feeds("00:00:00"), 1001, PAGE_BLOCKS),
        case("a gap with nothing", moved("00:00:01"), 0, GAP_BLOCKS),
        case("a gap of 300 stamps", moved("00:00:00.999700"), 2, GAP_BLOCKS),
    ]
}

/// Fails where a plan collects more than it needs.
fn assert_frugal(plan: &Plan, case: &Case, mode: &str) {
    let what = format!("{}, {mode}: {}", case.name, plan.text);
    assert!(!plan.scans_changes, "a sequential scan: {what}");
    let sorted = PAGE_ROWS * case.blocks.div_ceil(PAGE_BLOCKS);
    assert!(plan.sorted <= sorted, "{} rows sorted: {what}", plan.sorted);
    assert!(plan.blocks <= case.blocks, "{} blocks touched: {what}", plan.blocks);
}

async fn look(sql: &mut PgConnection, heard: &Heard, mode: &str) {
    psql(sql, &format!("set plan_cache_mode = {mode}")).await;
    for case in cases() {
        heard.forget();
        let begun = Instant::now();
        let query = AssertSqlSafe(case.query.clone());
        let rows: i64 = sqlx::query_scalar(query).fetch_one(&mut *sql).await.unwrap();
        let took = begun.elapsed();
        let plans = heard.plans();
        assert!(!plans.is_empty(), "{} was not explained", case.name);
        let blocks: u64 = plans.iter().map(|plan| plan.blocks).sum();
        println!("{mode:19} {:27} {rows:5} rows {blocks:5} blocks {took:9.1?}", case.name);
        // A gap may name the authors in the space besides.
        assert!((case.rows..=case.rows + 100).contains(&rows), "{}: {rows} rows", case.name);
        for plan in &plans {
            assert_frugal(plan, &case, mode);
        }
    }
}

#[tokio::test]
async fn reads_of_a_million_changes_touch_a_page() {
    let world = World::new().await;
    let mut sql = world.admin().await;
    let begun = Instant::now();
    psql(&mut sql, LOAD).await;
    println!("a million changes loaded in {:.1?}", begun.elapsed());
    let heard = Heard::listen();
    psql(&mut sql, heard::SETTINGS).await;
    psql(&mut sql, "set role mana_sync").await;
    for mode in ["auto", "force_custom_plan", "force_generic_plan"] {
        look(&mut sql, &heard, mode).await;
    }
}
