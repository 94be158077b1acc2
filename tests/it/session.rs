//! Real input: a recorded session of three devices, replayed through one replica and read back
//! through the other, compared digit by digit. And a crowd that writes while others read.

mod crowd;
mod recording;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::support::world::TestNode;
use crate::support::{Client, World};
use recording::{SPACE, Sent, pushes};
use tree::Tree;

const START: &str = "1970-01-01T00:00:00.000Z";

/// The household: two replicas, and two members of one space.
async fn household() -> (World, TestNode, TestNode) {
    let world = World::new().await;
    world.issuer.join("ana", SPACE);
    world.issuer.join("ben", SPACE);
    let (first, second) = (world.node().await, world.node().await);
    (world, first, second)
}

/// Replays the session through a node, each device with the cursor of its last push, as devices
/// do. Gives what was sent, and by device what the answers offered.
async fn replay(world: &World, node: &str) -> (Vec<Sent>, BTreeMap<String, Vec<Tree>>) {
    let (mut sent, mut offered) = (Vec::new(), BTreeMap::<String, Vec<Tree>>::new());
    let mut cursors = BTreeMap::<String, String>::new();
    for push in pushes() {
        let since = cursors.get(&push.client).map_or("", String::as_str);
        let body = push.body.replacen('{', &format!(r#"{{"since":"{since}","#), 1);
        let device = world.client(&push.user, &push.client);
        let page = Page::of(device.post(node, body).await).await;
        offered.entry(push.client.clone()).or_default().extend(page.changes);
        cursors.insert(push.client.clone(), page.until);
        sent.extend(push.changes());
    }
    (sent, offered)
}

/// An answer to a pull or a push.
struct Page {
    changes: Vec<Tree>,
    until: String,
    more: bool,
}

impl Page {
    async fn of(response: reqwest::Response) -> Self {
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        let mut answer = Tree::parse(&text).into_members();
        assert!(!answer.contains_key("unpublished"), "{text}");
        Self {
            changes: answer.remove("serverChanges").unwrap().into_items(),
            until: answer["syncedUntil"].as_text().unwrap().to_owned(),
            more: answer.contains_key("hasMore"),
        }
    }
}

/// Everything, by empty pushes.
async fn by_pushes(client: &Client, node: &str) -> Vec<Tree> {
    let (mut changes, mut since) = (Vec::new(), String::new());
    loop {
        let body = format!(r#"{{"since":"{since}","changes":null}}"#);
        let page = Page::of(client.post(node, body).await).await;
        changes.extend(page.changes);
        since = page.until;
        if !page.more {
            return changes;
        }
    }
}

/// Everything in a table, by pages of 50.
async fn by_pulls(client: &Client, node: &str, table: &str) -> Vec<Tree> {
    let (mut changes, mut since) = (Vec::new(), START.to_owned());
    loop {
        let path = format!("/sync/todo/pull?collection={table}&limit=50&since={since}");
        let page = Page::of(client.get(node, &path).await).await;
        changes.extend(page.changes);
        since = page.until;
        if !page.more {
            return changes;
        }
    }
}

/// The next `count` changes of a stream.
async fn by_stream(stream: &mut crate::support::Events, count: usize) -> Vec<Tree> {
    let mut changes = Vec::new();
    while changes.len() < count {
        let event = stream.named("changes").await;
        let data = event.text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let mut data = Tree::parse(data).into_members();
        let run = data.remove("changes").unwrap().into_items();
        assert!(run.iter().all(|change| change.get("table") == data.get("table")), "{data:?}");
        changes.extend(run);
    }
    changes
}

/// Compares what a device was offered with what was sent, change by change, and field by field.
/// Gives the event ids.
fn compare(how: &str, offered: &[Tree], wanted: &[&Sent]) -> Vec<Uuid> {
    let mut events = Vec::new();
    for (place, (offered, sent)) in offered.iter().zip(wanted).enumerate() {
        let mut members = offered.clone().into_members();
        let event = members.remove("eventId").unwrap();
        events.push(Uuid::try_parse(event.as_text().unwrap()).unwrap());
        for name in members.keys().chain(sent.wire.members().keys()).collect::<BTreeSet<_>>() {
            let (got, want) = (members.get(name), sent.wire.members().get(name));
            assert_eq!(got, want, "{how}: {name} of change {place}, sent by {}", sent.client);
        }
    }
    assert_eq!(offered.len(), wanted.len(), "{how}: the number of changes");
    events
}

fn wanted<'a>(sent: &'a [Sent], user: &str, client: &str) -> Vec<&'a Sent> {
    sent.iter().filter(|sent| sent.is_for(user, client)).collect()
}

#[test]
fn the_recording_is_what_it_is_said_to_be() {
    let sent: Vec<Sent> = pushes().iter().flat_map(recording::Push::changes).collect();
    let distinct = |get: fn(&Sent) -> &str| sent.iter().map(get).collect::<BTreeSet<_>>().len();
    assert!(sent.len() > 300 && pushes().len() > 30);
    assert_eq!((distinct(|s| &s.user), distinct(|s| &s.client), distinct(|s| &s.table)), (2, 3, 6));
    let all = |name: &str| sent.iter().filter(|s| s.wire.get(name).is_some()).count();
    let ops = |op: &str| sent.iter().filter(|s| s.wire.get("op") == Some(&Tree::text(op))).count();
    assert!(["insert", "update", "delete"].iter().all(|op| ops(op) > 20));
    for optional in ["actor", "origin", "spaceId", "data", "fields", "deletedAt"] {
        assert!((20..sent.len() - 20).contains(&all(optional)), "{optional}: {}", all(optional));
    }
    assert!(all("deletedAt") < ops("delete") && all("data") < ops("insert"));
}

/// A plane of characters that JSON spells as pairs; pictures stand there.
fn is_emoji(c: char) -> bool {
    ('\u{1f300}'..='\u{1faff}').contains(&c)
}

/// Whether this is a whole number that a double can't tell from its neighbours.
fn is_large(token: &str) -> bool {
    let digits = token.trim_start_matches('-');
    let whole = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    whole && digits.parse().is_ok_and(|number: u128| number > 1 << 53)
}

#[test]
fn the_recording_holds_what_is_hard_to_carry() {
    let changes: Vec<Tree> = pushes().iter().flat_map(recording::Push::wires).collect();
    let hold = |what: fn(&Tree) -> bool| changes.iter().filter(|c| c.any(&what)).count();
    assert!(hold(|tree| tree.as_text().is_some_and(|text| text.chars().any(is_emoji))) > 50);
    assert!(hold(|tree| matches!(tree, Tree::Token(token) if is_large(token))) > 50);
    assert!(hold(|tree| tree.as_text().is_some_and(|text| text.len() > 4 * 1024)) > 10);
    assert!(hold(|tree| matches!(tree, Tree::Token(token) if token.contains(['e', 'E']))) > 10);
    assert!(hold(|tree| *tree == Tree::Token("null".to_owned())) > 20);
    let nested = changes.iter().filter_map(|c| c.get("data")).filter(|data| data.depth() >= 3);
    assert!(nested.count() > 10, "objects in objects in objects");
    let fields = changes.iter().filter_map(|c| c.get("fields"));
    assert!(fields.filter(|fields| fields.depth() >= 5).count() > 3, "fields that hold objects");

    // The time of a field is spelled in either way, in both, or is missing.
    let fields = changes.iter().filter_map(|change| change.get("fields"));
    let fields: Vec<&Tree> = fields.flat_map(|fields| fields.members().values()).collect();
    let spelled = |updated: bool, at: bool| {
        let has = |field: &Tree, name: &str| field.get(name).is_some();
        let so = |field: &&&Tree| (has(field, "updatedAt"), has(field, "at")) == (updated, at);
        fields.iter().filter(so).count()
    };
    for (updated, at) in [(true, false), (false, true), (true, true), (false, false)] {
        let count = spelled(updated, at);
        assert!(count > 10, "updatedAt: {updated}, at: {at}: {count}");
    }

    let lack = |op: &str, name: &str| {
        let of = changes.iter().filter(|change| change.get("op") == Some(&Tree::text(op)));
        of.filter(|change| change.get(name).is_none()).count()
    };
    for (op, name) in [
        ("insert", "data"),
        ("delete", "deletedAt"),
        ("insert", "schemaVersion"),
        ("update", "spaceId"),
        ("update", "actor"),
        ("delete", "origin"),
    ] {
        assert!(lack(op, name) > 0, "each {op} has {name}");
    }
}

#[tokio::test]
async fn a_recorded_session_is_read_back_through_another_replica_digit_by_digit() {
    let (world, first, second) = household().await;
    let mut live = world.client("ben", "ben-live").stream(&second.url, "", "").await;
    let (sent, _) = replay(&world, &first.url).await;
    for user in ["ana", "ben"] {
        let device = world.client(user, "new-device");
        let wanted = wanted(&sent, user, "new-device");
        let by_pushes = compare("push", &by_pushes(&device, &second.url).await, &wanted);
        let mut backlog = device.stream(&second.url, "", START).await;
        let backlog = by_stream(&mut backlog, wanted.len()).await;
        assert_eq!(compare("backlog", &backlog, &wanted), by_pushes);
        let mut by_pull = BTreeSet::new();
        for table in sent.iter().map(|sent| &sent.table).collect::<BTreeSet<_>>() {
            let wanted: Vec<_> = wanted.iter().filter(|s| s.table == *table).copied().collect();
            let changes = by_pulls(&device, &second.url, table).await;
            by_pull.extend(compare("pull", &changes, &wanted));
        }
        assert_eq!(by_pull, by_pushes.into_iter().collect());
    }
    let wanted = wanted(&sent, "ben", "ben-live");
    compare("live", &by_stream(&mut live, wanted.len()).await, &wanted);
}

#[tokio::test]
async fn the_recorded_devices_are_offered_what_the_others_sent_and_never_their_own() {
    let (world, first, second) = household().await;
    let (sent, mut offered) = replay(&world, &first.url).await;
    for (user, client) in [("ana", "ana-laptop"), ("ana", "ana-phone"), ("ben", "ben-tablet")] {
        let device = world.client(user, client);
        let wanted = wanted(&sent, user, client);
        let all = by_pushes(&device, &second.url).await;
        compare("afterwards", &all, &wanted);
        let along = offered.remove(client).unwrap();
        assert!(along.len() > 50, "{client} was offered {} along the way", along.len());
        compare("along the way", &along, &wanted[..along.len()]);
    }
    let stranger = world.client("eve", "eve-phone");
    assert_eq!(by_pushes(&stranger, &second.url).await, []);
}
