//! `tail`, `push`, and what the program says of itself: as a person at a terminal has
//! them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Process, free_port};
use crate::processes::dev::{data, fleet};
use crate::store::sql::value;
use crate::support::{World, change, delete, eventually, insert, update};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mana-sync");
/// A node that leaves quickly.
const LEAVES: [&str; 2] = ["--drain-delay-seconds=0", "--drain-spread-seconds=1"];
const COMMANDS: [&str; 10] = [
    "serve",
    "migrate",
    "import",
    "doctor",
    "health",
    "dev",
    "token",
    "tail",
    "push",
    "completions",
];

/// A node on this port, a process, as soon as it is ready.
async fn node_on(world: &World, port: u16, flags: &[&str]) -> Process {
    let own = [world.flags(), vec![format!("--port={port}")]].concat();
    let flags: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
    let mut node = Process::start("serve", &flags);
    node.url = format!("http://127.0.0.1:{port}");
    node.ready().await;
    node
}

/// Starts a command as `user`.
fn start(world: &World, user: &str, command: &str, url: &str, flags: &[&str]) -> Process {
    let token = world.client(user, "").token;
    let url = format!("--url={url}");
    let flags = [&["--app=todo", url.as_str()], flags].concat();
    Process::start_with(command, &flags, &[("MANA_SYNC_TOKEN", &token)])
}

/// The ids of the records on the lines so far.
fn ids(process: &Process) -> Vec<String> {
    let out = process.out();
    let line =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().into();
    out.split_inclusive('\n').filter(|text| text.ends_with('\n')).map(line).collect()
}

#[tokio::test]
async fn tail_follows_a_feed_through_a_restart_and_ends_when_interrupted() {
    let (world, port) = (World::new().await, free_port());
    let mut first = node_on(&world, port, &[]).await;
    let alice = world.client("alice", "phone");
    alice.push(&first.url, &[insert("stored", &json!({ "title": "Milk" }))]).await;
    let mut all =
        start(&world, "alice", "tail", &first.url, &["--json", "--since=1970-01-01T00:00:00Z"]);
    let records = async |wanted: &[&str]| {
        eventually("the lines", async || (ids(&all) == wanted).then_some(())).await;
    };
    records(&["stored"]).await;
    alice.push(&first.url, &[change("live", "delete")]).await;
    records(&["stored", "live"]).await;
    first.kill();
    eventually("a word", async || all.err().contains("again in").then_some(())).await;
    let mut second = node_on(&world, port, &LEAVES).await;
    alice.push(&second.url, &[change("later", "delete")]).await;
    records(&["stored", "live", "later"]).await;
    // One that leaves in good order says when to come again.
    second.signal("TERM");
    assert_eq!(second.ended().await.code(), Some(0), "{}", second.err());
    let third = node_on(&world, port, &[]).await;
    alice.push(&third.url, &[change("last", "delete")]).await;
    records(&["stored", "live", "later", "last"]).await;
    all.signal("INT");
    assert_eq!(all.ended().await.code(), Some(0), "{}", all.err());
}

#[tokio::test]
async fn tail_shows_what_is_asked_for_in_lines_without_colour_in_a_pipe() {
    let world = World::new().await;
    world.issuer.join("alice", "home");
    let node = world.node().await;
    let flags = ["--table=tasks,notes", "--op=insert,update", "--since=1970-01-01T00:00:00Z"];
    let tail = start(&world, "alice", "tail", &node.url, &flags);
    let home = start(&world, "alice", "tail", &node.url, &["--space=home", "--since=x"]);
    let one = start(&world, "alice", "tail", &node.url, &["--record=t2", "--since=x"]);
    let mut shared = insert("t1", &json!({ "title": "Milk\u{9b}" }));
    shared["spaceId"] = json!("home");
    let mut elsewhere = change("t9", "insert");
    elsewhere["table"] = json!("others");
    let changes = [
        shared,
        elsewhere,
        delete("t1", "2026-01-01T10:06:00Z"),
        update("t2", "title", &json!("Eggs"), "2026-01-01T10:05:00Z"),
    ];
    world.client("alice", "phone").push(&node.url, &changes).await;
    tail.says("update  tasks/t2  title=\"Eggs\"\n").await;
    home.says("\n").await;
    one.says("\n").await;
    let lines = |process: &Process| -> Vec<String> {
        process.out().lines().map(|line| line.split_once("  ").unwrap().1.to_owned()).collect()
    };
    let insert = "insert  tasks/t1  @home  {\"title\":\"Milk\\u{9b}\"}";
    assert_eq!(lines(&tail), [insert, "update  tasks/t2  title=\"Eggs\""]);
    assert_eq!(lines(&home), [insert]);
    assert_eq!(lines(&one), ["update  tasks/t2  title=\"Eggs\""]);
}

#[tokio::test]
async fn tail_ends_quietly_where_nobody_reads() {
    let world = World::new().await;
    let node = world.node().await;
    let alice = world.client("alice", "phone");
    alice.push(&node.url, &[change("t1", "delete")]).await;
    let line = format!(
        "set -o pipefail; {PROGRAM} tail --app todo --url {} --since x | head -n 1",
        node.url
    );
    let mut pipe = Process::spawn(
        Command::new("bash").args(["-c", &line]).env("MANA_SYNC_TOKEN", &alice.token),
    );
    pipe.says("tasks/t1\n").await;
    // Whoever reads may be gone only after some more lines.
    let mut more = 0;
    let ended = async {
        loop {
            alice.push(&node.url, &[change(&format!("more{more}"), "delete")]).await;
            more += 1;
        }
    };
    let code = tokio::select! {
        status = pipe.ended() => status.code(),
        () = ended => None,
    };
    assert_eq!((code, pipe.err()), (Some(0), String::new()));
}

#[tokio::test]
async fn a_command_says_who_is_missing_and_what_the_node_refuses() {
    let world = World::new().await;
    let node = world.node().await;
    let folder = tempfile::tempdir().unwrap();
    let data = format!("--data={}", folder.path().display());
    let url = format!("--url={}", node.url);
    let mut tail = Process::start("tail", &["--app=todo", &url, &data]);
    assert_eq!(tail.ended().await.code(), Some(2));
    assert!(tail.err().contains("there is no token: set MANA_SYNC_TOKEN"), "{}", tail.err());
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "no key is made up");
    let mut tail = start(&world, "alice", "tail", &node.url, &["--user=bob"]);
    assert_eq!(tail.ended().await.code(), Some(2));
    assert!(tail.err().contains("give one of both"), "{}", tail.err());
    let token = [("MANA_SYNC_TOKEN", "not.a.token")];
    let mut tail = Process::start_with("tail", &["--app=todo", &url], &token);
    assert_eq!(tail.ended().await.code(), Some(2));
    assert!(tail.err().contains("401 Unauthorized: the token is not valid"), "{}", tail.err());
    let mut tail = start(&world, "alice", "tail", "http://127.0.0.1:1", &[]);
    assert_eq!(tail.ended().await.code(), Some(2));
    assert!(tail.err().contains("does not answer: "), "{}", tail.err());
    assert!(tail.err().contains("refused"), "{}", tail.err());
}

/// A file of so many changes.
fn file(folder: &TempDir, lines: usize) -> String {
    let path = folder.path().join("changes.jsonl");
    let line = |n| format!("{}\n", insert(&format!("r{n}"), &json!({ "n": n })));
    fs::write(&path, (0..lines).map(line).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn push_stores_the_lines_of_a_file_once_however_often_it_is_given() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let node = world.node().await;
    let mut admin = world.admin().await;
    let mut stored =
        async || -> i64 { value(&mut admin, "select count(*) from sync_changes").await };
    let path = file(&folder, 450);
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{good}{}\n", change("r", "upsert"))).unwrap();
    let mut push = start(&world, "alice", "push", &node.url, &[&path]);
    assert_eq!(push.ended().await.code(), Some(2));
    assert!(push.err().contains("line 451: op must be insert, update or delete"), "{}", push.err());
    assert_eq!(stored().await, 0, "nothing was sent");
    fs::write(&path, &good).unwrap();
    for _ in 0..2 {
        let mut push = start(&world, "alice", "push", &node.url, &[&path]);
        assert_eq!(push.ended().await.code(), Some(0), "{}", push.err());
        assert!(push.out().starts_with("Pushed 450 changes in "), "{}", push.out());
        assert_eq!(push.err(), "", "a bar is drawn on a terminal only");
        assert_eq!(stored().await, 450);
    }
    let (all, _) = world.client("alice", "x").pull_all(&node.url, "tasks", "").await;
    let order: Vec<_> = all.iter().map(|change| change["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(order, (0..450).collect::<Vec<_>>());
    let line = format!("exec {PROGRAM} push --app todo --url {} - < {path}", node.url);
    let token = world.client("bob", "").token;
    let mut push =
        Process::spawn(Command::new("sh").args(["-c", &line]).env("MANA_SYNC_TOKEN", &token));
    assert_eq!(push.ended().await.code(), Some(0), "{}", push.err());
    assert_eq!(stored().await, 900, "bob's own, from the standard input");
}

#[tokio::test]
async fn push_waits_for_a_node_that_turns_it_away_or_is_gone() {
    let (world, folder, port) = (World::new().await, tempfile::tempdir().unwrap(), free_port());
    // A node lets ten seconds' worth of requests pass at once.
    let path = file(&folder, 2_400);
    let url = format!("http://127.0.0.1:{port}");
    let mut push = start(&world, "alice", "push", &url, &[&path]);
    eventually("a word", async || push.err().contains("does not answer").then_some(())).await;
    let _node = node_on(&world, port, &["--limit-user-requests=1"]).await;
    assert_eq!(push.ended().await.code(), Some(0), "{}", push.err());
    assert!(push.err().contains("429 Too Many Requests"), "{}", push.err());
    let stored: i64 = value(&mut world.admin().await, "select count(*) from sync_changes").await;
    assert_eq!(stored, 2_400);
}

#[tokio::test]
async fn the_dev_fleet_s_own_issuer_gives_tail_and_push_a_token() {
    let (_fleet, folder, lines) = fleet().await;
    let (url, _) = lines[2].rsplit(' ').next().unwrap().split_once("/sync/").unwrap();
    let (url, data) = (format!("--url={}", url.trim_matches(['\'', '"'])), data(&folder));
    let tail = Process::start("tail", &["--app=todo", "--user=alice", "--since=x", &url, &data]);
    let path = file(&folder, 1);
    let mut push = Process::start("push", &["--app=todo", &url, &data, &path]);
    assert_eq!(push.ended().await.code(), Some(0), "{}", push.err());
    tail.says("insert  tasks/r0  {\"n\":0}\n").await;
}

/// What a command says of itself.
async fn help(command: &[&str]) -> String {
    let mut process = Process::spawn(Command::new(PROGRAM).args(command).arg("--help"));
    assert_eq!(process.ended().await.code(), Some(0), "{}", process.err());
    process.out()
}

#[tokio::test]
async fn each_command_has_help_with_examples_that_it_understands() {
    let program = help(&[]).await;
    assert!(program.contains("Examples:\n") && !program.contains('\u{1b}'), "{program}");
    for command in COMMANDS {
        assert!(program.contains(&format!("\n  {command} ")), "{command} is not listed: {program}");
        let help = help(&[command]).await;
        assert!(!help.contains('\u{1b}'), "coloured in a pipe: {help}");
        let (flags, examples) = help.split_once("Examples:\n").expect(command);
        let mut named = 0;
        for line in
            examples.lines().filter_map(|line| line.split_once(&format!("mana-sync {command}")))
        {
            named += 1;
            // What belongs to another program stands before the command.
            let own = line.1.split(')').next().unwrap();
            for flag in own.split_whitespace().filter(|word| word.starts_with("--")) {
                assert!(flags.contains(flag), "{command} does not know {flag}");
            }
        }
        assert!(named > 0, "{command} has no example: {examples}");
    }
}

#[tokio::test]
async fn help_is_coloured_on_a_terminal() {
    let line = format!("{PROGRAM} tail --help");
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR");
    let mut terminal = Process::spawn(&mut terminal);
    assert_eq!(terminal.ended().await.code(), Some(0), "{}", terminal.err());
    assert!(terminal.out().contains("\u{1b}["), "{}", terminal.out());
}
