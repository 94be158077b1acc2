//! docs/protocol.md and the tests name the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of each rule by its number, on one line.
fn rules() -> BTreeMap<u32, String> {
    let text = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let mut rules: BTreeMap<u32, String> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(rule) = line.strip_prefix("- **P-") {
            let (number, text) = rule.split_once("** ").unwrap();
            let number = number.parse().unwrap();
            let text = text.strip_prefix("*old* ").or_else(|| text.strip_prefix("*new* "));
            let text = text.unwrap_or_else(|| panic!("P-{number} is neither old nor new"));
            let double = rules.insert(number, text.to_owned());
            assert_eq!(double, None, "P-{number} stands there twice");
            current = Some(number);
        } else if let (Some(number), Some(more)) = (current, line.strip_prefix("  ")) {
            rules.entry(number).and_modify(|text| *text = format!("{text} {}", more.trim()));
        } else {
            current = None;
        }
    }
    rules
}

/// A rule that a test quotes.
struct Quote {
    rule: u32,
    words: String,
    place: String,
    /// Whether it stands above a test, and not just somewhere.
    above_a_test: bool,
}

fn quotes() -> Vec<Quote> {
    ["tests", "src"].iter().flat_map(|folder| quotes_below(&root().join(folder))).collect()
}

fn quotes_below(folder: &Path) -> Vec<Quote> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut quotes = Vec::new();
    for path in entries {
        if path.is_dir() {
            quotes.extend(quotes_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            quotes.extend(quotes_of(&path));
        }
    }
    quotes
}

fn quotes_of(path: &Path) -> Vec<Quote> {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut quotes = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(quote) = line.strip_prefix("// P-") else { continue };
        let place = format!("{}:{}", path.strip_prefix(root()).unwrap().display(), at + 1);
        let (rule, words) = quote.split_once(": ").unwrap_or((quote, ""));
        let rule = rule.parse().unwrap_or_else(|_| panic!("{place} names no rule"));
        let next = lines[at..].iter().find(|line| !line.starts_with("//"));
        let above_a_test = next
            .is_some_and(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
        quotes.push(Quote { rule, words: words.to_owned(), place, above_a_test });
    }
    quotes
}

#[test]
fn the_rules_are_numbered_in_order() {
    let numbers: Vec<u32> = rules().into_keys().collect();
    let expected: Vec<u32> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
    assert!(numbers.len() > 90, "only {} rules were found", numbers.len());
}

#[test]
fn every_rule_is_quoted_by_a_test() {
    let quoted: BTreeSet<u32> =
        quotes().iter().filter(|quote| quote.above_a_test).map(|quote| quote.rule).collect();
    let untested: Vec<String> = rules()
        .into_iter()
        .filter(|(number, _)| !quoted.contains(number))
        .map(|(number, text)| format!("P-{number}: {text}"))
        .collect();
    assert!(untested.is_empty(), "rules without a test:\n{}", untested.join("\n"));
}

#[test]
fn every_quote_is_of_a_rule() {
    let rules = rules();
    let wrong: Vec<String> = quotes()
        .iter()
        .filter(|quote| {
            let rule = rules.get(&quote.rule);
            quote.words.is_empty() || !rule.is_some_and(|text| text.contains(&quote.words))
        })
        .map(|quote| format!("{}: P-{} does not say: {}", quote.place, quote.rule, quote.words))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
