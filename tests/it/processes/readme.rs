//! What the README has people type at the fleet of `scripts/dev`, in its order.

use std::process::Command;

use super::Process;
use super::dev::{data, fleet, place};

const README: &str = include_str!("../../../README.md");

/// The blocks of shell in the tour.
fn blocks() -> Vec<&'static str> {
    let (_, tour) = README.split_once("## A tour with curl\n").unwrap();
    let (tour, _) = tour.split_once("\n## ").unwrap();
    tour.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

#[tokio::test]
async fn the_tour_of_the_readme_works_as_printed() {
    let (fleet, folder, _) = fleet().await;
    let of_dev = |name| place(&fleet.out(), name);
    let program = env!("CARGO_BIN_EXE_mana-sync");
    let run = |script: String| {
        let script = script
            .replace("http://127.0.0.1:3049", &of_dev("issuer"))
            .replace("http://127.0.0.1:3050", &of_dev("replica 1"))
            .replace("http://127.0.0.1:3051", &of_dev("replica 2"))
            .replace("target/debug/mana-sync push", &format!("{program} push {}", data(&folder)))
            .replace(
                "target/debug/mana-sync tail",
                &format!("exec {program} tail {}", data(&folder)),
            )
            .replace("curl -N", "exec curl -N");
        let mut command = Command::new("sh");
        command.args(["-ec", &script]).current_dir(folder.path());
        // Where the program looks for a node by itself.
        Process::spawn(command.env("MANA_SYNC_URL", of_dev("replica 1")))
    };
    let blocks = blocks();
    let [tokens, push, pull, stream, push_line, tail] = blocks[..] else {
        panic!("six blocks: {blocks:?}")
    };

    let mut pushed = run(format!("{tokens}{push}"));
    assert_eq!(pushed.ended().await.code(), Some(0), "{}", pushed.err());
    let answer = pushed.out();
    assert!(answer.contains("\"syncedUntil\"") && !answer.contains("unpublished"), "{answer}");
    let mut pulled = run(format!("{tokens}{pull}"));
    assert_eq!(pulled.ended().await.code(), Some(0), "{}", pulled.err());
    assert!(pulled.out().contains("\"Milk\""), "{}", pulled.out());
    let streamed = run(format!("{tokens}{stream}"));
    streamed.says("\"Milk\"").await;
    let mut pushed = run(push_line.to_owned());
    assert_eq!(pushed.ended().await.code(), Some(0), "{}", pushed.err());
    streamed.says("\"Bread\"").await;
    run(tail.to_owned()).says("\"Bread\"").await;
}
