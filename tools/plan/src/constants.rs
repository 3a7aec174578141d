//! This module holds the constants of the engine's costs that a plan uses, each with its source.
//!
//! Invariant: every figure has a source. Figures of the format follow from the program itself and
//! are not here.

use ringbolt_tool_common::json_file::{self, JsonFileError, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

pub const SCHEMA: &str = "ringbolt-constants";
pub const VERSION: u32 = 4;

const KIND: Kind =
    Kind { schema: SCHEMA, version: VERSION, holds: "constants", command: "ringbolt plan calibrate" };
/// Was written by `ringbolt plan calibrate`.
const SHIPPED: &str = include_str!("shipped.json");

/// Factors compare what is measured with what is computed: outside of this range, one of the two is
/// wrong.
const FACTORS: RangeInclusive<f64> = 0.1..=10.0;

/// Holds a figure and its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    pub value: f64,
    pub source: Source,
}

/// Says where a figure comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Source {
    /// The figure was measured: `how` as text, when, and on which machine.
    Measured { how: String, machine: String, unix_ms: u64 },
    /// A manufacturer states the figure.
    Datasheet { of: String },
    /// The figure follows from the engine's code or format.
    Format { what: String },
    /// The figure is neither measured nor stated by anyone; `why` says why the guess is plausible.
    Assumption { why: String },
}

/// Holds the constants that `ringbolt plan calibrate` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constants {
    /// This is [`SCHEMA`].
    pub schema: String,
    /// This is [`VERSION`].
    pub version: u32,
    pub created_unix_ms: u64,
    /// Describes machine, kernel, drive and program.
    pub fingerprint: BTreeMap<String, String>,
    /// This is the memory of the index for an object with an empty key.
    pub index_bytes_per_object: Constant,
    /// This is the additional memory for each byte of its key that the previous key does not share.
    pub index_bytes_per_key_byte: Constant,
    /// This is the share of the index that a checkpoint writes.
    pub checkpoint_share_of_index: Constant,
    /// This is the CPU time of a put of an inline object; `put_cpu_us_per_mib` is that of its body.
    pub put_cpu_us: Constant,
    pub put_cpu_us_per_mib: Constant,
    /// This is the same for an object in slices, or for a part of an upload.
    pub put_large_cpu_us: Constant,
    pub put_large_cpu_us_per_mib: Constant,
    /// This is the CPU time of a get of an inline object that the read cache does not hold.
    pub get_cpu_us: Constant,
    pub get_cpu_us_per_mib: Constant,
    pub get_large_cpu_us: Constant,
    pub get_large_cpu_us_per_mib: Constant,
    /// This is the same for an object that the read cache holds.
    pub get_cached_cpu_us: Constant,
    pub head_cpu_us: Constant,
    pub delete_cpu_us: Constant,
    /// This is the CPU time of a group commit, which the puts and deletes in it share.
    pub commit_cpu_us: Constant,
    /// This is the time between the commits of a shard that always has records waiting, while its
    /// core is idle; `commit_busy_us` is the same while the core is busy.
    pub commit_us: Constant,
    pub commit_busy_us: Constant,
    pub list_cpu_us: Constant,
    pub list_cpu_us_per_key: Constant,
    /// This is the ratio of the live bytes of slices to whole units.
    pub slice_alignment_factor: Constant,
    /// This is the size of the gaps for each byte of slices that are not full, once they were
    /// overwritten by slices of other lengths.
    pub slice_tail_gaps_share: Constant,
    /// This is the ratio of the bytes of the log to the records with their computed headers and
    /// padding.
    pub log_bytes_factor: Constant,
    /// This is the ratio of the bytes that the cleaner moves to its formula.
    pub moved_bytes_factor: Constant,
    /// This is the CPU time for each MiB that the cleaner moves.
    pub clean_cpu_us_per_mib: Constant,
}

impl Constants {
    /// Returns name (with its unit) and figure of all constants, in the order of the structure.
    pub fn all(&self) -> Vec<(&'static str, &Constant)> {
        vec![
            ("index_bytes_per_object", &self.index_bytes_per_object),
            ("index_bytes_per_key_byte", &self.index_bytes_per_key_byte),
            ("checkpoint_share_of_index", &self.checkpoint_share_of_index),
            ("put_cpu_us", &self.put_cpu_us),
            ("put_cpu_us_per_mib", &self.put_cpu_us_per_mib),
            ("put_large_cpu_us", &self.put_large_cpu_us),
            ("put_large_cpu_us_per_mib", &self.put_large_cpu_us_per_mib),
            ("get_cpu_us", &self.get_cpu_us),
            ("get_cpu_us_per_mib", &self.get_cpu_us_per_mib),
            ("get_large_cpu_us", &self.get_large_cpu_us),
            ("get_large_cpu_us_per_mib", &self.get_large_cpu_us_per_mib),
            ("get_cached_cpu_us", &self.get_cached_cpu_us),
            ("head_cpu_us", &self.head_cpu_us),
            ("delete_cpu_us", &self.delete_cpu_us),
            ("commit_cpu_us", &self.commit_cpu_us),
            ("commit_us", &self.commit_us),
            ("commit_busy_us", &self.commit_busy_us),
            ("list_cpu_us", &self.list_cpu_us),
            ("list_cpu_us_per_key", &self.list_cpu_us_per_key),
            ("slice_alignment_factor", &self.slice_alignment_factor),
            ("slice_tail_gaps_share", &self.slice_tail_gaps_share),
            ("log_bytes_factor", &self.log_bytes_factor),
            ("moved_bytes_factor", &self.moved_bytes_factor),
            ("clean_cpu_us_per_mib", &self.clean_cpu_us_per_mib),
        ]
    }
}

/// Says why a file contains no valid constants.
#[derive(Debug, thiserror::Error)]
pub enum ConstantsError {
    #[error(transparent)]
    File(#[from] JsonFileError),
    #[error("{name} is {value}: it must be a number of 0 or above; calibrate again")]
    Value { name: &'static str, value: f64 },
    #[error("{name} is {value}: it must be from 0.1 to 10; calibrate again")]
    Factor { name: &'static str, value: f64 },
}

impl Constants {
    pub fn to_json(&self) -> String {
        json_file::text(self)
    }

    /// Returns the constants that come with the program, which were measured on a developer's
    /// machine.
    pub fn shipped() -> Self {
        match Self::from_json(SHIPPED) {
            Ok(constants) => constants,
            Err(error) => unreachable!("a test reads what is shipped: {error}"),
        }
    }

    /// Reads constants.
    ///
    /// # Errors
    /// Fails when the text is not JSON of this schema and version, or when a figure makes no sense.
    pub fn from_json(text: &str) -> Result<Self, ConstantsError> {
        let constants: Self = KIND.read(text)?;
        for (name, Constant { value, .. }) in constants.all() {
            match *value {
                value if value < 0.0 => return Err(ConstantsError::Value { name, value }),
                value if name.ends_with("_factor") && !FACTORS.contains(&value) => {
                    return Err(ConstantsError::Factor { name, value });
                }
                _ => {}
            }
        }
        Ok(constants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_was_measured_and_is_read() {
        let constants = Constants::shipped();
        for (name, constant) in constants.all() {
            assert!(constant.value > 0.0, "{name}");
            assert!(matches!(constant.source, Source::Measured { .. }), "{name}");
        }
        assert_eq!(Constants::from_json(&constants.to_json()).unwrap(), constants);
    }

    #[test]
    fn other_files_are_refused() {
        let text = Constants::shipped().to_json();
        let error = |text: &str| Constants::from_json(text).unwrap_err().to_string();
        assert!(error("{}").contains("plan calibrate"));
        assert!(error(&text.replace("\"version\": 4", "\"version\": 5")).contains("version 5"));
        let mut negative = Constants::shipped();
        negative.head_cpu_us.value = -1.0;
        assert!(error(&negative.to_json()).contains("head_cpu_us is -1"));
        let mut wild = Constants::shipped();
        wild.moved_bytes_factor.value = 0.0;
        assert!(error(&wild.to_json()).contains("moved_bytes_factor is 0: it must be from 0.1 to 10"));
    }
}
