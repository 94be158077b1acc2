//! A client that stops in the middle of a message: it never says Sync, which ends a statement.

use mana_sync::store::Store;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::store::sql::{store, value};
use crate::support::{PATIENCE, World};

/// A client that speaks to Postgres by hand.
struct Stopping(TcpStream);

impl Stopping {
    async fn connect(world: &World) -> Self {
        let options: PgConnectOptions = world.database.parse().unwrap();
        let socket = TcpStream::connect((options.get_host(), options.get_port())).await.unwrap();
        let (user, database) = (options.get_username(), options.get_database().unwrap());
        let mut client = Self(socket);
        let mut hello = 196_608_u32.to_be_bytes().to_vec();
        hello.extend(format!("user\0{user}\0database\0{database}\0\0").bytes());
        client.0.write_all(&framed(None, &hello)).await.unwrap();
        client.until(b'Z').await;
        client
    }

    /// Has a statement executed, up to its end, and stops before the Sync.
    async fn execute(&mut self, statement: &str) {
        let mut messages = framed(Some(b'P'), format!("\0{statement}\0\0\0").as_bytes());
        messages.extend(framed(Some(b'B'), b"\0\0\0\0\0\0\0\0"));
        messages.extend(framed(Some(b'E'), b"\0\0\0\0\0"));
        messages.extend(framed(Some(b'H'), b""));
        self.0.write_all(&messages).await.unwrap();
        self.until(b'C').await;
    }

    /// Reads messages up to one of this kind.
    async fn until(&mut self, kind: u8) {
        loop {
            let found = timeout(PATIENCE, self.0.read_u8()).await.expect("an answer").unwrap();
            let length = usize::try_from(self.0.read_u32().await.unwrap()).unwrap();
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).await.unwrap();
            assert_ne!(found, b'E', "{}", String::from_utf8_lossy(&body));
            if found == kind {
                return;
            }
        }
    }
}

fn framed(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    kind.into_iter().chain(length).chain(body.iter().copied()).collect()
}

async fn is_held(store: &Store) -> bool {
    store.horizon().await.unwrap() < store.clock().await.unwrap()
}

#[tokio::test]
async fn a_client_that_stops_in_an_append_holds_nothing() {
    let world = World::new().await;
    let store = store(&world);
    let mut client = Stopping::connect(&world).await;
    client
        .execute(
            "call sync_append(array[gen_random_uuid()], '{alice}', '{todo}', '{tasks}', '{r}', \
             array[null], '{insert}', '{\"{}\"}', array[null], array[null], '{1}', array[null], \
             array[null], '{f}', null, null, null, null)",
        )
        .await;
    let stored: i64 = value(&mut world.admin().await, "select count(*) from sync_changes").await;
    assert_eq!(stored, 1);
    assert_eq!(store.holder().await.unwrap(), None);
    assert!(!is_held(&store).await);
}

#[tokio::test]
async fn a_client_that_stops_in_a_membership_holds_nothing() {
    let world = World::new().await;
    let store = store(&world);
    let mut client = Stopping::connect(&world).await;
    client.execute("call sync_invalidate('alice')").await;
    assert!(!is_held(&store).await);
}

#[tokio::test]
async fn a_client_that_stops_in_a_plain_function_would_hold_the_horizon() {
    let world = World::new().await;
    let store = store(&world);
    let mut client = Stopping::connect(&world).await;
    client.execute("select sync_stamp(1)").await;
    assert!(is_held(&store).await, "then the procedures would not be needed");
}
