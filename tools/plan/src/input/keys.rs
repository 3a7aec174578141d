//! This module holds the table of all keys of both files: their sections, kinds and defaults.
//!
//! Invariants: no key is read that is not in the table. Every key is in a template with its default
//! (a test checks this). A section belongs to one file.

use super::kind::Kind;
use crate::hardware::ENDURANCE_USED_MAX;
use crate::sizes::KEY_BYTES_MAX;
use ringbolt_tool_common::nearest::nearest;
use ringbolt_tool_common::s3::limits::{BODY_BYTES_MAX, OBJECT_BYTES_MAX, PART_BYTES_MIN};

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
    WORKLOAD_KEYS.iter().chain(HARDWARE_KEYS)
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

const SHARE: Kind = Kind::Share { least: 0.0, most: 1.0 };
const SIZE: Kind = Kind::Bytes { least: 0, most: OBJECT_BYTES_MAX };

/// Lists the keys of the workload file, in the order of its template.
const WORKLOAD_KEYS: &[Key] = &[
    set("plan.name", Kind::Text, "\"workload\"", "what the reports call it"),
    absent("plan.start", Kind::Month, "\"2026-12\"", "the first month"),
    set("plan.months", Kind::Whole { least: 1, most: 240 }, "36", "months to look ahead"),
    set(
        "plan.seed",
        Kind::Whole { least: 0, most: i64::MAX as u64 },
        "1",
        "the same seed gives the same plan",
    ),
    set("plan.samples", Kind::Whole { least: 100, most: 100_000 }, "1000", "samples of the Monte Carlo"),
    absent(
        "objects.count",
        Kind::Whole { least: 0, most: 1_000_000_000_000_000 },
        "50_000_000",
        "objects stored in the first month",
    ),
    absent(
        "objects.key_length",
        Kind::MeanBytes { least: 1.0, most: KEY_BYTES_MAX },
        "48",
        "mean length of a key",
    ),
    absent(
        "objects.shared_key_length",
        Kind::MeanBytes { least: 0.0, most: KEY_BYTES_MAX },
        "24",
        "what a key has in common with the one before it",
    ),
    set(
        "objects.metadata_size",
        Kind::MeanBytes { least: 0.0, most: 8192.0 },
        "64",
        "content headers and metadata",
    ),
    absent(
        "objects.part_size",
        Kind::Bytes { least: PART_BYTES_MIN, most: BODY_BYTES_MAX },
        "\"16MiB\"",
        "parts of multipart uploads",
    ),
    absent(
        "objects.sizes",
        Kind::Sizes,
        "[{ size = \"4KiB\", share = 1 }]",
        "the sizes of the objects, or objects.distribution, or objects.scan",
    ),
    absent("objects.scan", Kind::File, "\"sizes.json\"", "sizes that `ringbolt plan scan` found"),
    absent(
        "objects.distribution.kind",
        Kind::Word(&["lognormal", "pareto", "uniform", "fixed"]),
        "\"lognormal\"",
        "the form of the distribution",
    ),
    absent(
        "objects.distribution.median",
        Kind::Bytes { least: 1, most: OBJECT_BYTES_MAX },
        "\"64KiB\"",
        "half lie below",
    ),
    absent(
        "objects.distribution.sigma",
        Kind::Number { least: 0.1, most: 10.0 },
        "1.8",
        "standard deviation of the natural logarithm of the sizes",
    ),
    absent(
        "objects.distribution.alpha",
        Kind::Number { least: 0.1, most: 5.0 },
        "1.2",
        "the exponent of the tail",
    ),
    absent("objects.distribution.min", SIZE, "\"1KiB\"", "the smallest object"),
    absent(
        "objects.distribution.max",
        Kind::Bytes { least: 1, most: OBJECT_BYTES_MAX },
        "\"5GiB\"",
        "the largest object",
    ),
    absent("objects.distribution.size", SIZE, "\"1MiB\"", "the one size of all objects"),
    required("requests.put_per_s", Kind::PerS, "200", "mean rate of puts"),
    required("requests.get_per_s", Kind::PerS, "2000", "mean rate of gets"),
    set("requests.head_per_s", Kind::PerS, "0", "mean rate of heads"),
    set("requests.list_per_s", Kind::PerS, "0", "mean rate of lists"),
    set("requests.delete_per_s", Kind::PerS, "0", "mean rate of deletes"),
    set("requests.overwrite_share", SHARE, "\"0%\"", "of the puts: those of a key that is there"),
    set(
        "requests.list_keys",
        Kind::Number { least: 0.0, most: 1000.0 },
        "1000",
        "keys in an answer to a list",
    ),
    set("requests.range_share", SHARE, "\"0%\"", "of the gets: those of a range"),
    absent(
        "requests.range_size",
        Kind::Bytes { least: 1, most: OBJECT_BYTES_MAX },
        "\"64KiB\"",
        "length of a range",
    ),
    set(
        "requests.puts_in_flight",
        Kind::Number { least: 1.0, most: 100_000.0 },
        "16",
        "puts that wait for their commit at one time on one node",
    ),
    absent(
        "requests.gets_by_size",
        Kind::Sizes,
        "[{ from = 0, to = \"5TiB\", share = 1 }]",
        "the gets by the size of the object that they ask for",
    ),
    absent(
        "requests.heads_by_size",
        Kind::Sizes,
        "[{ from = 0, to = \"5TiB\", share = 1 }]",
        "the heads by the size of the object that they ask for",
    ),
    set("requests.uncertainty", SHARE, "\"20%\"", "relative standard deviation of the rates"),
    absent(
        "day.shape",
        Kind::Hours,
        "[1, 1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 1, 1, 1]",
        "weight of each hour",
    ),
    set("day.peak_factor", Kind::Number { least: 1.0, most: 1000.0 }, "2", "the busiest seconds of an hour"),
    absent("hot_set.object_share", SHARE, "\"10%\"", "of the objects: the hot ones"),
    absent("hot_set.request_share", SHARE, "\"80%\"", "of the gets: those of hot objects"),
    set(
        "growth.requests_per_month",
        Kind::Share { least: -0.99, most: 10.0 },
        "\"0%\"",
        "growth of the rates",
    ),
    absent(
        "growth.stored_per_month",
        Kind::Share { least: -0.99, most: 10.0 },
        "\"3%\"",
        "growth of what is stored",
    ),
    set("growth.uncertainty", SHARE, "\"0.5%\"", "standard deviation of the growth"),
    absent("retention.delete_after", Kind::Age, "\"90d\"", "age at which objects are deleted"),
];

/// A resource must be usable at least in part.
const LIMIT: Kind = Kind::Share { least: 0.01, most: 1.0 };
const MONEY: Kind = Kind::Number { least: 0.0, most: 1e12 };
const WATTS: Kind = Kind::Number { least: 0.0, most: 1e6 };
const IOPS: Kind = Kind::Number { least: 1.0, most: 1e9 };

/// Lists the keys of the hardware file, in the order of its template.
const HARDWARE_KEYS: &[Key] = &[
    set("node.name", Kind::Text, "\"node\"", "what the reports call it"),
    absent("node.count", Kind::Whole { least: 1, most: 100_000 }, "4", "nodes that there are"),
    required("node.cores", Kind::Whole { least: 1, most: 4096 }, "16", "cores for the server"),
    required("node.ram", Kind::Bytes { least: 256 << 20, most: 1 << 50 }, "\"128GiB\"", "memory"),
    required("node.nic", Kind::BytesPerS, "\"25Gbit\"", "network, each way"),
    set("node.watts", WATTS, "0", "power without the drives"),
    set("node.price", MONEY, "0", "price without the drives"),
    required("drives.count", Kind::Whole { least: 1, most: 1000 }, "12", "drives in one node"),
    required("drives.size", Kind::DriveBytes, "\"7.68TB\"", "size of one drive, the smallest"),
    set("drives.price", MONEY, "0", "price of one drive"),
    set("drives.watts", WATTS, "0", "power of one drive"),
    absent(
        "drives.tbw",
        Kind::Bytes { least: 1, most: u64::MAX },
        "\"14PB\"",
        "bytes that the warranty lets it take",
    ),
    absent(
        "drives.dwpd",
        Kind::Number { least: 0.001, most: 1000.0 },
        "1",
        "full writes a day in its warranty",
    ),
    set("drives.warranty_years", Kind::Number { least: 0.1, most: 50.0 }, "5", "years of the warranty"),
    set(
        "drives.endurance_used",
        Kind::Share { least: 0.0, most: ENDURANCE_USED_MAX },
        "\"0%\"",
        "of the endurance, behind the drives already",
    ),
    set(
        "drives.wanted_life_years",
        Kind::Number { least: 0.1, most: 50.0 },
        "5",
        "how long a drive shall live",
    ),
    set(
        "drives.internal_write_amplification",
        Kind::Number { least: 0.01, most: 100.0 },
        "1",
        "written to the flash for each byte of the host",
    ),
    set("drives.annual_failure_rate", SHARE, "\"1%\"", "of the drives, in a year"),
    set(
        "drives.replacement_hours",
        Kind::Number { least: 0.0, most: 8760.0 },
        "24",
        "until a failed drive has another in its place",
    ),
    absent("drives.rebuild_rate", Kind::BytesPerS, "\"200MB/s\"", "at which a new drive is filled again"),
    absent("drives.profile", Kind::File, "\"drive.json\"", "what `ringbolt bench profile` measured"),
    absent("drives.read_iops", IOPS, "400_000", "random reads of 4 KiB a second"),
    absent("drives.write_iops", IOPS, "80_000", "random durable writes of 4 KiB a second"),
    absent("drives.read_bandwidth", Kind::BytesPerS, "\"5GB/s\"", "sequential reads"),
    absent("drives.write_bandwidth", Kind::BytesPerS, "\"2GB/s\"", "sequential writes, settled"),
    absent("drives.speed_source", Kind::Text, "\"data sheet\"", "where the figures are from"),
    set(
        "redundancy.format",
        Kind::Redundancy,
        "\"default\"",
        "copies or stripes on the drives of a node, as `ringbolt format --redundancy` makes them",
    ),
    set("redundancy.data", Kind::Whole { least: 1, most: 64 }, "1", "pieces that suffice"),
    set("redundancy.parity", Kind::Whole { least: 0, most: 64 }, "0", "pieces that may be lost"),
    set(
        "redundancy.small_objects",
        Kind::Word(&["pieces", "copies"]),
        "\"pieces\"",
        "how objects of up to 64 KiB lie on drives",
    ),
    set("limits.capacity", LIMIT, "\"85%\"", "of what can be live on a drive"),
    set("limits.drive_iops", LIMIT, "\"70%\"", "of what a drive can do"),
    set("limits.drive_bandwidth", LIMIT, "\"70%\"", "of what a drive can do"),
    set("limits.ram", LIMIT, "\"80%\"", "of the memory"),
    set("limits.cpu", LIMIT, "\"70%\"", "of the cores"),
    set("limits.nic", LIMIT, "\"70%\"", "of the network"),
    absent("cost.currency", Kind::Text, "\"EUR\"", "of all prices"),
    set(
        "cost.years",
        Kind::Number { least: 0.1, most: 50.0 },
        "5",
        "purchase prices are spread over so long",
    ),
    set("cost.price_per_kwh", MONEY, "0", "price of power"),
    set(
        "cost.power_usage_effectiveness",
        Kind::Number { least: 1.0, most: 10.0 },
        "1.5",
        "power at the meter for each watt of the machines",
    ),
];

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
        assert!(WORKLOAD_KEYS.iter().all(|key| key.file() == File::Workload));
        assert!(HARDWARE_KEYS.iter().all(|key| key.file() == File::Hardware));
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
