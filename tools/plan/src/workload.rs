//! What is stored and asked for, typed, with every default filled in. How it is written: `template/workload.toml`.

use super::month::Month;
use super::sizes::{SizeClass, SizeHistogram};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    pub name: String,
    pub objects: Objects,
    pub requests: Requests,
    pub day: Day,
    pub hot_set: HotSet,
    pub growth: Growth,
    /// Objects are deleted when they are this old; None: they stay.
    pub retention_days: Option<f64>,
    pub horizon: Horizon,
}

/// What is stored in the first month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objects {
    pub count: u64,
    /// Mean length of a key.
    pub key_bytes: f64,
    /// Mean length of what a key has in common with the key before it, in byte order: the index does not store it.
    pub key_shared_bytes: f64,
    /// Mean of content headers and user metadata of an object, names and values.
    pub metadata_bytes: f64,
    pub sizes: SizeHistogram,
    /// Where the sizes are from, in words.
    pub sizes_source: String,
    /// What a running node has live for an object; None: what the sizes come to.
    #[serde(default)]
    pub live_bytes_per_object: Option<f64>,
    /// Larger objects come as multipart uploads in parts of this; None: in one piece.
    pub part_bytes: Option<u64>,
}

/// Mean rates over a day in the first month, for all nodes together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    pub put_per_s: f64,
    pub get_per_s: f64,
    pub head_per_s: f64,
    pub list_per_s: f64,
    pub delete_per_s: f64,
    /// Of the puts: those that replace an object of the same key, chosen evenly.
    pub overwrite_share: f64,
    /// Keys in the answer to a LIST.
    pub list_keys: f64,
    /// Of the gets: those of a range.
    pub range_share: f64,
    pub range_bytes: u64,
    /// The gets, by the size of the object that they ask for: classes that do not overlap, whose shares add up to 1.
    /// Within one, all objects alike. None: all objects alike.
    #[serde(default)]
    pub gets_by_size: Option<Vec<SizeClass>>,
    /// The same of the heads.
    #[serde(default)]
    pub heads_by_size: Option<Vec<SizeClass>>,
    /// Puts that wait for their commit at one time on one node: they share writes.
    pub puts_in_flight: f64,
    /// Relative standard deviation of all rates together: 0.2 means that they may well be 20% off.
    pub uncertainty: f64,
}

/// How load spreads over a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Day {
    /// Weight of each hour, mean 1.
    pub shape: Vec<f64>,
    /// The busiest seconds over the mean of their hour.
    pub peak_factor: f64,
}

impl Day {
    /// The busiest seconds over the mean of the day.
    pub fn peak(&self) -> f64 {
        self.peak_factor * self.shape.iter().copied().fold(0.0, f64::max)
    }
}

/// Some objects are asked for more than others: `request_share` of the gets go to `object_share` of the objects.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HotSet {
    pub object_share: f64,
    pub request_share: f64,
}

/// By month, compounding: 0.03 is 3% more than the month before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Of all request rates.
    pub requests_share_per_month: f64,
    /// Of the objects stored; None: what the rates of puts and deletes (and the retention) come to.
    pub stored_share_per_month: Option<f64>,
    /// Standard deviation of either figure: of the forecast, so the same in all months of one sample.
    pub uncertainty: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Horizon {
    pub start: Month,
    pub months: u32,
    /// Of the Monte Carlo: the same seed gives the same plan.
    pub seed: u64,
    pub samples: u32,
}
