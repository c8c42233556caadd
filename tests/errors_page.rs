//! `docs/errors.md` has an answer for every message: its headings are patterns, in which `…` stands for what varies,
//! and they and the cases of `tests/ui` are held against each other.
//!
//! Of the compiler's errors these are ours: those without a code, which `convnet!` reports; the panics of constants
//! (E0080); and missing implementations (E0277) that a trait of ours puts into words. The rest is Rust's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a panic of a constant begins with.
const PANIC: &str = "evaluation panicked: ";

/// How rustc says by itself that an implementation is missing.
const RUSTC: [&str; 2] = ["the trait bound `", "the size for values of type"];

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The headings of the page's entries, without the marks of code.
fn entries(page: &str) -> Vec<&str> {
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    headings.map(|heading| unmarked(heading).unwrap_or_else(|| panic!("no code marks around {heading}"))).collect()
}

/// What stands between marks of code, be they one or two.
fn unmarked(heading: &str) -> Option<&str> {
    let text = heading.trim_start_matches('`');
    let marks = &heading[..heading.len() - text.len()];
    text.strip_suffix(marks).filter(|_| !marks.is_empty()).map(str::trim)
}

/// Whether a text is what a pattern says, with at least one character for each `…`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|start| text.strip_prefix(start)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        let Some(first) = rest.chars().next() else { return false };
        let behind = &rest[first.len_utf8()..];
        if parts.peek().is_none() {
            return behind.ends_with(part);
        }
        let Some(place) = behind.find(part) else { return false };
        rest = &behind[place + part.len()..];
    }
    false
}

/// The files that say what the compiler says.
fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let files = |folder: PathBuf| {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.expect("a readable folder").path()).collect::<Vec<_>>()
    };
    let all = files(root.clone()).into_iter().chain(files(root.join("dfdx")));
    let mut cases: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|end| end == "stderr")).collect();
    cases.sort();
    cases
}

/// The first line of each error that is ours.
fn messages(stderr: &str) -> impl Iterator<Item = &str> {
    stderr.lines().filter_map(|line| {
        let line = line.strip_prefix("error")?;
        if let Some(text) = line.strip_prefix(": ") {
            return Some(text);
        }
        let (code, text) = line.strip_prefix('[')?.split_once("]: ")?;
        match code {
            "E0080" => text.strip_prefix(PANIC),
            "E0277" => (!RUSTC.iter().any(|start| text.starts_with(start))).then_some(text),
            _ => None,
        }
    })
}

#[test]
fn every_message_has_its_entry_and_every_entry_its_message() {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md"));
    let entries = entries(&page);
    let mut seen: BTreeMap<&str, usize> = entries.iter().map(|entry| (*entry, 0)).collect();
    assert_eq!(seen.len(), entries.len(), "an entry stands twice");
    let mut wrong = Vec::new();
    for case in cases() {
        for message in messages(&read(&case)) {
            // A reader takes the entry that says most, letter by letter.
            let found = entries.iter().copied().filter(|entry| matches(entry, message));
            match found.max_by_key(|entry| entry.replace('…', "").len()) {
                Some(entry) => *seen.entry(entry).or_default() += 1,
                None => wrong.push(format!("no entry for: {message}")),
            }
        }
    }
    wrong.extend(seen.iter().filter(|(_, count)| **count == 0).map(|(entry, _)| format!("no message for: {entry}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(entries.len() >= 60, "{} entries", entries.len());
}

#[test]
fn an_ellipsis_stands_for_something() {
    assert!(matches("…: `…` is missing", "Dense: `units` is missing"));
    assert!(matches("…: a …×… window", "Conv2D: a 5×5 window"));
    assert!(!matches("…: a …×… window", "Conv2D: a 5×5 window does not fit"));
    assert!(!matches("…: `…` is missing", "Dense: `` is missing"));
    assert!(!matches("…: `…` is missing", ": `units` is missing"));
    assert!(!matches("the end …", "the end "));
    assert!(!matches("expected a layer", "expected a layer here"));
    assert!(matches("expected a layer", "expected a layer"));
}
