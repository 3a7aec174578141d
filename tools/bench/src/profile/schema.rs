//! The profile of a drive as a file: JSON, units in the names of its fields. Described in docs/drive-profile.md.
//!
//! Invariant: a field never changes its meaning within a version. Readers take a version they know and ignore fields
//! they do not.

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

/// What was measured of one drive or file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriveProfile {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    pub created_unix_ms: u64,
    pub drive: Drive,
    /// Machine, kernel and drive, as far as they bear on the figures.
    pub fingerprint: BTreeMap<String, String>,
    /// Highest rates: closed loop, as many operations in flight as `depth` says.
    pub rates: Vec<Rate>,
    /// Latency below the highest rate: open loop.
    pub latency_at_load: Vec<LatencyAtLoad>,
    pub flush: Option<Flush>,
    pub sustained_write: Option<SustainedWrite>,
    /// What there was no time for, in words.
    pub left_out: Vec<String>,
}

/// What was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drive {
    pub path: String,
    /// `file` or `block_device`.
    pub kind: String,
    /// Of the drive or file.
    pub size_bytes: u64,
    /// Measured region, from its beginning.
    pub tested_bytes: u64,
}

/// One point of bs × depth × mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub random: bool,
    pub block_bytes: u64,
    pub depth: u32,
    /// 100: reads only; 0: writes only.
    pub read_percent: u32,
    /// Reads and writes together.
    pub iops: f64,
    pub bytes_per_s: f64,
    /// None without reads, or without writes.
    pub read_latency: Option<Latency>,
    pub write_latency: Option<Latency>,
    pub cpu_us_per_operation: f64,
    pub seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Open loop: operations start when they are due, whatever became of those before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyAtLoad {
    pub block_bytes: u64,
    /// 100 or 0.
    pub read_percent: u32,
    /// Of the highest rate among `rates` of this block and mix.
    pub load_percent: u32,
    pub offered_iops: f64,
    pub achieved_iops: f64,
    /// From the intended start.
    pub response: Latency,
    /// From the actual start.
    pub service: Latency,
}

/// 4 KiB at depth 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flush {
    pub block_bytes: u64,
    /// Of the write alone, before its fdatasync.
    pub write: Latency,
    pub fdatasync: Latency,
    /// A write and its fdatasync, one after the other: such pairs a second.
    pub write_fdatasync_iops: f64,
    /// A write that is durable by itself (RWF_DSYNC).
    pub dsync_write: Latency,
    pub dsync_write_iops: f64,
}

/// Sequential writes until the rate settles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SustainedWrite {
    pub block_bytes: u64,
    pub depth: u32,
    /// Of the first window: what the drive's cache takes.
    pub first_bytes_per_s: f64,
    /// Of the last window.
    pub settled_bytes_per_s: f64,
    /// Whether the last windows agreed within 5%, or the time was over before.
    pub settled: bool,
    pub written_bytes: u64,
    pub window_s: f64,
    /// One after the other.
    pub windows_bytes_per_s: Vec<f64>,
}

impl DriveProfile {
    /// # Errors
    /// When it is not JSON of this schema and version.
    pub fn from_json(text: &str) -> Result<Self, JsonFileError> {
        KIND.read(text)
    }

    pub fn to_json(&self) -> String {
        json_file::text(self)
    }
}
