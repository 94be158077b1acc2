//! Hears what a node asks its database: a proxy between the two that reads along, and a scene in
//! which the node asks all it ever does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mana_sync::doorbell::Owner;
use mana_sync::id::{AppId, SpaceId, Stamp, UserId};
use mana_sync::store::{Fleet, Store};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::release::{Asked, is_ours, plain};
use crate::support::{World, eventually, insert};

/// The first four bytes of what asks for encryption, before anything else.
const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

type Heard = Arc<Mutex<BTreeSet<Asked>>>;

/// Starts a proxy before a database; gives the URL through it.
async fn before(database: &str, heard: Heard) -> String {
    let mut url: Url = database.parse().unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(read_along(client, server, Arc::clone(&heard)));
        }
    });
    url.into()
}

async fn read_along(client: TcpStream, server: TcpStream, heard: Heard) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let (mut messages, mut piece) = (Messages::default(), vec![0; 64 * 1024]);
    while let Ok(length @ 1..) = from_client.read(&mut piece).await {
        messages.take(&piece[..length], &heard);
        if to_server.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    answers.abort();
}

/// What a client sends, message by message.
#[derive(Default)]
struct Messages {
    unread: Vec<u8>,
    /// Whether it has said who it is: from then on, messages have a tag.
    begun: bool,
}

impl Messages {
    fn take(&mut self, bytes: &[u8], heard: &Heard) {
        self.unread.extend_from_slice(bytes);
        loop {
            let tag = usize::from(self.begun);
            let Some(length) = self.unread.get(tag..tag + 4) else { return };
            let end = tag + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.unread.len() < end {
                return;
            }
            let message: Vec<u8> = self.unread.drain(..end).collect();
            if self.begun {
                heard.lock().unwrap().extend(statement(message[0], &message[5..]));
            } else {
                let code = u32::from_be_bytes(message[4..8].try_into().unwrap());
                self.begun = !ENCRYPTION.contains(&code);
            }
        }
    }
}

/// The statement of a message, where it has one that is ours.
fn statement(tag: u8, body: &[u8]) -> Option<Asked> {
    let (sql, types) = match tag {
        b'Q' => (body, &[][..]),
        b'P' => {
            // A name, the text, and how many types there are.
            let mut parts = body.splitn(3, |byte| *byte == 0);
            let (_, sql) = (parts.next()?, parts.next()?);
            (sql, parts.next()?.get(2..)?)
        }
        _ => return None,
    };
    let sql = plain(std::str::from_utf8(sql).unwrap().trim_end_matches('\0'));
    let types = types.chunks_exact(4).map(|oid| u32::from_be_bytes(oid.try_into().unwrap()));
    is_ours(&sql).then(|| Asked { sql, types: types.collect() })
}

/// Has a node, and its store, ask all that they ever do.
pub async fn record() -> Vec<Asked> {
    let (world, heard) = (World::new().await, Heard::default());
    let url = before(&world.database, Arc::clone(&heard)).await;
    world.issuer.join("alice", "home");
    world.issuer.join("bob", "home");
    let mut settings = world.settings();
    settings.database.url.clone_from(&url);
    settings.listener.url.clone_from(&url);
    settings.compare_every = Duration::from_millis(200);
    let store = Store::new(&settings.database).unwrap();
    let node = world.start(settings).await;

    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let mut stream = bob.stream(&node.url, "tasks", "").await;
    stream.named("spaces").await;
    let mut change = insert("t1", &json!({"title": "Milk"}));
    change["spaceId"] = json!("home");
    alice.push(&node.url, &[change]).await;
    stream.record("t1").await;
    let page = bob.pull(&node.url, "tasks", "").await;
    bob.pull(&node.url, "tasks", page["syncedUntil"].as_str().unwrap()).await;
    aside(&store).await;
    assert!(store.is_current().await.unwrap());
    Store::examine(Fleet { url: &url, listen_url: &url, nodes: 1, pool: 8 }).await;

    let all = ["sync_news(", "sync_moved("];
    eventually("what a node asks by itself", async || {
        let heard = heard.lock().unwrap();
        all.iter().all(|one| heard.iter().any(|asked| asked.sql.contains(one))).then_some(())
    })
    .await;
    node.node.stop().await;
    let heard = heard.lock().unwrap();
    heard.iter().cloned().collect()
}

/// What is asked seldom, or when something is wrong.
async fn aside(store: &Store) {
    let carol = UserId::new("carol").unwrap();
    let home = SpaceId::new("home").unwrap();
    let minute = Duration::from_mins(1);
    let stamp = store.horizon().await.unwrap();
    store.identify().await.unwrap();
    store.clock().await.unwrap();
    store.beat().await.unwrap();
    store.holder().await.unwrap();
    store.end_holder(0, stamp).await.unwrap();
    store.ask(&carol, minute, minute).await.unwrap();
    store.unanswered(&carol, 1).await.unwrap();
    store.answer(&carol, 1, &[home]).await.unwrap();
    store.invalidate(&carol).await.unwrap();
    store.publish(&carol).await.unwrap();
    store.publishing().await.unwrap();
    store.spaces(&carol).await.unwrap();
    let todo = AppId::new("todo").unwrap();
    store.moved(&[(Owner::User(carol), Some(todo))], (Stamp::START, stamp)).await.unwrap();
}
