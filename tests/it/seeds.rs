//! The inputs that are kept for the fuzz targets (`scripts/fuzz`) hold on every build: those they
//! begin with, and those that once failed.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/checks.rs"]
mod checks;

/// Runs all that is kept for a target.
fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 2, "{count} inputs in {}", folder.display());
}

#[test]
fn inputs_kept_for_fuzzing_hold() {
    run("cursor", checks::cursor);
    run("changeset", checks::changeset);
    run("event", checks::event);
    run("doorbell", checks::doorbell);
}
