//! docs/protocol.md lists the errors that the node gives, and no others; docs/errors.md says of each
//! where it comes from and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use reqwest::StatusCode;

/// The statuses of each code.
pub type Codes = BTreeMap<String, BTreeSet<u16>>;

fn text(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap()
}

/// The text between two others, without whitespace.
fn between(text: &str, begin: &str, end: &str) -> String {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{begin:?} is nowhere"));
    let (inside, _) = rest.split_once(end).unwrap();
    inside.split_whitespace().collect()
}

/// What stands in quotes of this kind.
fn quoted(text: &str, quote: char) -> Vec<&str> {
    text.split(quote).skip(1).step_by(2).collect()
}

/// The number of a status by the name of its constant.
fn status(name: &str) -> u16 {
    let is_named = |status: &StatusCode| {
        let reason = status.canonical_reason().unwrap_or_default();
        reason.to_uppercase().replace([' ', '-'], "_") == name
    };
    let known = (400..600).map(|number| StatusCode::from_u16(number).unwrap());
    known.into_iter().find(is_named).unwrap_or_else(|| panic!("what is {name}?")).as_u16()
}

/// The table of the protocol. A row has one status, or one for each of its codes.
pub fn documented() -> Codes {
    let text = text("docs/protocol.md");
    let (_, table) = text.split_once("| status | codes |\n").expect("the table is there");
    let mut codes = Codes::new();
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let statuses: Vec<u16> = cells[0].split(',').map(|s| s.trim().parse().unwrap()).collect();
        for (at, code) in quoted(cells[1], '`').into_iter().enumerate() {
            let status = if statuses.len() > 1 { statuses[at] } else { statuses[0] };
            codes.entry(code.to_owned()).or_default().insert(status);
        }
    }
    codes
}

/// The codes of changesets by the name of their kind.
fn of_changesets() -> BTreeMap<String, String> {
    let arms = between(&text("src/protocol/changeset.rs"), "fn code(&self)", "\n    }\n");
    let arms = arms.split("Self::").skip(1);
    arms.map(|arm| {
        let (kind, _) = arm.split_once('(').unwrap();
        (kind.to_owned(), quoted(arm, '"')[0].to_owned())
    })
    .collect()
}

/// The codes of the node: what `ApiError::parts` says, and what changesets say through it.
fn given() -> Codes {
    let mut codes = Codes::new();
    let mut changesets = of_changesets();
    let parts = between(&text("src/http/error.rs"), "fn parts(&self)", "\n    }\n");
    for arm in parts.split("Self::").skip(1) {
        let (_, rest) = arm.split_once("StatusCode::").unwrap_or_else(|| panic!("{arm}"));
        let (name, rest) = rest.split_once(',').unwrap();
        let codes_here: Vec<String> = if rest.starts_with("bad.code()") {
            match arm.split_once("BadChangeset::") {
                Some((_, kind)) => {
                    vec![changesets.remove(kind.split_once('(').unwrap().0).unwrap()]
                }
                // The arm for all that are left.
                None => std::mem::take(&mut changesets).into_values().collect(),
            }
        } else {
            vec![quoted(rest, '"')[0].to_owned()]
        };
        for code in codes_here {
            codes.entry(code).or_default().insert(status(name));
        }
    }
    assert!(changesets.is_empty(), "never given: {changesets:?}");
    codes
}

#[test]
fn the_table_of_errors_is_what_the_node_gives() {
    let given = given();
    assert!(given.len() > 10, "few were found: {given:?}");
    assert_eq!(documented(), given, "left: docs/protocol.md, right: the code");
}

/// The catalogue: a row a code, with its status, its cause, and what the client does.
fn catalogue() -> Codes {
    let text = text("docs/errors.md");
    let (_, table) = text.split_once("| code | status |").expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut codes = Codes::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [code, status, cause, advice] = cells[..] else { panic!("four cells in {row}") };
        assert!(cause.ends_with('.') && advice.ends_with('.'), "sentences in {row}");
        let code = code.trim_matches('`').to_owned();
        let fresh = codes.insert(code, BTreeSet::from([status.parse().unwrap()])).is_none();
        assert!(fresh, "twice: {row}");
    }
    codes
}

#[test]
fn the_catalogue_of_errors_has_each_code_that_the_node_gives() {
    assert_eq!(catalogue(), given(), "left: docs/errors.md, right: the code");
}
