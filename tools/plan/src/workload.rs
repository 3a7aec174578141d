//! This module defines what is stored and requested, typed, with every default set.
//! `template/workload.toml` shows how it is written.

use super::month::Month;
use super::sizes::{SizeClass, SizeHistogram};
use serde::{Deserialize, Serialize};

/// Describes what is stored and requested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    pub name: String,
    pub objects: Objects,
    pub requests: Requests,
    pub day: Day,
    pub hot_set: HotSet,
    pub growth: Growth,
    /// This is the age at which objects are deleted; `None` means never.
    pub retention_days: Option<f64>,
    pub horizon: Horizon,
}

/// Describes what is stored in the first month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objects {
    pub count: u64,
    /// This is the mean length of a key.
    pub key_bytes: f64,
    /// This is the mean length of the part that a key shares with the previous key in byte order;
    /// the index does not store it.
    pub key_shared_bytes: f64,
    /// This is the mean size of content headers and user metadata of an object, names and values.
    pub metadata_bytes: f64,
    pub sizes: SizeHistogram,
    /// Describes the source of the sizes as text.
    pub sizes_source: String,
    /// This is the live size of an object on a running node; `None` means that it follows from the
    /// sizes.
    #[serde(default)]
    pub live_bytes_per_object: Option<f64>,
    /// This is the part size of multipart uploads of larger objects; `None` means that objects are
    /// uploaded in one piece.
    pub part_bytes: Option<u64>,
}

/// Holds mean rates over a day in the first month, for all nodes together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    pub put_per_s: f64,
    pub get_per_s: f64,
    pub head_per_s: f64,
    pub list_per_s: f64,
    pub delete_per_s: f64,
    /// This is the share of the puts that replace an object with the same key, chosen evenly.
    pub overwrite_share: f64,
    /// This is the number of keys in the response to a LIST.
    pub list_keys: f64,
    /// This is the share of the gets that ask for a range.
    pub range_share: f64,
    pub range_bytes: u64,
    /// Holds the gets by the size of the object that they ask for, in classes that do not overlap
    /// and whose shares add up to 1. Within a class, all objects are requested alike. `None` means
    /// that all objects are requested alike.
    #[serde(default)]
    pub gets_by_size: Option<Vec<SizeClass>>,
    /// Holds the same for the heads.
    #[serde(default)]
    pub heads_by_size: Option<Vec<SizeClass>>,
    /// This is the number of puts that wait for their commit at the same time on one node; they
    /// share writes.
    pub puts_in_flight: f64,
    /// This is the relative standard deviation of all rates together: 0.2 means that they may well
    /// be 20% off.
    pub uncertainty: f64,
}

/// Says how load is distributed over a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Day {
    /// Holds the weight of each hour; the mean is 1.
    pub shape: Vec<f64>,
    /// This is the rate in the busiest seconds over the mean of their hour.
    pub peak_factor: f64,
}

impl Day {
    /// Returns the rate in the busiest seconds over the mean of the day.
    pub fn peak(&self) -> f64 {
        self.peak_factor * self.shape.iter().copied().fold(0.0, f64::max)
    }
}

/// Says that some objects are requested more than others: `request_share` of the gets ask for
/// `object_share` of the objects.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HotSet {
    pub object_share: f64,
    pub request_share: f64,
}

/// Holds the growth per month, compounding: 0.03 is 3% more than the month before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// This is the growth of all request rates.
    pub requests_share_per_month: f64,
    /// This is the growth of the stored objects; `None` means that it follows from the rates of
    /// puts and deletes (and the retention).
    pub stored_share_per_month: Option<f64>,
    /// This is the standard deviation of both figures. It belongs to the forecast, so it is the
    /// same in all months of a sample.
    pub uncertainty: f64,
}

/// Says for which months a plan is made, and how its uncertainties are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Horizon {
    pub start: Month,
    pub months: u32,
    /// This is the seed of the Monte Carlo: the same seed gives the same plan.
    pub seed: u64,
    pub samples: u32,
}
