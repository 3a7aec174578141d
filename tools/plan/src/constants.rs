//! What the engine costs: figures that the plan counts with, each with where it is from.
//!
//! Invariant: no figure without a source. Figures of the format follow from the program itself and are not here.

use ringbolt_tool_common::json_file::{self, JsonFileError, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

pub const SCHEMA: &str = "ringbolt-constants";
pub const VERSION: u32 = 4;

const KIND: Kind =
    Kind { schema: SCHEMA, version: VERSION, holds: "constants", command: "ringbolt plan calibrate" };
/// Written by `ringbolt plan calibrate`.
const SHIPPED: &str = include_str!("shipped.json");

/// Of what is measured over what is counted: further off, one of them is wrong.
const FACTORS: RangeInclusive<f64> = 0.1..=10.0;

/// A figure and its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    pub value: f64,
    pub source: Source,
}

/// Where a figure is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Source {
    /// `how` in words; when and on which machine.
    Measured { how: String, machine: String, unix_ms: u64 },
    /// Said by a maker.
    Datasheet { of: String },
    /// Follows from the engine's code or format.
    Format { what: String },
    /// Neither measured nor said by anyone: why it is a fair guess.
    Assumption { why: String },
}

/// `ringbolt plan calibrate` writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constants {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    pub created_unix_ms: u64,
    /// Machine, kernel, drive, program.
    pub fingerprint: BTreeMap<String, String>,
    /// Memory of the index for an object with an empty key.
    pub index_bytes_per_object: Constant,
    /// And for each byte of its key that the key before it does not have.
    pub index_bytes_per_key_byte: Constant,
    /// Of the index: the part that a checkpoint writes.
    pub checkpoint_share_of_index: Constant,
    /// Of an object that lies in its record, and of its body.
    pub put_cpu_us: Constant,
    pub put_cpu_us_per_mib: Constant,
    /// Of one that lies in slices, or of a part of an upload.
    pub put_large_cpu_us: Constant,
    pub put_large_cpu_us_per_mib: Constant,
    /// Of an object in its record that the read cache does not hold.
    pub get_cpu_us: Constant,
    pub get_cpu_us_per_mib: Constant,
    pub get_large_cpu_us: Constant,
    pub get_large_cpu_us_per_mib: Constant,
    /// Of an object that it holds.
    pub get_cached_cpu_us: Constant,
    pub head_cpu_us: Constant,
    pub delete_cpu_us: Constant,
    /// Of a group commit, shared by the puts and deletes in it.
    pub commit_cpu_us: Constant,
    /// From one to the next of a shard that has always some waiting: while its core is idle, and while it is busy.
    pub commit_us: Constant,
    pub commit_busy_us: Constant,
    pub list_cpu_us: Constant,
    pub list_cpu_us_per_key: Constant,
    /// Live bytes of slices, over whole units.
    pub slice_alignment_factor: Constant,
    /// Bytes of gaps for each byte of slices that are no full ones, once they have been overwritten by others of other
    /// lengths.
    pub slice_tail_gaps_share: Constant,
    /// Bytes of the log, over records with the headers and padding that are counted.
    pub log_bytes_factor: Constant,
    /// Bytes that the cleaner moves, over what its formula says.
    pub moved_bytes_factor: Constant,
    /// Of a MiB that the cleaner moves.
    pub clean_cpu_us_per_mib: Constant,
}

impl Constants {
    /// Name (with its unit) and figure, in the order of the structure.
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

/// Why a file holds no constants.
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

    /// Those that come with the program, measured on a machine of its developers.
    pub fn shipped() -> Self {
        match Self::from_json(SHIPPED) {
            Ok(constants) => constants,
            Err(error) => unreachable!("a test reads what is shipped: {error}"),
        }
    }

    /// # Errors
    /// When it is not JSON of this schema and version, or a figure makes no sense.
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
