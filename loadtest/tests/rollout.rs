//! The rollout, short: nodes behind nginx are replaced in turn, and clients notice a reconnect at
//! most. The command judges itself; what it printed is printed again.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::Command;

const FLAGS: [&str; 8] = [
    "--streams=60",
    "--pushes=30",
    "--rest=1",
    "--drain-delay=1",
    "--drain-spread=3",
    "--drain-deadline=8",
    "--out",
    concat!(env!("CARGO_TARGET_TMPDIR"), "/rollout"),
];

#[test]
fn nodes_are_replaced_and_nobody_loses_anything() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output = command.arg("rollout").args(FLAGS).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // Past the test runner, which keeps what a test that passes has printed.
    let mut past = std::io::stderr();
    write!(past, "{said}").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        said.contains(" 0 failed even then;") && said.contains("lost 0, duplicated 0,"),
        "{said}"
    );
}
