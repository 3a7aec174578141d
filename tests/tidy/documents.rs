//! These tests check documents and scripts: they mention only the project, are easy to read, and
//! their links have targets.

use crate::source::has_word;
use crate::tree::{TextFile, assert_none, text_files};
use std::path::Path;

/// Paths of one machine and hosts of one environment mean nothing to other readers.
const ELSEWHERE: [&str; 7] =
    ["/work/", "/root/", "/home/", "index.crates.io", "pypi.org", "proxy.golang", "registry.npmjs"];

const COLUMNS_MAX: usize = 100;

/// What may stand before the text of a line in a list.
const LIST_MARKS: [char; 4] = ['-', '*', ' ', '\t'];

#[test]
fn nothing_names_a_machine_or_a_registry() {
    let mut offenders = Vec::new();
    for file in text_files() {
        // Cargo writes the lock file, including the registry.
        if file.states_the_rules() || file.path == "Cargo.lock" {
            continue;
        }
        for (number, line) in file.lines() {
            for place in ELSEWHERE.iter().filter(|place| line.contains(**place)) {
                offenders.push(format!("{}:{number}: {place}", file.path));
            }
        }
    }
    assert_none("paths of a machine or hosts of a registry", &offenders);
}

#[test]
fn documents_wrap() {
    let mut offenders = Vec::new();
    for file in text_files().iter().filter(|file| file.has_extension("md")) {
        offenders.extend(long_lines(file));
    }
    assert_none("lines of documents of at most 100 characters", &offenders);
}

/// Tables, code and HTML are as wide as they need, and so is a line that has no blank to be broken at: a long link.
fn long_lines(file: &TextFile) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in file.lines() {
        let text = line.trim_start();
        if text.starts_with("```") {
            in_code = !in_code;
        }
        let length = line.chars().count();
        if in_code || length <= COLUMNS_MAX || text.starts_with(['|', '<']) {
            continue;
        }
        let before: String = text.chars().take(COLUMNS_MAX).collect();
        if before.trim_start_matches(LIST_MARKS).contains(' ') {
            found.push(format!("{}:{number}: {length} characters", file.path));
        }
    }
    found
}

#[test]
fn long_lines_are_found() {
    let of = |text: String| long_lines(&TextFile { path: "a.md".to_owned(), text }).len();
    let (prose, link) = ("word ".repeat(30), format!("(https://{})", "x".repeat(120)));
    assert_eq!(of(format!("{prose}\n- {prose}\n")), 2);
    assert_eq!(of(format!("| {prose} |\n<p>{prose}\n- {link}\n```\n{prose}\n```\n")), 0);
    assert_eq!(of("word ".repeat(20) + "\n"), 0);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let files = text_files();
    let mut offenders = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (number, target) in links(file) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let directory = Path::new(&file.path).parent().unwrap_or(Path::new(""));
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            if !root.join(directory).join(path).exists() {
                offenders.push(format!("{}:{number}: {target}", file.path));
            }
        }
    }
    assert_none("links to files that do not exist", &offenders);
}

/// Returns each `](target)` with its line.
fn links(file: &TextFile) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in file.lines() {
        for (at, _) in line.match_indices("](") {
            if let Some((target, _)) = line[at + 2..].split_once(')') {
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

#[test]
fn links_are_found() {
    let text = "see [a](docs/a.md) and [b](b.md#part)\n".to_owned();
    let file = TextFile { path: "README.md".to_owned(), text };
    assert_eq!(links(&file), [(1, "docs/a.md".to_owned()), (1, "b.md#part".to_owned())]);
}

/// Where the paths of tables in docs/architecture.md begin.
const PATH_ROOTS: [&str; 3] = ["", "engine/src/", "server/src/"];

#[test]
fn the_ways_in_the_architecture_name_what_is_there() {
    let files = text_files();
    let document = files.iter().find(|file| file.path == "docs/architecture.md").expect("the architecture");
    let named = named_places(document);
    assert!(named.len() > 50, "only {} names were found", named.len());
    let mut offenders = Vec::new();
    for (number, path, name) in named {
        let at = |root: &&str| files.iter().find(|file| file.path == format!("{root}{path}"));
        match PATH_ROOTS.iter().find_map(at) {
            None => offenders.push(format!("{number}: there is no {path}")),
            Some(file) if !has_word(&file.text, &name) => {
                offenders.push(format!("{number}: {path} has no {name}"))
            }
            Some(_) => {}
        }
    }
    assert_none("names in docs/architecture.md that are not where it says", &offenders);
}

/// Returns line, file and name of what table rows name as "`file.rs`: `name`, `Type::name`". A name
/// belongs to the last file before it in its row.
fn named_places(document: &TextFile) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    for (number, line) in document.lines().filter(|(_, line)| line.starts_with("| ")) {
        let mut path = None;
        // The odd pieces are those between backticks.
        let pieces: Vec<&str> = line.split('`').collect();
        for (code, behind) in pieces.iter().skip(1).step_by(2).zip(pieces.iter().skip(2).step_by(2)) {
            if code.ends_with(".rs") {
                path = behind.starts_with(':').then_some(*code);
            } else if let Some(path) = path {
                let name = code.rsplit("::").next().unwrap_or_default();
                found.push((number, path.to_owned(), name.to_owned()));
            }
        }
    }
    found
}

#[test]
fn named_places_are_found() {
    let text = "| 1. | `a/b.rs`: `Core::put`, which calls `write`; `c.rs` alone, `nobody` |\n".to_owned();
    let file = TextFile { path: "docs/architecture.md".to_owned(), text };
    let found = named_places(&file);
    let expected = [(1, "a/b.rs", "put"), (1, "a/b.rs", "write")];
    let expected = expected.map(|(number, path, name)| (number, path.to_owned(), name.to_owned()));
    assert_eq!(found, expected);
    assert!(has_word("fn put() {}", "put") && !has_word("fn input() {}", "put"));
}
