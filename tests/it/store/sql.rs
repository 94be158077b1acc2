//! The database's own language, for tests that speak it: rows for `sync_append`, rings, seeds.

use mana_sync::doorbell::{CHANNEL, Doorbell, Ring};
use mana_sync::id::Stamp;
use mana_sync::store::{Settings, Store};
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::{PATIENCE, World, psql};

/// A change, as `sync_append` takes it: an insert into `tasks` of the app `todo`.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: Uuid,
    pub user: String,
    pub space: Option<String>,
    pub payload: String,
    pub repeatable: bool,
}

/// A change of `user` of its own.
pub fn row(user: &str) -> Row {
    let (id, payload) = (Uuid::now_v7(), "{}".to_owned());
    Row { id, user: user.to_owned(), space: None, payload, repeatable: false }
}

/// A change of `user` in `space`.
pub fn shared(user: &str, space: &str) -> Row {
    Row { space: Some(space.to_owned()), ..row(user) }
}

/// What `sync_append` answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Appended {
    pub last: Stamp,
    /// Places from 1.
    pub unpublished: Vec<i32>,
    pub failure: Option<String>,
}

/// Calls `sync_append`, as a lane of the writer does.
pub async fn try_append(sql: &mut PgConnection, rows: &[Row]) -> sqlx::Result<Appended> {
    let n = rows.len();
    let texts = |text: &str| vec![text.to_owned(); n];
    let nothing = || vec![None::<String>; n];
    let answer = sqlx::query(
        "call sync_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
         null, null, null, null)",
    )
    .bind(rows.iter().map(|r| r.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.user.clone()).collect::<Vec<_>>())
    .bind(texts("todo"))
    .bind(texts("tasks"))
    .bind(rows.iter().map(|r| r.id.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.space.clone()).collect::<Vec<_>>())
    .bind(texts("insert"))
    .bind(rows.iter().map(|r| r.payload.clone()).collect::<Vec<_>>())
    .bind(nothing())
    .bind(nothing())
    .bind(vec![1; n])
    .bind(nothing())
    .bind(nothing())
    .bind(rows.iter().map(|r| r.repeatable).collect::<Vec<_>>())
    .fetch_one(sql)
    .await?;
    let unpublished: Option<Vec<i32>> = answer.try_get(1)?;
    Ok(Appended {
        last: answer.try_get(0)?,
        unpublished: unpublished.unwrap_or_default(),
        failure: answer.try_get(2)?,
    })
}

/// Calls `sync_append` and expects that it is stored.
pub async fn append(sql: &mut PgConnection, rows: &[Row]) -> Appended {
    let appended = try_append(sql, rows).await.unwrap();
    assert_eq!(appended.failure, None);
    appended
}

/// One value of a query without parameters.
pub async fn value<T>(sql: &mut PgConnection, query: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(sql).await.unwrap()
}

/// The first column of a query without parameters.
pub async fn values<T>(sql: &mut PgConnection, query: &str) -> Vec<T>
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(sql).await.unwrap()
}

/// The store, as a node has it.
pub fn store(world: &World) -> Store {
    Store::new(&Settings {
        url: world.database.clone(),
        connections: 8,
        acquire: PATIENCE,
        statement: PATIENCE,
    })
    .unwrap()
}

/// Makes `user` a member of `space` to whom everything is open.
pub async fn join(admin: &mut PgConnection, user: &str, space: &str) {
    let user = format!("'{user}'");
    psql(
        admin,
        &format!(
            "insert into sync_users (user_id, verified_at) values ({user}, now())
                 on conflict (user_id) do update set verified_at = now();
             insert into sync_members values ({user}, '{space}', sync_clock(), true)"
        ),
    )
    .await;
}

/// Hears the doorbells of a database.
pub struct Ear(PgListener);

impl Ear {
    pub async fn new(world: &World) -> Self {
        let mut listener = PgListener::connect(&world.database).await.unwrap();
        listener.listen(CHANNEL).await.unwrap();
        Self(listener)
    }

    /// The next doorbell's text.
    pub async fn text(&mut self) -> String {
        let heard = timeout(PATIENCE, self.0.recv()).await.expect("nothing was heard");
        heard.unwrap().payload().to_owned()
    }

    /// The next ring.
    pub async fn ring(&mut self) -> Ring {
        match Doorbell::parse(&self.text().await).unwrap() {
            Doorbell::Ring(ring) => ring,
            other @ Doorbell::Clock(_) => panic!("not a ring: {other:?}"),
        }
    }
}

/// The seed of a random test, printed; `MANA_SYNC_TEST_SEED` repeats one.
pub fn rng() -> fastrand::Rng {
    let given = std::env::var("MANA_SYNC_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("MANA_SYNC_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
