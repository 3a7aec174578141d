//! The machines, typed, with every default filled in. How it is written: `template/hardware.toml`.

use ringbolt_bench::profile::schema::DriveProfile;
use serde::{Deserialize, Serialize};

/// A drive that is worn further is not planned with any more.
pub const ENDURANCE_USED_MAX: f64 = 0.99;

/// All nodes are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    pub name: String,
    pub node: Node,
    /// Of one node; all alike.
    pub drives: Drives,
    pub redundancy: Redundancy,
    pub limits: Limits,
    pub cost: Cost,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Nodes that there are; None: as many as the first month needs.
    pub count: Option<u32>,
    /// Of the server.
    pub cores: u32,
    pub ram_bytes: u64,
    /// Each way.
    pub nic_bytes_per_s: f64,
    /// Without its drives.
    pub watts: f64,
    /// Without its drives.
    pub price: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drives {
    pub count: u32,
    pub size_bytes: u64,
    pub price: f64,
    pub watts: f64,
    /// Bytes that the maker lets a drive take in its warranty; None: not known, endurance binds nothing.
    pub endurance_bytes: Option<f64>,
    /// Of it: the part that is behind the drives when the plan begins.
    #[serde(default)]
    pub endurance_used_share: f64,
    /// How long a drive shall live from then on.
    pub wanted_life_years: f64,
    /// Written to the flash for each byte that the host writes, within the drive.
    pub internal_write_amplification: f64,
    /// Of the drives, in a year.
    pub annual_failure_rate: f64,
    /// From the failure of a drive until another one is in its place.
    pub replacement_hours: f64,
    pub speed: DriveSpeed,
}

/// What one drive can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriveSpeed {
    /// Random reads of 4 KiB a second.
    pub read_iops: f64,
    /// Random durable writes of 4 KiB a second.
    pub write_iops: f64,
    pub read_bytes_per_s: f64,
    /// Settled, when its cache is full.
    pub write_bytes_per_s: f64,
    /// Where the figures are from, in words.
    pub source: String,
    /// The measurement, when there is one.
    pub profile: Option<Box<DriveProfile>>,
}

/// How an object lies on drives: `data` pieces, of which any as many suffice of `data + parity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redundancy {
    pub data: u32,
    pub parity: u32,
    #[serde(default)]
    pub small_objects: SmallObjects,
}

/// How an object that fits into a record lies on drives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmallObjects {
    /// In data + parity pieces, as larger ones do.
    #[default]
    Pieces,
    /// Whole, in 1 + parity copies: a log that is mirrored.
    Copies,
}

impl Drives {
    /// Bytes that a drive may still take.
    pub fn endurance_left_bytes(&self) -> Option<f64> {
        self.endurance_bytes.map(|bytes| bytes * (1.0 - self.endurance_used_share))
    }
}

impl Redundancy {
    /// What Ringbolt stores today: each object once.
    pub const SINGLE: Self = Self::pieces(1, 0);

    pub const fn pieces(data: u32, parity: u32) -> Self {
        Self { data, parity, small_objects: SmallObjects::Pieces }
    }

    /// Stored bytes for each byte of the pieces that suffice.
    pub fn overhead(self) -> f64 {
        f64::from(self.data + self.parity) / f64::from(self.data)
    }
}

/// The part of each resource that the plan lets the busiest seconds use; 1: all of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Of what can be live on a drive.
    pub capacity: f64,
    pub drive_iops: f64,
    pub drive_bandwidth: f64,
    /// Of the RAM.
    pub ram: f64,
    pub cpu: f64,
    pub nic: f64,
}

impl Limits {
    /// Each with its key in the file; the pattern misses none.
    pub fn by_key(&self) -> [(&'static str, f64); 6] {
        let Self { capacity, drive_iops, drive_bandwidth, ram, cpu, nic } = *self;
        [
            ("limits.capacity", capacity),
            ("limits.drive_iops", drive_iops),
            ("limits.drive_bandwidth", drive_bandwidth),
            ("limits.ram", ram),
            ("limits.cpu", cpu),
            ("limits.nic", nic),
        ]
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Of all prices.
    pub currency: String,
    /// Purchase prices are spread over so long.
    pub years: f64,
    pub price_per_kwh: f64,
    /// Power drawn at the meter for each watt of the machines.
    pub power_usage_effectiveness: f64,
}
