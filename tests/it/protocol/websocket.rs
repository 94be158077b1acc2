//! The WebSocket.

use std::time::{Duration, SystemTime};

use futures::{SinkExt, StreamExt};
use mana_sync::dev::issuer::Answer;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::talk::{http, one_node};
use crate::memberships::invalidate_at;
use crate::store::sql::value;
use crate::support::world::TestNode;
use crate::support::{Client, PATIENCE, World, eventually, insert, psql};

/// An open socket.
struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(node: &TestNode, path: &str) -> Self {
        let url = format!("{}{path}", node.url.replacen("http", "ws", 1));
        Self(connect_async(url).await.unwrap().0)
    }

    /// An open socket that has said who it is.
    async fn of(client: &Client, node: &TestNode, path: &str) -> Self {
        let mut socket = Self::open(node, path).await;
        socket.say(&json!({"type": "auth", "token": client.token})).await;
        assert_eq!(socket.hear().await, Some(json!({"type": "auth-ok"})));
        socket
    }

    async fn say(&mut self, what: &Value) {
        self.0.send(Message::text(what.to_string())).await.unwrap();
    }

    /// What the node says next; `None` where it closes.
    async fn hear(&mut self) -> Option<Value> {
        self.hear_or_code().await.ok()
    }

    /// What the node says next; or the code that it closes with.
    async fn hear_or_code(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("the node says nothing");
            match message.and_then(Result::ok).ok_or(None)? {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(frame) => return Err(frame.map(|frame| frame.code.into())),
                _ => {}
            }
        }
    }
}

fn available(app: &str, tables: &[&str]) -> Value {
    json!({"type": "sync-available", "appId": app, "tables": tables})
}

// P-57: The first message is `{"type":"auth","token":"…"}`, answered `{"type":"auth-ok"}`.
// P-59: `{"type":"ping"}` is answered `{"type":"pong"}`.
#[tokio::test]
async fn a_socket_says_who_it_is_and_pings() {
    let (world, node) = one_node().await;
    let alice = world.client("alice", "laptop");
    for path in ["/ws", "/ws/todo"] {
        let mut socket = Socket::of(&alice, &node, path).await;
        socket.say(&json!({"type": "unheard-of"})).await;
        socket.say(&json!(["no", "message"])).await;
        for _ in 0..2 {
            socket.say(&json!({"type": "ping"})).await;
            assert_eq!(socket.hear().await, Some(json!({"type": "pong"})));
        }
    }
}

// P-58: A socket without a token that holds is closed
#[tokio::test]
async fn a_socket_without_a_good_token_is_closed() {
    let (world, node) = one_node().await;
    let expired = world.issuer.claims("alice", Duration::from_mins(1));
    let expired = world.issuer.sign(&json!({"sub": expired["sub"], "exp": 1}));
    for first in [
        json!({"type": "auth", "token": "rubbish"}),
        json!({"type": "auth", "token": ""}),
        json!({"type": "auth", "token": expired}),
        json!({"type": "auth"}),
        json!({"type": "auth", "token": 7}),
        json!({"type": "ping"}),
        json!("hello"),
    ] {
        let mut socket = Socket::open(&node, "/ws").await;
        socket.say(&first).await;
        assert_eq!(socket.hear().await, None, "{first}");
    }
}

// P-58: so is one that has sent none within 10 seconds
#[tokio::test]
async fn a_silent_socket_is_closed() {
    let (_world, node) = one_node().await;
    let begun = Instant::now();
    let mut socket = Socket::open(&node, "/ws/todo").await;
    assert_eq!(socket.hear().await, None);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(9), "closed after {took:?}");
}

// P-60: When a feed of the user changes, their own or a space's
#[tokio::test]
async fn a_socket_hears_of_its_feeds() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let mut socket = Socket::of(&world.client("alice", "laptop"), &second, "/ws").await;
    let note = json!({"table": "notes", "id": "n", "op": "insert"});
    world.client("alice", "phone").push(&first.url, &[insert("t1", &json!({})), note]).await;
    assert_eq!(socket.hear().await, Some(available("todo", &["notes", "tasks"])));
    let mut shared = insert("t2", &json!({}));
    shared["spaceId"] = json!("home");
    let bob = world.client("bob", "b");
    // What is bob's alone rings at nobody's else; the space's does.
    bob.push(&first.url, &[insert("private", &json!({}))]).await;
    bob.app("notes").push(&first.url, &[shared]).await;
    assert_eq!(socket.hear().await, Some(available("notes", &["tasks"])));
}

// P-60: It names every table that changed, up to 1,024; where more did, the list is empty.
#[tokio::test]
async fn a_socket_names_the_tables_unless_they_are_too_many() {
    let (world, node) = one_node().await;
    let mut socket = Socket::of(&world.client("alice", "laptop"), &node, "/ws/todo").await;
    let phone = world.client("alice", "phone");
    for (count, named) in [(400, 400), (1_025, 0), (3, 3)] {
        let tables: Vec<String> = (0..count).map(|n| format!("{n:04}")).collect();
        let changes: Vec<Value> =
            tables.iter().map(|t| json!({"table": t, "id": "1", "op": "insert"})).collect();
        phone.push(&node.url, &changes).await;
        let named: Vec<&str> = tables[..named].iter().map(String::as_str).collect();
        assert_eq!(socket.hear().await, Some(available("todo", &named)));
    }
}

// P-61: `/ws` speaks for all apps, `/ws/{appId}` for one.
#[tokio::test]
async fn a_socket_speaks_for_one_app_or_all() {
    let (world, node) = one_node().await;
    let phone = world.client("alice", "phone");
    let mut all = Socket::of(&phone, &node, "/ws").await;
    let mut one = Socket::of(&phone, &node, "/ws/todo").await;
    for app in ["notes", "todo", "mail"] {
        phone.app(app).push(&node.url, &[insert("t1", &json!({}))]).await;
        assert_eq!(all.hear().await, Some(available(app, &["tasks"])));
    }
    assert_eq!(one.hear().await, Some(available("todo", &["tasks"])));
    phone.push(&node.url, &[insert("t2", &json!({}))]).await;
    assert_eq!(one.hear().await, Some(available("todo", &["tasks"])));
}

// P-58: A socket without a token that holds is closed
#[tokio::test]
async fn a_socket_is_closed_when_its_token_runs_out() {
    let (world, node) = one_node().await;
    let begun = SystemTime::now();
    let short = Client::new(world.issuer.token("alice", Duration::from_secs(3)), "laptop");
    let mut socket = Socket::of(&short, &node, "/ws").await;
    let mut stays = Socket::of(&world.client("alice", "phone"), &node, "/ws").await;
    world.client("alice", "tablet").push(&node.url, &[insert("t1", &json!({}))]).await;
    assert_eq!(socket.hear_or_code().await, Ok(available("todo", &["tasks"])));
    assert_eq!(socket.hear_or_code().await, Err(Some(1008)), "policy");
    // A token's times are whole seconds.
    let took = begun.elapsed().unwrap();
    assert!((2..6).contains(&took.as_secs()), "closed after {took:?}");
    assert_eq!(stays.hear().await, Some(available("todo", &["tasks"])));
    stays.say(&json!({"type": "ping"})).await;
    assert_eq!(stays.hear().await, Some(json!({"type": "pong"})), "another's token goes on");
}

// P-60: When a feed of the user changes, their own or a space's
#[tokio::test]
async fn a_socket_hears_no_more_of_a_space_that_was_left() {
    let world = World::new().await;
    let (first, second) = (world.node().await, world.node().await);
    for user in ["alice", "bob"] {
        world.issuer.join(user, "home");
    }
    let mut socket = Socket::of(&world.client("alice", "laptop"), &second, "/ws").await;
    let (bob, phone) = (world.client("bob", "b").app("shared"), world.client("alice", "phone"));
    let mut shared = insert("t", &json!({}));
    shared["spaceId"] = json!("home");
    // A round: a change in the space, then one of alice's own, which is heard in any case.
    let mut round = async || {
        bob.push(&first.url, std::slice::from_ref(&shared)).await;
        phone.push(&first.url, &[insert("own", &json!({}))]).await;
        let heard = socket.hear().await.unwrap();
        if heard == available("todo", &["tasks"]) {
            return false;
        }
        assert_eq!(heard, available("shared", &["tasks"]));
        assert_eq!(socket.hear().await, Some(available("todo", &["tasks"])));
        true
    };
    assert!(round().await, "a member hears of the space");
    world.issuer.leave("alice", "home");
    assert_eq!(invalidate_at(&first.url, "alice").await.status(), 204);
    eventually("a round without the space", async || (!round().await).then_some(())).await;
    for _ in 0..3 {
        assert!(!round().await, "it is over for good");
    }
}

// P-101: how many `connections` and `users` the node has at this moment
#[tokio::test]
async fn health_counts_sockets_that_have_said_who_they_are() {
    let (world, node) = one_node().await;
    let counts = async || {
        let health = http().get(format!("{}/health", node.url)).send().await.unwrap();
        let health: Value = health.json().await.unwrap();
        (health["connections"].as_u64().unwrap(), health["users"].as_u64().unwrap())
    };
    let stranger = Socket::open(&node, "/ws").await;
    assert_eq!(counts().await, (0, 0), "a stranger is nobody yet");
    let (alice, bob) = (world.client("alice", "a"), world.client("bob", "b"));
    let alices = [Socket::of(&alice, &node, "/ws").await, Socket::of(&alice, &node, "/ws/x").await];
    let bobs = Socket::of(&bob, &node, "/ws").await;
    let _stream = bob.stream(&node.url, "", "").await;
    assert_eq!(counts().await, (4, 2));
    drop(alices);
    eventually("alice has left", async || (counts().await == (2, 1)).then_some(())).await;
    drop((bobs, stranger));
    eventually("a stream is left", async || (counts().await == (1, 1)).then_some(())).await;
}

// P-60: When a feed of the user changes, their own or a space's
#[tokio::test]
async fn a_socket_hears_of_a_space_joined_later() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.membership_life = Duration::from_millis(100);
    let node = world.start(settings).await;
    world.issuer.join("bob", "home");
    let bob = world.client("bob", "b");
    let mut shared = insert("t", &json!({}));
    shared["spaceId"] = json!("home");
    bob.push(&node.url, std::slice::from_ref(&shared)).await;
    for path in ["/ws", "/ws/todo"] {
        let user = format!("alice of {path}");
        let mut socket = Socket::of(&world.client(&user, "laptop"), &node, path).await;
        world.issuer.join(&user, "home");
        // What it holds is new to this user, though nothing moves in it any more.
        assert_eq!(socket.hear().await, Some(available("todo", &["tasks"])));
    }
}

#[tokio::test]
async fn a_space_of_which_could_not_be_read_what_moved_is_told_as_soon_as_it_can() {
    let (world, node) = one_node().await;
    world.issuer.join("bob", "home");
    let mut change = insert("t1", &json!({}));
    change["spaceId"] = json!("home");
    world.client("bob", "b").push(&node.url, &[change]).await;
    let mut socket = Socket::of(&world.client("alice", "a"), &node, "/ws").await;

    // What moved can't be read; that it was asked for, of this space, is known by a sequence.
    let mut admin = world.admin().await;
    let away = "create sequence asked; grant usage on sequence asked to public;
        alter function sync_moved rename to sync_moved_kept;
        create function sync_moved(users text[], user_apps text[], spaces text[],
            space_apps text[], low timestamptz, high timestamptz)
            returns table (kind text, owner text, app text, tables text[])
            language plpgsql as $$ begin
                if 'home' = any(spaces) then perform nextval('asked'); end if;
                raise exception 'not now';
            end $$";
    psql(&mut admin, away).await;
    world.issuer.join("alice", "home");
    invalidate_at(&node.url, "alice").await;
    eventually("a question of what moved", async || {
        let asked = "select is_called from asked";
        value::<bool>(&mut admin, asked).await.then_some(())
    })
    .await;
    let back = "drop function sync_moved; alter function sync_moved_kept rename to sync_moved";
    psql(&mut admin, back).await;
    assert_eq!(socket.hear().await, Some(available("todo", &["tasks"])));
}

#[tokio::test]
async fn a_socket_answers_while_its_spaces_are_looked_up() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.outgoing_time = PATIENCE;
    let node = world.start(settings).await;
    let mut socket = Socket::of(&world.client("alice", "a"), &node, "/ws").await;
    world.issuer.answer_memberships(Answer::Slow(PATIENCE));
    let url = node.url.clone();
    let invalidating = tokio::spawn(async move { invalidate_at(&url, "alice").await });
    let asked = async || (world.issuer.lookups("alice") == 2).then_some(());
    eventually("a question to the service", asked).await;
    // The node hears of it while this goes on.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        socket.say(&json!({"type": "ping"})).await;
        let pong = timeout(Duration::from_secs(10), socket.hear()).await;
        assert_eq!(pong.expect("an answer"), Some(json!({"type": "pong"})));
    }
    println!("the slowest answer came within {:.1?}", begun.elapsed());
    invalidating.abort();
}
