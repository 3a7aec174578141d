//! What a running node says of itself, read twice to know its rates.

use crate::hardware::Drives;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// SMART counts whole percent: below, wear is told by the bytes written.
const PERCENT_TOLD: f64 = 5.0;

/// From two readings of `/ringbolt/metrics`; the levels are those of the second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveNode {
    pub url: String,
    pub read_unix_ms: u64,
    /// Between the two readings.
    pub seconds: f64,
    pub objects: f64,
    /// Of the drives' extents.
    pub capacity_bytes: f64,
    pub live_bytes: f64,
    pub dead_bytes: f64,
    pub reserved_bytes: f64,
    pub free_bytes: f64,
    pub index_bytes: f64,
    pub resident_bytes: Option<f64>,
    /// Since the start of the process.
    pub process_age_s: Option<f64>,
    /// Requests a second by S3 operation, as `GetObject`, over `seconds`.
    pub requests_per_s: BTreeMap<String, f64>,
    /// Since the start of the process, by kind: log, slices, checkpoints, superblocks.
    pub written_bytes: BTreeMap<String, f64>,
    /// Bodies that became objects or parts since the start of the process.
    pub user_bytes: f64,
    /// Of the log: moved by the cleaner.
    pub moved_bytes: f64,
    pub written_bytes_per_s: f64,
    pub user_bytes_per_s: f64,
    /// Seconds of CPU for each second.
    pub cpu_cores: Option<f64>,
    pub wear: Vec<DriveWear>,
    /// What a reader should know: drives that tell no wear, and why.
    pub notes: Vec<String>,
}

/// What SMART says of a drive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DriveWear {
    pub device: String,
    /// The program that said so.
    pub program: String,
    pub percentage_used: Option<f64>,
    /// By the host, in the drive's life.
    pub host_written_bytes: Option<f64>,
    pub power_on_hours: Option<f64>,
}

impl DriveWear {
    /// Of the endurance: the part behind the drive, and in words how that is known. None: the drive says neither, or
    /// `drives` have no endurance.
    pub fn endurance_used(&self, drives: &Drives) -> Option<(f64, &'static str)> {
        let by_bytes =
            self.host_written_bytes.zip(drives.endurance_bytes).map(|(written, endurance_bytes)| {
                written * drives.internal_write_amplification / endurance_bytes
            });
        let told = self.percentage_used.filter(|percent| *percent >= PERCENT_TOLD || by_bytes.is_none());
        match (told, by_bytes) {
            (Some(percent), _) => Some((percent / 100.0, "what the drive itself says is used")),
            (None, Some(share)) => Some((share, "the bytes written in its life and the plan's endurance")),
            (None, None) => None,
        }
    }
}

impl LiveNode {
    /// Bytes written to drives for each byte that users stored, since the process began. None before the first.
    pub fn write_amplification(&self) -> Option<f64> {
        let written: f64 = self.written_bytes.values().sum();
        (self.user_bytes > 0.0).then(|| written / self.user_bytes)
    }
}

/// A plan against what a node does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub live: LiveNode,
    /// The month of the plan that is compared.
    pub month: super::super::month::Month,
    pub lines: Vec<DifferenceLine>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceLine {
    /// With its unit, as in the JSON of a plan: `stored_bytes_per_object`.
    pub name: String,
    /// For one node.
    pub planned: f64,
    /// None: the node does not say.
    pub live: Option<f64>,
}

impl DifferenceLine {
    /// Live over planned, less 1.
    pub fn relative(&self) -> Option<f64> {
        self.live.filter(|_| self.planned != 0.0).map(|live| live / self.planned - 1.0)
    }
}
