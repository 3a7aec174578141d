//! This module defines a plan as `--json` writes it. Units are in the names of the fields.
//!
//! Invariant: a field never changes its meaning within a version. Readers accept a version they
//! know and ignore fields they do not.

use super::check;
use super::constants::Constant;
use super::hardware::Hardware;
use super::month::Month;
use super::workload::Workload;
use ringbolt_tool_common::json_file::{self, JsonFileError, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const SCHEMA: &str = "ringbolt-plan";
pub const VERSION: u32 = 2;
const KIND: Kind =
    Kind { schema: SCHEMA, version: VERSION, holds: "plan", command: "ringbolt plan run --json" };

/// This is a plan, with everything that it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// This is [`SCHEMA`].
    pub schema: String,
    /// This is [`VERSION`].
    pub version: u32,
    pub created_unix_ms: u64,
    /// This is the input of the plan, together with `hardware`.
    pub workload: Workload,
    pub hardware: Hardware,
    /// Holds the constants of the file and of the model itself by name; names include the units.
    pub constants: BTreeMap<String, Constant>,
    /// This is the number of nodes that `fill`, `endurance`, `durability` and `cost` refer to: the
    /// existing ones, or what the first month needs.
    pub nodes: u32,
    /// Holds a row per month, the first month first, with all nodes up and at the mean of the
    /// stated uncertainties.
    pub months: Vec<MonthPlan>,
    pub layout: Layout,
    pub node: NodeCapacity,
    pub fill: Fill,
    pub endurance: Endurance,
    pub durability: Durability,
    pub cost: CostPlan,
    /// Lists what a reader should know: what was assumed, what is near a limit, what is not
    /// modelled.
    pub notes: Vec<String>,
}

/// Names what limits a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    Capacity,
    DriveIops,
    DriveBandwidth,
    Endurance,
    Ram,
    Cpu,
    Nic,
}

impl Constraint {
    pub const ALL: [Self; 7] = [
        Self::Capacity,
        Self::DriveIops,
        Self::DriveBandwidth,
        Self::Endurance,
        Self::Ram,
        Self::Cpu,
        Self::Nic,
    ];

    /// Returns the name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::DriveIops => "drive IOPS",
            Self::DriveBandwidth => "drive bandwidth",
            Self::Endurance => "endurance",
            Self::Ram => "RAM for the index",
            Self::Cpu => "CPU",
            Self::Nic => "NIC",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonthPlan {
    pub month: Month,
    pub objects: f64,
    /// Counts the bytes that users stored.
    pub logical_bytes: f64,
    /// Counts the live bytes on drives, with redundancy.
    pub stored_bytes: f64,
    /// This is the rate in the busiest seconds, for all nodes together; `peak_get_per_s` likewise.
    pub peak_put_per_s: f64,
    pub peak_get_per_s: f64,
    /// This is what suffices with all nodes up.
    pub needed: Needed,
    /// This is what suffices with one node down.
    pub needed_with_one_down: Needed,
    /// This is the 5th percentile of `needed.nodes` over the samples of the Monte Carlo; the next
    /// two are the 50th and 95th.
    pub nodes_p5: u32,
    pub nodes_p50: u32,
    pub nodes_p95: u32,
    /// Holds the use of each constraint, in the order of [`Constraint::ALL`].
    pub uses: Vec<Use>,
}

/// Says how many nodes and drives suffice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Needed {
    pub nodes: u32,
    pub drives: u32,
    /// This is the constraint that requires this many.
    pub binding: Constraint,
}

/// Says how much of one resource is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Use {
    pub constraint: Constraint,
    /// This is the use with [`Plan::nodes`] nodes; 1 is all that the limits of the plan allow. It
    /// is infinite, written as null, if there is nothing to use.
    #[serde(with = "infinite_as_null")]
    pub use_of_limit: f64,
    /// This is the use with one node down; it is infinite, written as null, if there is no other
    /// node.
    #[serde(with = "infinite_as_null")]
    pub use_of_limit_with_one_down: f64,
    /// This is the number of nodes that this constraint alone requires.
    pub nodes: u32,
}

impl Use {
    /// Returns the share of the limit that is left; it is below 0 if the limit is exceeded.
    pub fn headroom(&self) -> f64 {
        1.0 - self.use_of_limit
    }
}

/// Says what an object needs on a drive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    pub classes: Vec<ClassLayout>,
    pub logical_bytes_per_object: f64,
    /// This is the live size without redundancy: record, padding, headers, units.
    pub stored_bytes_per_object: f64,
    /// This is the live size with all pieces, or with all copies and parity; `None` if an older program
    /// wrote the file.
    #[serde(default)]
    pub redundant_bytes_per_object: Option<f64>,
    /// This is the same for each byte of the users; `None` if their objects have no bytes, or if an
    /// older program wrote the file.
    #[serde(default)]
    pub redundant_bytes_per_logical_byte: Option<f64>,
    /// This is what a running node counts as live for an object: records once, and slices without
    /// parity; `None` if an older program wrote the file.
    #[serde(default)]
    pub counted_bytes_per_object: Option<f64>,
    /// This is the share of the stored bytes that are not users' data.
    pub waste_share: f64,
    pub index_bytes_per_object: f64,
}

/// Describes the objects of one class of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassLayout {
    pub lower_bytes: u64,
    pub upper_bytes: u64,
    /// This is the share of the objects.
    pub objects_share: f64,
    /// This is the share of the users' bytes.
    pub logical_share: f64,
    pub logical_bytes_per_object: f64,
    pub stored_bytes_per_object: f64,
    /// This is the size with all pieces, or with all copies and parity; `None` if an older program wrote
    /// the file.
    #[serde(default)]
    pub redundant_bytes_per_object: Option<f64>,
    /// This is the same for each byte of the users; `None` if the objects have no bytes, or if an older
    /// program wrote the file.
    #[serde(default)]
    pub redundant_bytes_per_logical_byte: Option<f64>,
    /// This is the share of the stored bytes that are not users' data.
    pub waste_share: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeCapacity {
    pub raw_bytes: f64,
    /// This is the size of superblocks, and of the space after the last whole extent.
    pub format_bytes: f64,
    /// This is the size of the current and the next checkpoints.
    pub checkpoint_bytes: f64,
    /// This is kept free for the cleaner and the log.
    pub held_back_bytes: f64,
    /// This stays free on drives with fewer shards than the drive with the most, which is full first;
    /// 0 if an older program wrote the file.
    #[serde(default)]
    pub uneven_bytes: f64,
    /// This is the size that can be live, all copies and parity together.
    pub usable_bytes: f64,
    /// This is the size that can be live without further copies and parity; `None` if an older program
    /// wrote the file.
    #[serde(default)]
    pub usable_once_bytes: Option<f64>,
    /// This is the size of the index in the first month on [`Plan::nodes`] nodes.
    pub index_bytes: f64,
    pub ram_bytes: f64,
}

/// Says when the drives are full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    /// Holds live bytes over what can be live, for the months of [`Plan::months`] and one more.
    pub months: Vec<FillMonth>,
    pub at_80_percent: WhenFull,
    pub at_100_percent: WhenFull,
}

/// Says how full the drives are in one month.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FillMonth {
    pub month: Month,
    /// This is a percentile over the samples, like the next two; 1 is full.
    pub fill_p5: f64,
    pub fill_p50: f64,
    pub fill_p95: f64,
}

/// Holds days from the start of the first month; `None` means not within the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhenFull {
    /// This is the day before which 5% of the samples reach the level; the next two are for 50% and
    /// 95%.
    pub days_p5: Option<f64>,
    pub days_p50: Option<f64>,
    pub days_p95: Option<f64>,
    /// This is the share of the samples that reach the level within the horizon.
    pub share_of_samples: f64,
}

/// Describes the writes and the wear of the drives in the first month.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endurance {
    /// Counts the bytes of users' objects on one drive.
    pub user_bytes_per_day_per_drive: f64,
    /// Counts the bytes written to the drive.
    pub host_bytes_per_day_per_drive: f64,
    /// This is host bytes over user bytes, which is the sum of the next four; it is 0 if users'
    /// objects have no bytes.
    pub write_amplification: f64,
    /// Counts objects with their records, padding, headers and units.
    pub write_amplification_objects: f64,
    /// Counts what the cleaner moves.
    pub write_amplification_cleaner: f64,
    pub write_amplification_checkpoints: f64,
    /// Counts the records of deletes.
    pub write_amplification_deletes: f64,
    /// This is the live share of a drive's part for small objects.
    pub log_live_share: f64,
    /// Counts how often the host writes the full size of the drive per day.
    pub drive_writes_per_day: f64,
    /// This is the life from the start of the plan; `None` if the endurance is not known, or if
    /// nothing is written.
    pub life_years: Option<f64>,
}

/// Says how probable a loss of data is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Durability {
    /// Describes the model as text.
    pub model: String,
    /// Counts the drives of all nodes.
    pub drives: u32,
    /// Counts the groups of drives of all nodes that data are lost with, each of one drive more than may
    /// be lost: those that hold all copies of some objects, and with stripes those that some stripe lies
    /// on as a whole; `None` without redundancy on a node.
    #[serde(default)]
    pub groups: Option<u32>,
    pub drive_failures_per_year: f64,
    /// This is the time to read and write again what a drive held; `None` without redundancy,
    /// because there is nothing to rebuild from.
    pub rebuild_hours: Option<f64>,
    /// Says what limits the rebuild, as text.
    pub rebuild_bound_by: String,
    /// Counts the bytes that a rebuild of one drive reads of all others; `None` without redundancy, or if
    /// an older program wrote the file.
    #[serde(default)]
    pub rebuild_read_bytes: Option<f64>,
    /// Counts the bytes that it writes to the new drive; `None` as the above.
    #[serde(default)]
    pub rebuild_written_bytes: Option<f64>,
    /// This is the probability of losing any object within a year.
    pub data_loss_probability_per_year: f64,
    /// This is the mean number of bytes that one loss destroys.
    pub bytes_lost_per_loss: f64,
}

/// Holds costs in [`super::hardware::Cost::currency`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostPlan {
    pub purchase: f64,
    pub power_per_month: f64,
    /// This is the purchase spread over its years, and power.
    pub per_month: f64,
    /// This is the cost for each 10^12 bytes that users can store at the limit of capacity; `None`
    /// if their objects have no bytes.
    pub per_usable_tb_month: Option<f64>,
    /// This is the cost for each 10^12 bytes that users store in the first month; `None` if they
    /// store none.
    pub per_stored_tb_month: Option<f64>,
    /// This is the whole cost divided by the requests of the first month; `None` without requests.
    pub per_million_requests: Option<f64>,
    /// This is the power at the meter for each 10^12 usable bytes.
    pub watts_per_usable_tb: Option<f64>,
}

/// Writes infinity as null, because JSON has no infinity.
mod infinite_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

/// Says why a text is not a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    #[error(transparent)]
    File(#[from] JsonFileError),
    #[error("{name} is {value}: it {reason}; the file was changed: make it again with `{}`", KIND.command)]
    Value { name: String, value: f64, reason: String },
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// Fails when the text is not JSON of this schema and version, or when a figure is not valid.
    pub fn from_json(text: &str) -> Result<Self, PlanFileError> {
        let plan: Self = KIND.read(text)?;
        let wrong = |(name, value, reason)| PlanFileError::Value { name, value, reason };
        check::check(&plan).map_err(wrong)?;
        Ok(plan)
    }

    pub fn to_json(&self) -> String {
        json_file::text(self)
    }
}
