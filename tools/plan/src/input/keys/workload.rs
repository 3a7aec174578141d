//! This module lists the keys of the workload file, in the order of its template.

use super::{Key, absent, required, set};
use crate::input::kind::Kind;
use crate::sizes::KEY_BYTES_MAX;
use ringbolt_tool_common::s3::limits::{BODY_BYTES_MAX, OBJECT_BYTES_MAX, PART_BYTES_MIN};

const SHARE: Kind = Kind::Share { least: 0.0, most: 1.0 };
const SIZE: Kind = Kind::Bytes { least: 0, most: OBJECT_BYTES_MAX };

pub const KEYS: &[Key] = &[
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
