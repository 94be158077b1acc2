//! A database as the old server leaves it.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use uuid::Uuid;

use crate::support::psql;
use crate::support::world::{ROLE, postgres};

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The old table, in its last form, with row-level security that binds its owner too.
const TABLE: &str = "
    create table sync_changes (
        id uuid primary key default gen_random_uuid(),
        app_id text not null, table_name text not null, record_id text not null,
        user_id text not null,
        op text not null check (op in ('insert', 'update', 'delete')),
        data jsonb, field_timestamps jsonb default '{}', client_id text not null,
        created_at timestamptz not null default now(),
        schema_version int not null default 1, actor jsonb, space_id text, origin text);
    create index on sync_changes (user_id, app_id, table_name, created_at);
    alter table sync_changes enable row level security;
    alter table sync_changes force row level security;
    create policy own on sync_changes
        using (user_id = current_setting('app.current_user_id', true));
    alter table sync_changes owner to mana_sync;";

/// Seven rows share each time, nine microseconds from the next; a second passes after a thousand. They
/// lie in the table in another order.
const ROWS: &str = "
    insert into sync_changes (app_id, table_name, record_id, user_id, space_id, op, data,
        field_timestamps, client_id, created_at, actor, origin)
    select case n / 20 % 2 when 0 then 'todo' else 'calendar' end, 't' || n / 40 % 5, 'r' || n,
        'u' || n % 20,
        case n % 4 when 0 then 'home' when 1 then '_personal:u' || n % 20 end,
        (array['insert', 'update', 'delete'])[n % 3 + 1],
        case n % 3
            when 0 then case when n % 30 = 0 then 'null'
                else jsonb_build_object('title', 'Nº ' || n, 'n', n * 1.50, 'tags', '[1, {}]') end
            when 1 then jsonb_build_object('title', 'Eggs \"' || n, 'done', n % 2 = 0)
            else case when n % 30 = 2 then '{}' else '{\"deletedAt\": \"2026-01-01T10:06:00Z\"}' end::jsonb end,
        case n % 3 when 1
            then '{\"title\": \"2026-01-01T10:05:00Z\", \"done\": \"2026-01-01T10:05:01Z\"}'
            else '{}' end::jsonb,
        'device-' || n % 3,
        timestamptz '2026-01-01 10:00Z' + n / 7 * interval '9 us' + n / 1000 * interval '1 s',
        case when n % 5 = 0 then '{\"kind\": \"user\"}'::jsonb end,
        case when n % 10 = 0 then 'user' end
    from generate_series(0, {rows} - 1) n order by hashint4(n)";

/// A row, as a client is to read it.
pub struct OldRow {
    pub user: String,
    pub app: String,
    pub table: String,
    pub space: Option<String>,
    /// Its time, as the old server printed it in cursors: without zeros at the end.
    pub time: String,
    pub change: Value,
}

pub struct OldDatabase {
    name: String,
}

impl OldDatabase {
    /// One with so many rows.
    pub async fn new(rows: u32) -> Self {
        let old = Self::empty().await;
        let mut sql = old.sql().await;
        psql(&mut sql, TABLE).await;
        psql(&mut sql, &ROWS.replace("{rows}", &rows.to_string())).await;
        old
    }

    /// One without the table.
    pub async fn empty() -> Self {
        let name = format!("old_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        postgres().await.create_database(&name, ROLE, None).await.unwrap();
        Self { name }
    }

    /// Where it is, for this role.
    pub async fn url(&self, role: &str) -> String {
        postgres().await.url(role, &self.name)
    }

    /// A connection to which row-level security does not apply.
    pub async fn sql(&self) -> PgConnection {
        PgConnection::connect(&self.url("postgres").await).await.unwrap()
    }

    /// All rows in the old server's order.
    pub async fn rows(&self) -> Vec<OldRow> {
        let query = "select *, to_char(created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') as time
                     from sync_changes order by created_at, ctid";
        let rows =
            sqlx::query(AssertSqlSafe(query)).fetch_all(&mut self.sql().await).await.unwrap();
        rows.iter().map(row).collect()
    }
}

fn row(row: &sqlx::postgres::PgRow) -> OldRow {
    let text = |name: &str| row.get::<Option<String>, _>(name);
    let object = |name: &str| match row.get::<Option<Value>, _>(name) {
        Some(Value::Object(object)) => Some(object),
        _ => None,
    };
    let space = text("space_id").filter(|space| !space.starts_with("_personal:"));
    let (op, data) = (text("op").unwrap(), object("data"));
    let mut change = json!({
        "eventId": row.get::<Uuid, _>("id").to_string(), "schemaVersion": 1,
        "table": text("table_name"), "id": text("record_id"), "op": op,
    });
    match op.as_str() {
        "insert" => put(&mut change, "data", data.map(Value::Object)),
        "update" => {
            let times = object("field_timestamps").unwrap();
            let field = |(name, value): (String, Value)| {
                let field =
                    json!({ "value": value, "updatedAt": times[&name], "at": times[&name] });
                (name, field)
            };
            let fields: Map<_, _> = data.unwrap().into_iter().map(field).collect();
            change["fields"] = Value::Object(fields);
        }
        _ => {
            put(&mut change, "deletedAt", data.unwrap().remove("deletedAt"));
        }
    }
    put(&mut change, "spaceId", space.clone().map(Value::String));
    put(&mut change, "actor", object("actor").map(Value::Object));
    put(&mut change, "origin", text("origin").map(Value::String));
    let time = text("time").unwrap();
    OldRow {
        user: text("user_id").unwrap(),
        app: text("app_id").unwrap(),
        table: text("table_name").unwrap(),
        space,
        time: format!("{}Z", time.trim_end_matches('0').trim_end_matches('.')),
        change,
    }
}

/// What is absent stays absent.
fn put(change: &mut Value, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        change[key] = value;
    }
}
