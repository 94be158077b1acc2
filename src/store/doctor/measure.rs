//! What is found out by trying.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::time::timeout;

use super::{Finding, Fleet, PATIENCE};
use crate::store::connect_options;

/// A notification that takes longer does not come.
const HEARING: Duration = Duration::from_secs(2);

/// Statements of which the median is told.
const TIMES: usize = 21;

/// Flushes that take so long are felt, and are too slow.
const FELT: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(25);

/// Clocks that are apart by so much are told of, and are wrong. Nodes' clocks judge tokens alone.
const APART: [f64; 2] = [1.0, 5.0];

/// Connections of each node beside those for requests: the listener, the relay.
const BESIDE: u32 = 4;

/// Whether it can be written to.
pub(super) async fn primary(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    let standby = sqlx::raw_sql("select pg_is_in_recovery()").fetch_one(connection).await?;
    Ok(if standby.try_get(0)? {
        Finding::wrong("this is a standby: nodes write, so let both URLs lead to the primary")
    } else {
        Finding::well("it is a primary")
    })
}

/// Whether the role may ask what each connection of a node asks first.
pub(super) async fn identity(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    let asked = sqlx::raw_sql(
        "select system_identifier, pg_walfile_name(pg_current_wal_lsn()) from pg_control_system()",
    );
    Ok(match asked.fetch_one(connection).await {
        Ok(_) => Finding::well("it can be told from a copy"),
        Err(error) => Finding::wrong(format!(
            "it can't be told from a copy, as each connection must: {error}; grant execute on \
             functions pg_control_system(), pg_current_wal_lsn(), pg_walfile_name(pg_lsn) to the role"
        )),
    })
}

/// Whether who listens at the one URL hears what is rung at the other.
pub(super) async fn hearing(fleet: Fleet<'_>) -> Result<Finding, sqlx::Error> {
    Ok(if hears(fleet).await? {
        Finding::well("notifications arrive")
    } else {
        Finding::wrong(
            "a notification did not arrive within 2 s: LISTEN_DATABASE_URL leads through a pooler \
             that gives its connections away after each transaction; let it lead to Postgres \
             itself, or to a pooler in session mode",
        )
    })
}

async fn hears(fleet: Fleet<'_>) -> Result<bool, sqlx::Error> {
    let options = connect_options(fleet.listen_url, PATIENCE)?;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    let channel = format!("mana_sync_doctor_{:x}", fastrand::u64(..));
    listener.listen(&channel).await?;
    let mut other = connect_options(fleet.url, PATIENCE)?.connect().await?;
    sqlx::query("select pg_notify($1, '')").bind(&channel).execute(&mut other).await?;
    let heard = timeout(HEARING, listener.recv()).await;
    other.close().await.ok();
    Ok(matches!(heard, Ok(Ok(_))))
}

/// Whether all nodes find a connection.
pub(super) async fn connections(
    connection: &mut PgConnection,
    fleet: Fleet<'_>,
) -> Result<Finding, sqlx::Error> {
    let limit = sqlx::raw_sql(
        "select least( \
             (select sum(case name when 'max_connections' then setting::bigint \
                              else -setting::bigint end) from pg_settings \
              where name in ('max_connections', 'superuser_reserved_connections', \
                             'reserved_connections')), \
             (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user), \
             (select nullif(datconnlimit, -1) from pg_database where datname = current_database()) \
         )::bigint",
    )
    .fetch_one(connection)
    .await?;
    let limit: i64 = limit.try_get(0)?;
    let Fleet { nodes, pool, .. } = fleet;
    let needed = i64::from(nodes) * i64::from(pool + BESIDE);
    let sum = format!(
        "{nodes} nodes take up to {needed} connections (DATABASE_POOL_SIZE {pool} and {BESIDE} each)"
    );
    Ok(if needed <= limit {
        Finding::well(format!("{sum} of {limit}"))
    } else if fleet.url == fleet.listen_url {
        Finding::wrong(format!(
            "{sum}, and this role finds {limit}: raise max_connections (or the limit of the role \
             or database), lower DATABASE_POOL_SIZE, or put a pooler before it"
        ))
    } else {
        Finding::note(format!(
            "{sum}, and this role finds {limit} at LISTEN_DATABASE_URL: DATABASE_URL is to lead \
             through a pooler that shares them"
        ))
    })
}

/// How long a statement takes, the median of a few.
async fn takes(
    connection: &mut PgConnection,
    statement: &'static str,
) -> Result<Duration, sqlx::Error> {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = Instant::now();
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[TIMES / 2])
}

/// How long a commit takes to reach the disk, and the standby where it is waited for; the way
/// there and back is left out.
pub(super) async fn flush(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    let commit = "select pg_logical_emit_message(true, 'mana-sync doctor', '')";
    let whole = takes(connection, commit).await?;
    let median = whole.saturating_sub(takes(connection, "select 1").await?);
    let says = format!("a commit takes {:.1} ms", median.as_secs_f64() * 1e3);
    Ok(match median {
        time if time < FELT => Finding::well(says),
        time if time < SLOW => Finding::note(format!("{says}, and each push as long at least")),
        _ => Finding::wrong(format!(
            "{says}, and each push as long at least: give the WAL (pg_wal) a disk that flushes \
             quicker, or look at the way to the synchronous standby"
        )),
    })
}

/// Whether this machine and the database have the same time.
pub(super) async fn clock(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let before = now();
    let there = sqlx::raw_sql("select extract(epoch from clock_timestamp())::float8");
    let there = there.fetch_one(connection).await?;
    let ahead = there.try_get::<f64, _>(0)? - f64::midpoint(before, now());
    Ok(apart("the database's clock", ahead))
}

/// What is said of a clock that is `ahead` of this machine's by so many seconds.
#[must_use]
pub fn apart(whose: &str, ahead: f64) -> Finding {
    let way = if ahead < 0.0 { "behind" } else { "ahead of" };
    let says = format!("{whose} is {:.1} s {way} this machine's", ahead.abs());
    match ahead.abs() {
        seconds if seconds < APART[0] => {
            Finding::well(format!("{whose} agrees with this machine's"))
        }
        seconds if seconds < APART[1] => Finding::note(says),
        _ => Finding::wrong(format!("{says}: let all machines follow one time server")),
    }
}
