//! Every dependency earns its place: one line each in docs/decisions/dependencies.md. And no crate of the project
//! depends on what it must not know, whether directly or through others.

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

/// What a crate of the project may know of the others, and what of the world it must not.
struct Bounds {
    name: &'static str,
    of_the_project: &'static [&'static str],
    not_of_the_world: &'static [&'static str],
}

const BOUNDS: [Bounds; 7] = [
    Bounds {
        name: "ringbolt-engine",
        of_the_project: &[],
        not_of_the_world: &["clap", "http", "hyper", "monoio", "s3s", "tokio"],
    },
    Bounds {
        name: "ringbolt-tls",
        of_the_project: &[],
        not_of_the_world: &["clap", "http", "hyper", "monoio", "s3s", "tokio"],
    },
    Bounds {
        name: "ringbolt-server",
        of_the_project: &["ringbolt-engine", "ringbolt-tls"],
        not_of_the_world: &["clap", "csv", "parquet", "ureq"],
    },
    Bounds {
        name: "ringbolt-tool-common",
        of_the_project: &["ringbolt-engine"],
        not_of_the_world: &["clap", "hyper", "ureq"],
    },
    Bounds {
        name: "ringbolt-bench",
        of_the_project: &["ringbolt-engine", "ringbolt-tls", "ringbolt-tool-common"],
        not_of_the_world: &["csv", "hyper", "parquet", "ureq"],
    },
    Bounds {
        name: "ringbolt-torture",
        of_the_project: &["ringbolt-engine", "ringbolt-tool-common"],
        not_of_the_world: &["csv", "hyper", "parquet", "ureq"],
    },
    Bounds {
        name: "ringbolt-plan",
        of_the_project: &["ringbolt-bench", "ringbolt-engine", "ringbolt-tls", "ringbolt-tool-common"],
        not_of_the_world: &["hyper"],
    },
];

#[test]
fn no_crate_depends_on_what_it_must_not_know() {
    let files = text_files();
    let lock = files.iter().find(|file| file.path == "Cargo.lock").expect("Cargo.lock");
    assert_none("dependencies on what a crate must not know", &beyond_bounds(&lock.text));
}

/// The way to each dependency that [`BOUNDS`] forbids, by the Cargo.lock `lock`.
fn beyond_bounds(lock: &str) -> Vec<String> {
    let dependencies = locked_dependencies(lock);
    let mut offenders = Vec::new();
    for bounds in &BOUNDS {
        assert!(dependencies.contains_key(bounds.name), "Cargo.lock has no {}", bounds.name);
        for way in ways_from(bounds.name, &dependencies) {
            let last = way.last().expect("a way has an end");
            let is_ours = *last == "ringbolt" || last.starts_with("ringbolt-");
            let is_foreign = bounds.not_of_the_world.contains(last);
            if is_foreign || (is_ours && !bounds.of_the_project.contains(last)) {
                offenders.push(way.join(" → "));
            }
        }
    }
    offenders
}

/// The names that each package of a Cargo.lock depends on. Versions of one name count as one; what only its tests need
/// is among what a crate of the project depends on.
fn locked_dependencies(lock: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut package = "";
    for line in lock.lines() {
        if let Some(name) = line.strip_prefix("name = \"") {
            package = name.trim_end_matches('"');
            found.entry(package).or_default();
        } else if let Some(entry) = line.strip_prefix(" \"") {
            let name = entry.split(['"', ' ']).next().unwrap_or_default();
            found.entry(package).or_default().insert(name);
        }
    }
    found
}

/// A shortest way from `start` to each package that it depends on.
fn ways_from<'a>(start: &'a str, dependencies: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::from([start]);
    let mut at = 0;
    while let Some(way) = ways.get(at).cloned() {
        let last = way.last().expect("a way has an end");
        for next in dependencies.get(last).into_iter().flatten() {
            if seen.insert(next) {
                ways.push(way.iter().chain([next]).copied().collect());
            }
        }
        at += 1;
    }
    ways.split_off(1)
}

#[test]
fn a_planted_dependency_is_seen() {
    let of = |name: &str, dependencies: &[&str]| {
        let lines: String = dependencies.iter().map(|name| format!(" \"{name}\",\n")).collect();
        format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\ndependencies = [\n{lines}]\n\n")
    };
    let clean = BOUNDS.map(|bounds| of(bounds.name, &[])).concat();
    assert_eq!(beyond_bounds(&clean), [""; 0]);
    let planted = clean
        + &of("ringbolt-server", &["innocent 2.0.0", "ringbolt-engine", "ringbolt-torture"])
        + &of("innocent", &["csv"]);
    let expected = ["ringbolt-server → ringbolt-torture", "ringbolt-server → innocent → csv"];
    assert_eq!(beyond_bounds(&planted), expected);
    let planted = planted + &of("ringbolt-engine", &["ringbolt-server"]);
    assert!(beyond_bounds(&planted).contains(&"ringbolt-engine → ringbolt-server".to_owned()));
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
