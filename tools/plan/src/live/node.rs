//! This module holds what a running node reports, read twice to compute its rates.

use crate::hardware::Drives;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// SMART counts whole percent: below this value, the bytes written give the wear.
const PERCENT_TOLD: f64 = 5.0;

/// Holds the figures of two readings of `/ringbolt/metrics`; levels are those of the second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveNode {
    pub url: String,
    pub read_unix_ms: u64,
    /// This is the time between the two readings.
    pub seconds: f64,
    pub objects: f64,
    /// This is the size of the drives' extents.
    pub capacity_bytes: f64,
    pub live_bytes: f64,
    pub dead_bytes: f64,
    pub reserved_bytes: f64,
    pub free_bytes: f64,
    pub index_bytes: f64,
    pub resident_bytes: Option<f64>,
    /// This is the time since the start of the process.
    pub process_age_s: Option<f64>,
    /// Holds the requests per second over `seconds`, by S3 operation such as `GetObject`.
    pub requests_per_s: BTreeMap<String, f64>,
    /// Holds the bytes written since the start of the process, by kind: log, slices, checkpoints,
    /// superblocks.
    pub written_bytes: BTreeMap<String, f64>,
    /// Counts the bytes of bodies that became objects or parts since the start of the process.
    pub user_bytes: f64,
    /// Counts the bytes of the log that the cleaner moved.
    pub moved_bytes: f64,
    pub written_bytes_per_s: f64,
    pub user_bytes_per_s: f64,
    /// This is CPU time in seconds per second.
    pub cpu_cores: Option<f64>,
    pub wear: Vec<DriveWear>,
    /// Lists what a reader should know: drives that report no wear, and why.
    pub notes: Vec<String>,
}

/// Holds what SMART reports about a drive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DriveWear {
    pub device: String,
    /// This is the program that reported it.
    pub program: String,
    pub percentage_used: Option<f64>,
    /// Counts the bytes that the host wrote in the drive's life.
    pub host_written_bytes: Option<f64>,
    pub power_on_hours: Option<f64>,
}

impl DriveWear {
    /// Returns the used share of the endurance, and how it is known, as text. Returns `None` if the
    /// drive reports neither figure, or if `drives` have no endurance.
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
    /// Returns the bytes written to drives for each byte that users stored, since the process
    /// began; `None` before the first.
    pub fn write_amplification(&self) -> Option<f64> {
        let written: f64 = self.written_bytes.values().sum();
        (self.user_bytes > 0.0).then(|| written / self.user_bytes)
    }
}

/// Holds the comparison of a plan with a running node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub live: LiveNode,
    /// This is the month of the plan that is compared.
    pub month: super::super::month::Month,
    pub lines: Vec<DifferenceLine>,
    pub notes: Vec<String>,
}

/// Compares one figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceLine {
    /// Includes its unit, as in the JSON of a plan: `stored_bytes_per_object`.
    pub name: String,
    /// This is the figure for one node.
    pub planned: f64,
    /// This is `None` if the node does not report it.
    pub live: Option<f64>,
}

impl DifferenceLine {
    /// Returns the live value over the planned one, less 1.
    pub fn relative(&self) -> Option<f64> {
        self.live.filter(|_| self.planned != 0.0).map(|live| live / self.planned - 1.0)
    }
}
