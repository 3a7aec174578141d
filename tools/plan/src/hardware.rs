//! This module defines the hardware, typed, with every default set. `template/hardware.toml` shows
//! how it is written.

use ringbolt_bench::profile::schema::DriveProfile;
use ringbolt_engine::node::sizing::{self, Shape};
use ringbolt_tool_common::redundancy;
use serde::{Deserialize, Serialize};

/// A plan does not use drives that are worn further than this.
pub const ENDURANCE_USED_MAX: f64 = 0.99;

/// Describes the machines; all nodes are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    pub name: String,
    pub node: Node,
    /// Describes the drives of one node, which are all equal.
    pub drives: Drives,
    pub redundancy: Redundancy,
    pub limits: Limits,
    pub cost: Cost,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// This is the number of existing nodes; `None` means as many as the first month needs.
    pub count: Option<u32>,
    /// Counts the cores of the server.
    pub cores: u32,
    pub ram_bytes: u64,
    /// This is the bandwidth of each direction.
    pub nic_bytes_per_s: f64,
    /// This is the power without the drives.
    pub watts: f64,
    /// This is the price without the drives.
    pub price: f64,
}

/// Describes the drives of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drives {
    pub count: u32,
    pub size_bytes: u64,
    pub price: f64,
    pub watts: f64,
    /// This is the number of bytes that may be written to a drive within its warranty; `None` if it
    /// is not known, and then endurance is no limit.
    pub endurance_bytes: Option<f64>,
    /// This is the share of it that is used up when the plan begins.
    #[serde(default)]
    pub endurance_used_share: f64,
    /// This is the wanted life of a drive from then on.
    pub wanted_life_years: f64,
    /// This is the number of bytes written to the flash for each byte that the host writes.
    pub internal_write_amplification: f64,
    /// This is the share of the drives that fail in a year.
    pub annual_failure_rate: f64,
    /// This is the time from the failure of a drive to its replacement.
    pub replacement_hours: f64,
    /// This is the rate at which the replacement is filled; `None` means a share of what the drives
    /// and the network can do.
    #[serde(default)]
    pub rebuild_bytes_per_s: Option<f64>,
    pub speed: DriveSpeed,
}

/// Says what one drive can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriveSpeed {
    /// Counts random reads of 4 KiB per second.
    pub read_iops: f64,
    /// Counts random durable writes of 4 KiB per second.
    pub write_iops: f64,
    pub read_bytes_per_s: f64,
    /// This is the settled rate, once the drive's cache is full.
    pub write_bytes_per_s: f64,
    /// Describes the source of the figures as text.
    pub source: String,
    /// This is the measurement, if there is one.
    pub profile: Option<Box<DriveProfile>>,
}

/// Says how objects are stored on drives: in `data + parity` pieces, of which any `data` suffice, on
/// the drives of several nodes, or as `ringbolt format` lays them on the drives of one node.
///
/// On one node records, and with them small objects, have `copies` copies. The slices of large objects
/// lie in sets of `data_members` data members, of which any suffice, and `copies` - 1 parity members;
/// with one data member all are copies.
///
/// Invariant: objects have pieces, or more than one copy, never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redundancy {
    pub data: u32,
    pub parity: u32,
    #[serde(default)]
    pub small_objects: SmallObjects,
    /// Counts the copies of every record, as `ringbolt format --redundancy` makes them, one more than
    /// drives may be lost; 1 without redundancy on a node.
    #[serde(default = "one")]
    pub copies: u32,
    /// Counts the data members of the sets that slices lie in; 1 without stripes.
    #[serde(default = "one")]
    pub data_members: u32,
}

fn one() -> u32 {
    1
}

/// Says how objects that fit into a record are stored on drives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmallObjects {
    /// They are stored in data + parity pieces, like larger ones.
    #[default]
    Pieces,
    /// They are stored whole, in 1 + parity copies, like a mirrored log.
    Copies,
}

impl Drives {
    /// Returns the number of bytes that may still be written to a drive.
    pub fn endurance_left_bytes(&self) -> Option<f64> {
        self.endurance_bytes.map(|bytes| bytes * (1.0 - self.endurance_used_share))
    }
}

impl Redundancy {
    /// Stores each object once.
    pub const SINGLE: Self = Self::pieces(1, 0);
    /// A shard has at most this many homes, and each holds a copy.
    pub const COPIES_MAX: u32 = sizing::HOMES_MAX as u32;

    pub const fn pieces(data: u32, parity: u32) -> Self {
        Self { data, parity, small_objects: SmallObjects::Pieces, copies: 1, data_members: 1 }
    }

    pub const fn mirror(copies: u32) -> Self {
        Self { copies, ..Self::SINGLE }
    }

    /// Returns stripes over `data_members` drives with parity on `failures_max` more.
    pub const fn stripes(data_members: u32, failures_max: u32) -> Self {
        Self { data_members, ..Self::mirror(failures_max + 1) }
    }

    /// Returns the redundancy with this name of `ringbolt format --redundancy`.
    pub fn of_name(name: &str) -> Option<Self> {
        let (data_members, failures_max) = redundancy::parse(name)?;
        Some(Self::stripes(data_members.into(), failures_max.into()))
    }

    /// Returns what `ringbolt format` makes of so many drives if it is not told anything.
    pub fn of_drives(drives: u32) -> Self {
        let engines = ringbolt_engine::node::Redundancy::of(drives as usize);
        Self::stripes(engines.data_members.into(), engines.failures_max.into())
    }

    /// Returns the name of what lies on one node in `ringbolt format --redundancy`.
    pub fn name(self) -> String {
        redundancy::name(self.data_members as u8, self.failures_max() as u8)
    }

    /// Returns whether every byte has copies on other drives of its node.
    pub const fn is_mirror(self) -> bool {
        self.copies > 1 && !self.is_striped()
    }

    /// Returns whether large objects are striped over drives of their node.
    pub const fn is_striped(self) -> bool {
        self.data_members > 1
    }

    /// Returns whether a node loses nothing with one of its drives.
    pub const fn is_on_node(self) -> bool {
        self.copies > 1
    }

    /// Returns the number of drives of a node that may be lost.
    pub const fn failures_max(self) -> u32 {
        self.copies - 1
    }

    /// Returns the number of drives that a set of slices lies on.
    pub const fn members(self) -> u32 {
        self.data_members + self.copies - 1
    }

    /// Returns the shape of the sets of slices.
    pub fn sets(self) -> Shape {
        Shape::new(self.data_members as u8, self.failures_max() as u8)
    }

    /// Returns the stored bytes for each byte of the pieces, or of the members of a set of slices, that
    /// suffice.
    pub fn overhead(self) -> f64 {
        let pieces = f64::from(self.data + self.parity) / f64::from(self.data);
        pieces * f64::from(self.members()) / f64::from(self.data_members)
    }
}

/// Holds the share of each resource that the plan allows in the busiest seconds; 1 is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// This is a share of what can be live on a drive.
    pub capacity: f64,
    pub drive_iops: f64,
    pub drive_bandwidth: f64,
    /// This is a share of the RAM.
    pub ram: f64,
    pub cpu: f64,
    pub nic: f64,
}

impl Limits {
    /// Returns each limit with its key in the file; the pattern is exhaustive.
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
    /// This is the currency of all prices.
    pub currency: String,
    /// This is the number of years over which purchase prices are spread.
    pub years: f64,
    pub price_per_kwh: f64,
    /// This is the power drawn at the meter for each watt of the machines.
    pub power_usage_effectiveness: f64,
}
