//! One stream of several apps: whatever happens, nothing of any app is missed, and nothing else comes.

mod storm;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::records;
use crate::support::{World, all_published, eventually};
use storm::{APPS, END, LIST, Phone, SPACES, Storm};

// P-108: whoever goes on from it misses nothing of any of them
#[tokio::test]
async fn nothing_is_missed_of_any_app_whatever_happens() {
    let mut storm = Storm::new().await;
    let mut phone = Phone::new(&storm.world);
    let mut admin = storm.world.admin().await;
    for _ in 0..120 {
        match storm.dice.u8(..100) {
            0..60 => storm.push(12).await,
            60..70 => phone.stream = None,
            70..76 => storm.move_bob(|world, space| world.issuer.leave("bob", space)).await,
            76..84 => storm.move_bob(|world, space| world.issuer.join("bob", space)).await,
            84..87 => {
                let deafen = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                     where datname = current_database() and query ilike 'listen%'";
                sqlx::query(deafen).execute(&mut admin).await.unwrap();
            }
            _ => {
                // Something new is on its way to it in any case.
                let bob = storm.world.client("bob", "laptop").app("todo");
                let news = json!({"table": "b", "id": "news", "op": "insert", "data": {}});
                bob.push(&storm.node(), &[news]).await;
                for _ in 0..storm.dice.usize(1..4) {
                    phone.read(&storm.node()).await;
                    if phone.has("todo", "news") {
                        break;
                    }
                }
            }
        }
    }
    // In the end a member of some spaces, and no member of the others.
    let mut spaces = BTreeSet::new();
    for space in SPACES {
        if storm.dice.bool() {
            spaces.insert(space.to_owned());
            storm.move_bob(|world, _| world.issuer.join("bob", space)).await;
        } else {
            storm.move_bob(|world, _| world.issuer.leave("bob", space)).await;
        }
    }
    let node = storm.node();
    while phone.spaces != spaces {
        phone.next(&node).await;
    }
    all_published(&mut admin).await;
    storm.push(12).await;
    storm.end().await;
    phone.read_to_end(&node).await;
    for app in APPS {
        // Authors may read their own changes of a space that is lost; the phone dropped some.
        let is_told = |(record, space): &(String, Option<String>)| {
            !record.ends_with("bob") || space.as_ref().is_none_or(|space| spaces.contains(space))
        };
        let (mut holds, mut may) = (phone.held[app].clone(), storm.may_read(app).await);
        holds.retain(is_told);
        may.retain(is_told);
        assert_eq!(holds, may, "{app}; left: what it holds, right: what it may read");
    }
}

// P-108: Once all have caught up it is exact
#[tokio::test]
async fn live_cursors_are_exact_for_all_apps() {
    let mut storm = Storm::new().await;
    let mut phone = Phone::new(&storm.world);
    let node = storm.node();
    storm.warm_up(&mut phone, &node).await;
    for _ in 0..30 {
        storm.push(5).await;
    }
    storm.end().await;
    // The cursor behind each event, and what had come by then.
    let mut places = Vec::new();
    while !phone.has_ended() {
        phone.read(&node).await;
        places.push((phone.cursor.clone(), phone.came.clone()));
    }
    for (cursor, before) in places {
        if APPS.iter().any(|app| before[*app].iter().any(|record| record == END)) {
            break;
        }
        let mut again = Phone { cursor, ..Phone::new(&storm.world) };
        again.read_to_end(&storm.node()).await;
        for app in APPS {
            let rest = &phone.came[app][before[app].len()..];
            assert_eq!(again.came[app], rest, "{app} from {}", again.cursor);
        }
    }
}

// P-108: a client that was cut off is given some of it again
#[tokio::test]
async fn a_backlog_that_is_cut_off_anywhere_is_read_to_its_end() {
    let mut storm = Storm::new().await;
    // Several pages of each app.
    for _ in 0..12 {
        storm.push(900).await;
    }
    storm.end().await;
    let mut phone = Phone::new(&storm.world);
    let (mut events, mut cuts) = (0, 0);
    while !phone.has_ended() {
        phone.read(&storm.node()).await;
        events += 1;
        // The cursor moves on at least once in a page of each app, 1,000 changes altogether.
        if storm.dice.u32(..700) == 0 {
            phone.stream = None;
            cuts += 1;
        }
    }
    let mut came = 0;
    for app in APPS {
        assert_eq!(phone.held[app], storm.may_read(app).await, "{app}");
        came += phone.came[app].len();
    }
    println!("{came} changes in {events} events, repeated ones included, {cuts} times cut off");
}

// P-108: Once all have caught up it is exact, which an event without changes says
#[tokio::test]
async fn whoever_comes_back_after_the_backlog_of_one_app_is_sent_nothing_again() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.limits.heartbeat = Duration::from_millis(50);
    let started = world.start(settings).await;
    let node = started.url.clone();
    // A page of the app that is read first, while of the others nothing was.
    let insert = |n| json!({"table": "a", "id": format!("old {n}"), "op": "insert", "data": {}});
    let backlog: Vec<Value> = (0..300).map(insert).collect();
    world.client("bob", "laptop").app("calendar").push(&node, &backlog).await;
    let mut phone = Phone::new(&world);
    while phone.held.get("calendar").is_none_or(|held| held.len() < backlog.len()) {
        phone.read(&node).await;
    }
    eventually("a cursor behind the backlog", async || {
        phone.next(&node).await;
        let page = phone.client.app("calendar").pull(&node, "a", &phone.cursor).await;
        (page["serverChanges"] == json!([])).then_some(())
    })
    .await;
    assert_eq!(phone.came["calendar"].len(), backlog.len(), "once");
}

// P-108: what is new of the others comes all the same
#[tokio::test]
async fn a_long_backlog_of_one_app_holds_up_no_other() {
    let mut storm = Storm::new().await;
    let node = storm.node();
    let laptop = storm.world.client("bob", "laptop");
    let text = "x".repeat(20_000);
    // More than the sockets of both sides hold.
    for push in 0..10 {
        let insert = |n: usize| {
            let record = format!("{push} {n}");
            json!({"table": "a", "id": record, "op": "insert", "data": {"text": text}})
        };
        laptop.app("calendar").push(&node, &(0..200).map(insert).collect::<Vec<_>>()).await;
    }
    storm.end().await;
    let mut phone = Phone::new(&storm.world);
    // What there is of the others has come.
    while !phone.has("todo", END) || !phone.has("notes", END) {
        phone.read(&node).await;
    }
    let live = json!({"table": "a", "id": "live", "op": "insert", "data": {}});
    laptop.app("todo").push(&node, &[live]).await;
    while !phone.has("todo", "live") {
        phone.read(&node).await;
    }
    let came = phone.came["calendar"].len();
    println!("a change of another app came after {came} of 2001 of the backlog");
    assert!(!phone.has("calendar", END), "it came after the backlog");
}

#[tokio::test]
async fn a_lost_space_ends_in_all_apps_at_once() {
    let mut storm = Storm::new().await;
    let node = storm.node();
    let mut stream = storm.world.client("bob", "phone").stream_of_apps(&node, LIST, "").await;
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": ["home", "work"]}));
    storm.world.issuer.leave("bob", "work");
    storm.move_bob(|world, _| world.issuer.leave("bob", "home")).await;
    assert_eq!(stream.named("spaces").await.data, json!({"spaces": []}));
    for app in APPS {
        let shared =
            json!({"table": "a", "id": "lost", "op": "insert", "data": {}, "spaceId": "home"});
        storm.world.client("alice", "laptop").app(app).push(&node, &[shared]).await;
    }
    storm.end().await;
    let mut came = Vec::new();
    while came.len() < APPS.len() {
        came.extend(records(stream.named("changes").await.data["changes"].as_array().unwrap()));
    }
    assert_eq!(came, [END; 3]);
    // The history of the space comes whole in all apps once it is joined again.
    storm.move_bob(|world, _| world.issuer.join("bob", "home")).await;
    let mut came = BTreeSet::new();
    while came.len() < APPS.len() {
        let data = stream.named("changes").await.data;
        for record in records(data["changes"].as_array().unwrap()) {
            assert_eq!(record, "lost");
            came.insert(data["appId"].as_str().unwrap().to_owned());
        }
    }
}
