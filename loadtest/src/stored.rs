//! A log with many changes in it, written by SQL in minutes, for measurements of what its size
//! costs.

use std::time::Duration;

use mana_sync::store::connect_options;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::Outcome;
use crate::fleet::Ground;

/// Who wrote a third of all changes, and reads another third in a space.
pub(crate) const READER: &str = "big";
/// Between two stamps.
const STEP_MICROS: i64 = 100;

/// Indexes are made when the rows are there. The reader is a member since before the first row.
const LOAD: &str = "
    set synchronous_commit = off; set maintenance_work_mem = '512MB';
    create temporary table kept as
        select i.indexrelid::regclass::text as name, c.conname,
               coalesce('alter table sync_changes add constraint ' || c.conname || ' '
                   || pg_get_constraintdef(c.oid), pg_get_indexdef(i.indexrelid)) as definition
        from pg_index i left join pg_constraint c on c.conindid = i.indexrelid
        where i.indrelid = 'sync_changes'::regclass;
    do $$ declare k record; begin
        for k in select * from kept loop
            if k.conname is null then execute 'drop index ' || k.name;
            else execute 'alter table sync_changes drop constraint ' || k.conname; end if;
        end loop;
    end $$;
    alter table sync_changes disable trigger user;
    insert into sync_changes (id, app_id, table_name, record_id, user_id, space_id, op, data,
        client_id, created_at, space_at)
    select lpad(to_hex(n), 32, '0')::uuid, 'loadtest', 'tasks', 'r' || n,
           case when n % 3 = 0 then 'big' else 'u' || n % 1000 end,
           case when n % 3 = 1 then 'home' end, 'insert',
           '{\"title\":\"Buy milk and bread\",\"done\":false,\"order\":0}', 'c' || n % 7,
           sync_time(start + n * {step}),
           case when n % 3 = 1 then sync_time(start + n * {step}) end
    from generate_series(1, {rows}) n,
         (select sync_micros(now()) - ({rows} + 1)::bigint * {step} as start) s;
    alter table sync_changes enable trigger user;
    do $$ declare k record; begin
        for k in select * from kept order by conname is null loop execute k.definition; end loop;
    end $$;
    select setval('sync_clock', sync_micros(max(created_at))) from sync_changes;
    insert into sync_users (user_id, verified_at) values ('big', now());
    insert into sync_members values ('big', 'home', timestamptz '2020-01-01Z', true)";

/// A database with so many changes.
pub(crate) struct Stored {
    /// Its URL as the nodes' role.
    pub(crate) url: String,
    /// A cursor in the middle, after which the reader has 1,000 changes and many more.
    pub(crate) middle: String,
}

/// Makes such a database.
pub(crate) async fn store(ground: &Ground, database: &str, rows: u32) -> Outcome<Stored> {
    let url = ground.database(database).await?;
    ground.issuer.join(READER, "home");
    let admin = connect_options(&ground.admin_url(database), Duration::from_mins(10))?;
    let mut admin = admin.connect().await?;
    let load = LOAD.replace("{rows}", &rows.to_string());
    let load = load.replace("{step}", &STEP_MICROS.to_string());
    admin.execute(sqlx::raw_sql(AssertSqlSafe(load))).await?;
    admin.execute("vacuum analyze").await?;
    admin.execute("checkpoint").await?;
    let last: i64 =
        sqlx::query_scalar("select last_value from sync_clock").fetch_one(&mut admin).await?;
    admin.close().await?;
    let middle = last - i64::from(rows / 2) * STEP_MICROS;
    let middle = jiff::Timestamp::from_microsecond(middle)?;
    Ok(Stored { url, middle: format!("{middle:.6}") })
}

/// The path of the page that follows a cursor.
pub(crate) fn page(cursor: &str) -> String {
    format!("/sync/loadtest/pull?collection=tasks&since={cursor}")
}
