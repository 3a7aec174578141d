//! This module lists the keys of the hardware file, in the order of its template.

use super::{Key, absent, required, set};
use crate::hardware::ENDURANCE_USED_MAX;
use crate::input::kind::Kind;

const SHARE: Kind = Kind::Share { least: 0.0, most: 1.0 };
/// A resource must be usable at least in part.
const LIMIT: Kind = Kind::Share { least: 0.01, most: 1.0 };
const MONEY: Kind = Kind::Number { least: 0.0, most: 1e12 };
const WATTS: Kind = Kind::Number { least: 0.0, most: 1e6 };
const IOPS: Kind = Kind::Number { least: 1.0, most: 1e9 };

pub const KEYS: &[Key] = &[
    set("node.name", Kind::Text, "\"node\"", "what the reports call it"),
    absent("node.count", Kind::Whole { least: 1, most: 100_000 }, "4", "nodes that there are"),
    required("node.cores", Kind::Whole { least: 1, most: 4096 }, "16", "cores for the server"),
    required("node.ram", Kind::Bytes { least: 256 << 20, most: 1 << 50 }, "\"128GiB\"", "memory"),
    required("node.nic", Kind::BytesPerS, "\"25Gbit\"", "network, each way"),
    set("node.watts", WATTS, "0", "power without the drives"),
    set("node.price", MONEY, "0", "price without the drives"),
    required("drives.count", Kind::Whole { least: 1, most: 1000 }, "12", "drives in one node"),
    required("drives.size", Kind::DriveBytes, "\"7.68TB\"", "size of one drive"),
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
    absent("drives.profile", Kind::File, "\"drive.json\"", "what `ringbolt bench profile` measured"),
    absent("drives.read_iops", IOPS, "400_000", "random reads of 4 KiB a second"),
    absent("drives.write_iops", IOPS, "80_000", "random durable writes of 4 KiB a second"),
    absent("drives.read_bandwidth", Kind::BytesPerS, "\"5GB/s\"", "sequential reads"),
    absent("drives.write_bandwidth", Kind::BytesPerS, "\"2GB/s\"", "sequential writes, settled"),
    absent("drives.speed_source", Kind::Text, "\"data sheet\"", "where the figures are from"),
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
