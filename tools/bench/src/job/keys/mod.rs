//! This module holds the table of all keys: their names, types, defaults and manual texts.
//!
//! Invariants: a key is in one table once, under one canonical name. `resolve` reads no key that is
//! not here, and every key here has an effect (a test checks both) or is marked as one without
//! effect.

mod foreign;
mod inert;
mod load;
mod objects;
mod results;
mod target;
mod time;

use ringbolt_tool_common::nearest;
use std::fmt;

/// Says which values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Size,
    /// Takes a size each for reads, writes and trims.
    Sizes,
    SizeRanges,
    Number,
    Numbers,
    /// Takes a time; a number without a unit is in seconds (below: in milliseconds or
    /// microseconds).
    Seconds,
    Milliseconds,
    Microseconds,
    /// This is true when the key is given without a value.
    Flag,
    /// Takes 0 or 1.
    Bool,
    Text,
    /// Takes a value with a grammar of its own.
    Special,
    /// Marks a key of fio that asks for what is always the case here. Only these values are
    /// accepted; an empty list accepts any.
    Inert(&'static [&'static str]),
    /// Marks a key that tunes fio itself. Only these values are accepted; an empty list accepts
    /// any.
    Tuning(&'static [&'static str]),
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Size => "size",
            Self::Sizes => "size[,size][,size] (reads, writes, trims)",
            Self::SizeRanges => "range[,range][,range] (reads, writes, trims)",
            Self::Number => "number",
            Self::Numbers => "number[,number][,number] (reads, writes, trims)",
            Self::Seconds => "time, in seconds without unit",
            Self::Milliseconds => "time, in milliseconds without unit",
            Self::Microseconds => "time, in microseconds without unit",
            Self::Flag => "flag: alone, or 0 or 1",
            Self::Bool => "0 or 1",
            Self::Text => "text",
            Self::Special => "see below",
            Self::Inert(_) | Self::Tuning(_) => "accepted, without effect",
        })
    }
}

/// Says which engines use a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    All,
    Drive,
    /// Includes `ringbolt` and `s3`.
    Objects,
    /// Includes the engines that use paths: `io_uring` and `ringbolt`.
    Paths,
    Ringbolt,
    S3,
}

impl Engines {
    /// Returns whether this includes `engine`.
    pub fn include(self, engine: crate::spec::Engine) -> bool {
        use crate::spec::Engine;
        match self {
            Self::All => true,
            Self::Drive => engine == Engine::IoUring,
            Self::Objects => engine != Engine::IoUring,
            Self::Paths => engine != Engine::S3,
            Self::Ringbolt => engine == Engine::Ringbolt,
            Self::S3 => engine == Engine::S3,
        }
    }

    /// Returns the names of the engines as text.
    pub fn names(self) -> &'static str {
        match self {
            Self::All => "io_uring, ringbolt, s3",
            Self::Drive => "io_uring",
            Self::Objects => "ringbolt, s3",
            Self::Paths => "io_uring, ringbolt",
            Self::Ringbolt => "ringbolt",
            Self::S3 => "s3",
        }
    }
}

/// Describes one key of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    pub default: &'static str,
    pub engines: Engines,
    /// This is one line long.
    pub summary: &'static str,
    /// Says what else a user should know; may be empty.
    pub text: &'static str,
    pub range: &'static str,
    pub example: &'static str,
    /// The value is never printed.
    pub secret: bool,
    /// The key may be given without a value.
    pub alone: bool,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, example: &'static str, summary: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            kind,
            default: "none",
            engines: Engines::All,
            summary,
            text: "",
            range: "",
            example,
            secret: false,
            alone: matches!(kind, Kind::Flag | Kind::Inert(_) | Kind::Tuning(_)),
        }
    }

    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    const fn on(mut self, engines: Engines) -> Self {
        self.engines = engines;
        self
    }

    const fn range(mut self, range: &'static str) -> Self {
        self.range = range;
        self
    }

    const fn text(mut self, text: &'static str) -> Self {
        self.text = text;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Returns whether the key, as an option of the command line, takes its value only after `=`.
    pub fn is_flag(&self) -> bool {
        self.kind == Kind::Flag || (self.is_without_effect() && !self.example.contains('='))
    }

    /// Returns whether the key is accepted but changes nothing.
    pub fn is_without_effect(&self) -> bool {
        matches!(self.kind, Kind::Inert(_) | Kind::Tuning(_))
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

const TABLES: [&[Key]; 6] = [target::KEYS, load::KEYS, time::KEYS, results::KEYS, objects::KEYS, inert::KEYS];

/// Iterates over the keys in the order of the manual; those without effect come last.
pub fn all() -> impl Iterator<Item = &'static Key> {
    TABLES.into_iter().flatten()
}

/// This is the result of a search for a key's name.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    Built(&'static Key),
    /// This is a key that only fio supports; the hint may be empty.
    NotBuilt(&'static str),
    /// Holds the most similar name, if one is similar enough.
    Unknown(Option<&'static str>),
}

/// Looks a key up by its name or an alias.
pub fn find(name: &str) -> Found {
    if let Some(key) = all().find(|key| key.is_called(name)) {
        return Found::Built(key);
    }
    if let Some(hint) = foreign::hint(name) {
        return Found::NotBuilt(hint);
    }
    let names = all().flat_map(|key| key.aliases.iter().copied().chain([key.name]));
    Found::Unknown(nearest::nearest(name, names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_stands_for_one_thing() {
        let mut seen = BTreeSet::new();
        for key in all() {
            for name in key.aliases.iter().chain([&key.name]) {
                assert!(seen.insert(*name), "{name} is in the table twice");
                assert!(foreign::hint(name).is_none(), "{name} is built and listed as not built");
            }
        }
    }

    #[test]
    fn each_example_shows_its_key() {
        for key in all() {
            let name = key.example.split('=').next().unwrap();
            assert!(key.is_called(name), "{}: the example is {}", key.name, key.example);
            assert!(!key.summary.ends_with('.'), "{}: a summary has no full stop", key.name);
        }
    }

    #[test]
    fn the_nearest_name_is_offered_when_it_is_near() {
        assert!(matches!(find("iodeph"), Found::Unknown(Some("iodepth"))));
        assert!(matches!(find("blocksiz"), Found::Unknown(Some("blocksize"))));
        assert!(matches!(find("NumJobs"), Found::Unknown(Some("numjobs"))));
        assert!(matches!(find("frobnicate_everything"), Found::Unknown(None)));
        assert!(matches!(find("bs"), Found::Built(_)));
        assert!(matches!(find("zonesize"), Found::NotBuilt(_)));
    }
}
