//! This module holds the table of all keys of both files: their sections, kinds and defaults.
//!
//! Invariants: no key is read that is not in the table. Every key is in a template with its default
//! (a test checks this). A section belongs to one file.

mod hardware;
mod workload;

use super::kind::Kind;
use ringbolt_tool_common::nearest::nearest;

/// Names one of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    Workload,
    Hardware,
}

impl File {
    pub fn title(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Hardware => "hardware",
        }
    }
}

/// Says what happens when a key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    Required,
    /// The absence of the key has a meaning of its own.
    Absent,
    /// Holds the default as it would be written.
    Is(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// This is section and name.
    pub path: &'static str,
    pub kind: Kind,
    pub fallback: Fallback,
    /// Describes the key in a few words.
    pub what: &'static str,
    /// This is an example value in TOML.
    pub example: &'static str,
}

/// Lists the sections in the order of the templates.
pub const SECTIONS: [(&str, File); 12] = [
    ("plan", File::Workload),
    ("objects", File::Workload),
    ("requests", File::Workload),
    ("day", File::Workload),
    ("hot_set", File::Workload),
    ("growth", File::Workload),
    ("retention", File::Workload),
    ("node", File::Hardware),
    ("drives", File::Hardware),
    ("redundancy", File::Hardware),
    ("limits", File::Hardware),
    ("cost", File::Hardware),
];

/// Lists several ways to state the same: one on the command line replaces another in a file.
pub const ALTERNATIVES: [&[&str]; 2] =
    [&["objects.sizes", "objects.distribution", "objects.scan"], &["drives.tbw", "drives.dwpd"]];

/// Names the table below `objects` that is not a key itself.
pub const DISTRIBUTION: &str = "objects.distribution";

/// Lists the keys of a drive's speed; a profile contains all of them.
pub const SPEEDS: [&str; 4] =
    ["drives.read_iops", "drives.write_iops", "drives.read_bandwidth", "drives.write_bandwidth"];

const fn required(path: &'static str, kind: Kind, example: &'static str, what: &'static str) -> Key {
    Key { path, kind, fallback: Fallback::Required, what, example }
}

const fn absent(path: &'static str, kind: Kind, example: &'static str, what: &'static str) -> Key {
    Key { path, kind, fallback: Fallback::Absent, what, example }
}

/// Creates a key with a default, which is also the example.
const fn set(path: &'static str, kind: Kind, default: &'static str, what: &'static str) -> Key {
    Key { path, kind, fallback: Fallback::Is(default), what, example: default }
}

/// Iterates over the keys in the order of the templates.
pub fn all() -> impl Iterator<Item = &'static Key> {
    workload::KEYS.iter().chain(hardware::KEYS)
}

/// Finds a key by its path.
pub fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// Returns the file that a section belongs to.
pub fn file_of(section: &str) -> Option<File> {
    SECTIONS.iter().find(|(name, _)| *name == section).map(|(_, file)| *file)
}

impl Key {
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    /// Returns the name within its section.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    pub fn file(&self) -> File {
        match file_of(self.section()) {
            Some(file) => file,
            None => unreachable!("{} is in no section of the table", self.path),
        }
    }
}

/// Returns a hint for a path that is not a key.
pub fn hint(path: &str) -> String {
    if SECTIONS.iter().any(|(section, _)| *section == path) {
        let of = all().find(|key| key.section() == path).map_or(path, |key| key.path);
        return format!(": it is a section; name one of its keys, as in {of}");
    }
    let last = path.rsplit('.').next().unwrap_or(path);
    let is_begun = |key: &&Key| path.contains('.') && !last.is_empty() && key.path.starts_with(path);
    let longer = || all().find(is_begun).map(|key| key.path);
    let same_name = || all().find(|key| key.name() == last).map(|key| key.path);
    match same_name().or_else(longer).or_else(|| nearest(path, all().map(|key| key.path))) {
        Some(near) => format!("; did you mean {near}?"),
        None => "; `ringbolt plan init` writes files with all of them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_key_is_there_once_in_a_section_of_its_file() {
        let mut seen = BTreeSet::new();
        for key in all() {
            assert!(seen.insert(key.path), "{} is in the tables twice", key.path);
        }
        assert!(workload::KEYS.iter().all(|key| key.file() == File::Workload));
        assert!(hardware::KEYS.iter().all(|key| key.file() == File::Hardware));
        let named = ALTERNATIVES.iter().copied().flatten().chain(&SPEEDS);
        assert!(named.copied().all(|path| find(path).is_some() || path == DISTRIBUTION));
    }

    #[test]
    fn a_path_that_is_none_is_told_what_is_near() {
        for (path, expected) in [
            ("drives.cont", "drives.count"),
            ("drive.size", "drives.size"),
            ("ram", "node.ram"),
            ("objects.distribution.medain", "objects.distribution.median"),
            ("drives", "drives.count"),
            ("growth.requests", "did you mean growth.requests_per_month?"),
            ("frobnicate.everything.at.once", "plan init"),
        ] {
            assert!(hint(path).contains(expected), "{path}: {}", hint(path));
        }
    }
}
