//! What a plan says, as `--json` writes it. Units are in the names of the fields.
//!
//! Invariant: a field never changes its meaning within a version. Readers take a version they know and ignore fields
//! they do not.

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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    pub created_unix_ms: u64,
    /// What it was made from.
    pub workload: Workload,
    pub hardware: Hardware,
    /// Of the file of constants, and those of the model itself. By name, with units in the names.
    pub constants: BTreeMap<String, Constant>,
    /// Nodes that `fill`, `endurance`, `durability` and `cost` speak of: those there are, or what the first month
    /// needs.
    pub nodes: u32,
    /// With all nodes up, at the mean of the stated uncertainties. One row a month, the first month first.
    pub months: Vec<MonthPlan>,
    pub layout: Layout,
    pub node: NodeCapacity,
    pub fill: Fill,
    pub endurance: Endurance,
    pub durability: Durability,
    pub cost: CostPlan,
    /// What a reader should know: what was assumed, what is near a limit, what is not modelled.
    pub notes: Vec<String>,
}

/// What limits a node.
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

    /// For people.
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

/// One month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonthPlan {
    pub month: Month,
    pub objects: f64,
    /// Bytes that users stored.
    pub logical_bytes: f64,
    /// On drives, live, with redundancy.
    pub stored_bytes: f64,
    /// At the busiest seconds, all nodes together.
    pub peak_put_per_s: f64,
    pub peak_get_per_s: f64,
    /// What suffices with all nodes up.
    pub needed: Needed,
    /// What suffices when one node is down.
    pub needed_with_one_down: Needed,
    /// Of `needed.nodes` over the samples of the Monte Carlo: 5th, 50th, 95th percentile.
    pub nodes_p5: u32,
    pub nodes_p50: u32,
    pub nodes_p95: u32,
    /// Of each constraint, in the order of [`Constraint::ALL`].
    pub uses: Vec<Use>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Needed {
    pub nodes: u32,
    pub drives: u32,
    /// What asks for so many.
    pub binding: Constraint,
}

/// How much of one resource is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Use {
    pub constraint: Constraint,
    /// With [`Plan::nodes`] nodes: 1 is all that the limits of the plan allow. Infinite, written as null, when there
    /// is nothing to use.
    #[serde(with = "infinite_as_null")]
    pub use_of_limit: f64,
    /// With one of them down; infinite, written as null, when there is no other.
    #[serde(with = "infinite_as_null")]
    pub use_of_limit_with_one_down: f64,
    /// Nodes that this constraint alone asks for.
    pub nodes: u32,
}

impl Use {
    /// Of the limit: what is left. Below 0 when it is exceeded.
    pub fn headroom(&self) -> f64 {
        1.0 - self.use_of_limit
    }
}

/// What an object costs on a drive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    pub classes: Vec<ClassLayout>,
    pub logical_bytes_per_object: f64,
    /// Live, without redundancy: record, padding, headers, units.
    pub stored_bytes_per_object: f64,
    /// Live, with all pieces of the redundancy; None: written by a program that did not say.
    #[serde(default)]
    pub redundant_bytes_per_object: Option<f64>,
    /// Of the stored bytes: what is none of the users'.
    pub waste_share: f64,
    pub index_bytes_per_object: f64,
}

/// Objects of one class of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassLayout {
    pub lower_bytes: u64,
    pub upper_bytes: u64,
    /// Of the objects.
    pub objects_share: f64,
    /// Of the users' bytes.
    pub logical_share: f64,
    pub logical_bytes_per_object: f64,
    pub stored_bytes_per_object: f64,
    /// With all pieces; None: written by a program that did not say.
    #[serde(default)]
    pub redundant_bytes_per_object: Option<f64>,
    /// Of the stored bytes: what is none of the users'.
    pub waste_share: f64,
}

/// What one node has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeCapacity {
    pub raw_bytes: f64,
    /// Superblocks, and what is behind the last whole extent.
    pub format_bytes: f64,
    /// Checkpoints in force and the next ones.
    pub checkpoint_bytes: f64,
    /// Kept for the cleaner and the log: can not be live.
    pub held_back_bytes: f64,
    /// Can be live.
    pub usable_bytes: f64,
    /// Index at the first month on [`Plan::nodes`] nodes.
    pub index_bytes: f64,
    pub ram_bytes: f64,
}

/// How long until it is full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    /// Live over what can be live, by month: [`Plan::months`]' months and one more.
    pub months: Vec<FillMonth>,
    pub at_80_percent: WhenFull,
    pub at_100_percent: WhenFull,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FillMonth {
    pub month: Month,
    /// Percentiles over the samples; 1 is full.
    pub fill_p5: f64,
    pub fill_p50: f64,
    pub fill_p95: f64,
}

/// Days from the start of the first month; None: not within the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhenFull {
    /// 5% of the samples are there before.
    pub days_p5: Option<f64>,
    pub days_p50: Option<f64>,
    pub days_p95: Option<f64>,
    /// Of the samples: those that get there within the horizon.
    pub share_of_samples: f64,
}

/// Writes and what they do to drives, in the first month.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endurance {
    /// Bytes of users' objects, one drive.
    pub user_bytes_per_day_per_drive: f64,
    /// Bytes that the drive gets.
    pub host_bytes_per_day_per_drive: f64,
    /// Host over user bytes: the sum of the four below. 0: users' objects have no bytes.
    pub write_amplification: f64,
    /// Objects with their records, padding, headers and units.
    pub write_amplification_objects: f64,
    /// Moved by the cleaner.
    pub write_amplification_cleaner: f64,
    pub write_amplification_checkpoints: f64,
    /// Records of deletes.
    pub write_amplification_deletes: f64,
    /// Of the small objects' part of a drive: what is live.
    pub log_live_share: f64,
    /// Full writes of the drive a day, by the host.
    pub drive_writes_per_day: f64,
    /// From the start of the plan on. None: endurance not known, or nothing is written.
    pub life_years: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Durability {
    /// The model, in words.
    pub model: String,
    /// All drives of all nodes.
    pub drives: u32,
    pub drive_failures_per_year: f64,
    /// Reading what it held and writing it again; None without redundancy: there is nothing to rebuild from.
    pub rebuild_hours: Option<f64>,
    /// What limits the rebuild, in words.
    pub rebuild_bound_by: String,
    /// Of losing any object at all within a year.
    pub data_loss_probability_per_year: f64,
    /// Bytes that one loss takes with it, on average.
    pub bytes_lost_per_loss: f64,
}

/// In [`super::hardware::Cost::currency`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostPlan {
    pub purchase: f64,
    pub power_per_month: f64,
    /// Purchase spread over its years, and power.
    pub per_month: f64,
    /// For each 10^12 bytes that users can store at the limit of capacity; None: their objects have no bytes.
    pub per_usable_tb_month: Option<f64>,
    /// For each 10^12 bytes that users store in the first month; None: they store none.
    pub per_stored_tb_month: Option<f64>,
    /// All of it for the requests of the first month; None without requests.
    pub per_million_requests: Option<f64>,
    /// At the meter, for each 10^12 usable bytes.
    pub watts_per_usable_tb: Option<f64>,
}

/// JSON knows no infinity.
mod infinite_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    #[error(transparent)]
    File(#[from] JsonFileError),
    #[error("{name} is {value}: it {reason}; the file was changed: make it again with `{}`", KIND.command)]
    Value { name: String, value: f64, reason: String },
}

impl Plan {
    /// # Errors
    /// When it is not JSON of this schema and version, or a figure can not be.
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
