//! What ARCHITECTURE.md promises of the sources, held by reading them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file under `src/`, without its tests and comments.
struct Source {
    /// Its path below `src/`.
    path: String,
    lines: usize,
    code: String,
}

impl Source {
    /// The module of the crate that it belongs to.
    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }
}

/// All sources but the tests that stand beside them.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    for file in files(&root) {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        if path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "stub.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        sources.push(Source { path, lines: text.lines().count(), code: code_of(&text) });
    }
    assert!(sources.len() > 40, "only {} sources were found", sources.len());
    sources
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text up to its tests, without comments.
fn code_of(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.fold(String::new(), |code, line| code + line + "\n")
}

/// The modules of the crate that `code` names.
fn imports(code: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = |path: &str| path.trim_start().chars().take_while(|c| is_name(*c)).collect();
    let mut modules = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(top_level(group).into_iter().map(first)),
            None => drop(modules.insert(first(rest))),
        }
    }
    modules.remove("");
    modules
}

/// The members of the group that `text` begins in, whole, up to its closing brace.
fn top_level(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut members) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&text[from..at]);
                return members;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    members
}

/// Fails where `word` stands in a file that is not `allowed`.
fn only_in(word: &str, allowed: &[&str]) {
    let sources = sources();
    let here: Vec<&str> = sources
        .iter()
        .filter(|source| source.code.contains(word))
        .map(|source| source.path.as_str())
        .collect();
    assert!(!here.is_empty(), "{word} stands nowhere: is it spelled another way by now?");
    let stray: Vec<_> =
        here.iter().filter(|path| !allowed.iter().any(|place| path.starts_with(place))).collect();
    assert!(stray.is_empty(), "{word} stands in {stray:?}, and may in {allowed:?} alone");
}

#[test]
fn a_file_imports_only_what_stands_above_it() {
    let sources = sources();
    let lib = sources.iter().find(|source| source.path == "lib.rs").unwrap();
    let order: Vec<&str> = lib
        .code
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let place = |module: &str| order.iter().position(|named| *named == module);
    let mut breaks = Vec::new();
    for source in sources.iter().filter(|s| s.path != "lib.rs" && s.path != "main.rs") {
        let Some(own) = place(source.module()) else {
            breaks.push(format!("{} stands in no module that lib.rs names", source.path));
            continue;
        };
        for import in imports(&source.code) {
            match place(&import) {
                Some(other) if other > own => {
                    breaks.push(format!("{} imports {import}, which stands below", source.path));
                }
                Some(_) => {}
                None => breaks.push(format!("{} imports {import}, no module", source.path)),
            }
        }
    }
    assert!(breaks.is_empty(), "the order of lib.rs does not hold:\n{}", breaks.join("\n"));
}

#[test]
fn sql_stands_in_the_store_alone() {
    only_in("sqlx::query", &["store/", "dev/postgres", "listener.rs"]);
    for word in ["\"select ", "\"call ", "\"create "] {
        only_in(word, &["store/", "dev/postgres", "listener.rs"]);
    }
}

#[test]
fn permission_is_granted_in_one_place() {
    // `grant.rs` defines both, the writer's by the reader's.
    only_in("Reader::grant(", &["http/extract.rs", "grant.rs"]);
    only_in("Writer::grant(", &["http/extract.rs"]);
}

#[test]
fn one_file_spawns() {
    // The server of `dev` spawns a process, and the thread that it dies with.
    only_in(".spawn(", &["node.rs", "node/", "dev/postgres/server.rs"]);
    only_in("tokio::spawn", &["node.rs"]);
}

#[test]
fn the_environment_is_read_in_one_place() {
    only_in("env::var", &["config"]);
}

#[test]
fn no_file_is_long() {
    let long = sources().into_iter().filter(|source| source.lines > 400);
    let long: Vec<_> = long.map(|source| (source.path, source.lines)).collect();
    assert!(long.is_empty(), "files of more than 400 lines: {long:?}");
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = "use crate::id::{AppId, UserId};\nuse crate::{auth, store::{self, Store},\n \
                writer};\nfn f(x: crate::feed::Feeds) { $crate::metrics::x() }";
    let found: Vec<_> = imports(code).into_iter().collect();
    assert_eq!(found, ["auth", "feed", "id", "metrics", "store", "writer"]);
}
