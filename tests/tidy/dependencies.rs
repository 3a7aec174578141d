//! These tests check that every dependency is justified: each has a line in
//! docs/decisions/dependencies.md.

use crate::tree::{assert_none, text_files};
use std::collections::{BTreeMap, BTreeSet};

const REGISTER: &str = "docs/decisions/dependencies.md";

#[test]
fn every_dependency_has_its_line_and_every_line_its_dependency() {
    let files = text_files();
    let register = files.iter().find(|file| file.path == REGISTER).expect("docs/decisions/dependencies.md");
    let registered: BTreeSet<&str> = register.text.lines().filter_map(registered_name).collect();
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    for manifest in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        for name in dependencies_of(&manifest.text) {
            used.entry(name).or_insert_with(|| manifest.path.clone());
        }
    }
    let missing = used.iter().filter(|(name, _)| !registered.contains(name.as_str()));
    let missing: Vec<String> = missing.map(|(name, manifest)| format!("{name} ({manifest})")).collect();
    assert_none("dependencies without a line in docs/decisions/dependencies.md", &missing);
    let dead: Vec<String> =
        registered.iter().filter(|name| !used.contains_key(**name)).map(|name| (*name).to_owned()).collect();
    assert_none("lines of docs/decisions/dependencies.md without a dependency", &dead);
}

/// Returns the name in a table row that begins with "| `name` |".
fn registered_name(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name)
}

/// Returns the names of foreign crates in the dependency sections of a manifest.
fn dependencies_of(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let (parent, last) = section.rsplit_once('.').unwrap_or(("", section));
            inside = last.ends_with("dependencies");
            if parent.ends_with("dependencies") {
                found.push(last.trim_matches('"').to_owned());
            }
        } else if inside && !line.starts_with('#') && is_entry(line) {
            found.push(crate_name(line));
        }
    }
    found.retain(|name| !name.starts_with("ringbolt-"));
    found
}

/// Returns the name of the crate, even if the manifest renames it: `alias = { package = "name", …
/// }`.
fn crate_name(entry: &str) -> String {
    let renamed = entry.split_once("package = \"").and_then(|(_, rest)| rest.split_once('"'));
    let name =
        renamed.map_or_else(|| entry.split(['=', '.', ' ']).next().unwrap_or_default(), |(name, _)| name);
    name.trim_matches('"').to_owned()
}

/// Returns whether a line is `name = …` or `name.workspace = …`, and not a continued line of an
/// array.
fn is_entry(line: &str) -> bool {
    let starts_a_name = line.starts_with(|character: char| character.is_ascii_alphanumeric());
    starts_a_name && line.split_once('=').is_some_and(|(name, _)| !name.contains(['"', '{', '[']))
}

#[test]
fn manifests_are_understood() {
    let manifest = "[dependencies]\nhyper = { version = \"1\", features = [\n    \"http1\",\n] }\n\
        serde.workspace = true\nold = { package = \"new\" }\nringbolt-engine.workspace = true\n\n\
        [dev-dependencies.tempfile]\nversion = \"3\"\n\n\
        [target.'cfg(target_os = \"linux\")'.dependencies]\nlibc = \"0.2\"\n\n[[bin]]\nname = \"x\"\n";
    assert_eq!(dependencies_of(manifest), ["hyper", "serde", "new", "tempfile", "libc"]);
}
