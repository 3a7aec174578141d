//! This module defines the profile of a drive as a file: JSON, with units in the names of its
//! fields. docs/drive-profile.md describes it.
//!
//! Invariant: a field never changes its meaning within a version. Readers accept a version they
//! know and ignore fields they do not.

use ringbolt_tool_common::json_file::{self, JsonFileError, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const SCHEMA: &str = "ringbolt-drive-profile";
pub const VERSION: u32 = 1;
const KIND: Kind = Kind {
    schema: SCHEMA,
    version: VERSION,
    holds: "drive profile",
    command: "ringbolt bench profile --drive PATH",
};

/// Holds what was measured of one drive or file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriveProfile {
    /// This is [`SCHEMA`].
    pub schema: String,
    /// This is [`VERSION`].
    pub version: u32,
    pub created_unix_ms: u64,
    pub drive: Drive,
    /// Describes machine, kernel and drive, as far as they affect the figures.
    pub fingerprint: BTreeMap<String, String>,
    /// Holds the highest rates, measured in a closed loop with `depth` operations in flight.
    pub rates: Vec<Rate>,
    /// Holds latencies below the highest rate, measured in an open loop.
    pub latency_at_load: Vec<LatencyAtLoad>,
    pub flush: Option<Flush>,
    pub sustained_write: Option<SustainedWrite>,
    /// Lists as text what there was no time for.
    pub left_out: Vec<String>,
}

/// Describes the measured drive or file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drive {
    pub path: String,
    /// This is `file` or `block_device`.
    pub kind: String,
    /// This is the size of the drive or file.
    pub size_bytes: u64,
    /// This is the size of the measured region, which starts at the beginning.
    pub tested_bytes: u64,
}

/// Holds one point of block size, depth and mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub random: bool,
    pub block_bytes: u64,
    pub depth: u32,
    /// This is 100 for reads only, 0 for writes only.
    pub read_percent: u32,
    /// Counts reads and writes together.
    pub iops: f64,
    pub bytes_per_s: f64,
    /// This is `None` without reads, and `write_latency` without writes.
    pub read_latency: Option<Latency>,
    pub write_latency: Option<Latency>,
    pub cpu_us_per_operation: f64,
    pub seconds: f64,
}

/// Holds two percentiles of latencies in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Holds latencies of an open loop: operations start when they are due, whether or not earlier ones
/// have completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyAtLoad {
    pub block_bytes: u64,
    /// This is 100 or 0.
    pub read_percent: u32,
    /// This is the share of the highest rate among `rates` of this block and mix.
    pub load_percent: u32,
    pub offered_iops: f64,
    pub achieved_iops: f64,
    /// This is measured from the intended start.
    pub response: Latency,
    /// This is measured from the actual start.
    pub service: Latency,
}

/// Holds the costs of making 4 KiB durable at depth 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flush {
    pub block_bytes: u64,
    /// This is the latency of the write alone, before its fdatasync.
    pub write: Latency,
    pub fdatasync: Latency,
    /// Counts pairs of a write and its fdatasync per second.
    pub write_fdatasync_iops: f64,
    /// This is the latency of a write that is durable by itself (RWF_DSYNC).
    pub dsync_write: Latency,
    pub dsync_write_iops: f64,
}

/// Holds the rate of sequential writes until it settles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SustainedWrite {
    pub block_bytes: u64,
    pub depth: u32,
    /// This is the rate of the first window, which the drive's cache absorbs.
    pub first_bytes_per_s: f64,
    /// This is the rate of the last window.
    pub settled_bytes_per_s: f64,
    /// Says whether the last windows agreed within 5% before the time was over.
    pub settled: bool,
    pub written_bytes: u64,
    pub window_s: f64,
    /// Holds the rates of all windows in order.
    pub windows_bytes_per_s: Vec<f64>,
}

impl DriveProfile {
    /// Reads a profile.
    ///
    /// # Errors
    /// Fails when the text is not JSON of this schema and version.
    pub fn from_json(text: &str) -> Result<Self, JsonFileError> {
        KIND.read(text)
    }

    pub fn to_json(&self) -> String {
        json_file::text(self)
    }
}
