//! This module defines the result of a scan, as `ringbolt plan scan` writes it and a workload reads
//! it.
//!
//! Invariants: classes ascend and do not overlap. `lower_bytes` and `upper_bytes` are sizes that
//! occurred, so a class of a single size is exact. Counts and bytes of the classes add up to those
//! of the whole.

use crate::sizes::{KEY_BYTES_MAX, SizeClass, SizeHistogram, SizesError};
use ringbolt_engine::node::sizing;
use ringbolt_tool_common::json_file::{self, JsonFileError, Kind};
use ringbolt_tool_common::s3::limits::BODY_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const SCHEMA: &str = "ringbolt-sizes";
pub const VERSION: u32 = 2;
const KIND: Kind =
    Kind { schema: SCHEMA, version: VERSION, holds: "scanned sizes", command: "ringbolt plan scan" };
/// In this version, classes began at limits; now they end there.
const BEFORE: Kind = Kind { version: 1, ..KIND };

/// Holds the result of a scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScannedSizes {
    /// This is [`SCHEMA`].
    pub schema: String,
    /// This is [`VERSION`].
    pub version: u32,
    /// Describes the source as text: "bucket photos at http://127.0.0.1:9000".
    pub source: String,
    pub created_unix_ms: u64,
    pub objects: u64,
    pub total_bytes: u64,
    pub largest_bytes: u64,
    /// This is the mean length of a key.
    pub key_bytes_mean: f64,
    /// This is the mean length of the part that a key shares with the previous key, in the order of
    /// the source; a front-coded index does not store it. Keys out of order share less than they
    /// would in order.
    pub key_shared_bytes_mean: f64,
    /// Counts the keys that came after a greater key.
    pub keys_out_of_order: u64,
    pub classes: Vec<ScannedClass>,
    /// Counts the objects of each storage class, by the name in the source; it is empty if the
    /// source contains none.
    pub storage_classes: BTreeMap<String, u64>,
    /// This is `None` if the source contains no parts, or if no object has any.
    pub multipart: Option<Multipart>,
    /// Lists what a reader should know: what was skipped, and why.
    pub notes: Vec<String>,
}

/// This is one class of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedClass {
    /// This is the smallest size that occurred in the class.
    pub lower_bytes: u64,
    /// This is the largest size that occurred in the class.
    pub upper_bytes: u64,
    pub objects: u64,
    pub total_bytes: u64,
}

/// Describes the objects whose ETag ends in `-N`, which were uploaded in N parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Multipart {
    pub objects: u64,
    pub parts: u64,
    pub total_bytes: u64,
    /// This is bytes over parts, which is a little less than the part size of clients, because last
    /// parts are shorter.
    pub part_bytes_mean: f64,
}

/// Says why a file contains no valid sizes.
#[derive(Debug, thiserror::Error)]
pub enum ScannedSizesError {
    #[error(transparent)]
    File(#[from] JsonFileError),
    #[error("{name} is {value}: it must be a number from 0 to {most}; scan again")]
    Value { name: &'static str, value: f64, most: f64 },
    #[error("{name} is {value}, but the classes add up to {sum}: the file was changed; scan again")]
    Sum { name: &'static str, value: u64, sum: u128 },
    #[error(
        "class {lower_bytes} to {upper_bytes} bytes: {objects} objects can not have {total_bytes} bytes; scan again"
    )]
    Class { lower_bytes: u64, upper_bytes: u64, objects: u64, total_bytes: u64 },
    #[error("{0}; scan again")]
    Sizes(#[from] SizesError),
}

impl ScannedSizes {
    /// Reads the result of a scan.
    ///
    /// # Errors
    /// Fails when the text is not JSON of this schema and version or the previous one, or when an
    /// invariant of the module does not hold.
    pub fn from_json(text: &str) -> Result<Self, ScannedSizesError> {
        let mut sizes: Self = match KIND.read(text) {
            Err(JsonFileError::Version { version, .. }) if version == BEFORE.version => BEFORE.read(text)?,
            read => read?,
        };
        sizes.check()?;
        let limit = sizing::INLINE_BYTES_MAX;
        if sizes.classes.iter().any(|class| class.lower_bytes <= limit && limit < class.upper_bytes) {
            sizes.notes.push(format!(
                "objects of {limit} bytes, which lie in the log, were counted with larger ones: scan again if there are many"
            ));
        }
        Ok(sizes)
    }

    pub fn to_json(&self) -> String {
        json_file::text(self)
    }

    pub fn mean_bytes(&self) -> f64 {
        if self.objects == 0 { 0.0 } else { self.total_bytes as f64 / self.objects as f64 }
    }

    /// Returns the classes as a histogram. A class whose objects are nearer to one end is narrowed
    /// to it, so that its mean, and so the mean of all, is what was scanned (to half a byte).
    ///
    /// # Errors
    /// Returns [`SizesError::Empty`] without any object, and other errors when an invariant of the
    /// module does not hold.
    pub fn histogram(&self) -> Result<SizeHistogram, SizesError> {
        SizeHistogram::new(self.classes.iter().map(ScannedClass::with_its_mean).collect())
    }

    fn check(&self) -> Result<(), ScannedSizesError> {
        let part_bytes = self.multipart.map_or(0.0, |multipart| multipart.part_bytes_mean);
        let means = [
            ("key_bytes_mean", self.key_bytes_mean, KEY_BYTES_MAX),
            ("key_shared_bytes_mean", self.key_shared_bytes_mean, self.key_bytes_mean),
            ("multipart.part_bytes_mean", part_bytes, BODY_BYTES_MAX as f64),
        ];
        let is_wrong = |(_, value, most): &&(_, f64, f64)| !(0.0..=*most).contains(value);
        if let Some(&(name, value, most)) = means.iter().find(is_wrong) {
            return Err(ScannedSizesError::Value { name, value, most });
        }
        if let Some(&class) = self.classes.iter().find(|class| !class.is_sound()) {
            let ScannedClass { lower_bytes, upper_bytes, objects, total_bytes } = class;
            return Err(ScannedSizesError::Class { lower_bytes, upper_bytes, objects, total_bytes });
        }
        let sum = |of: fn(&ScannedClass) -> u64| self.classes.iter().map(|class| u128::from(of(class))).sum();
        let sums: [(&str, u64, u128); 2] = [
            ("objects", self.objects, sum(|class| class.objects)),
            ("total_bytes", self.total_bytes, sum(|class| class.total_bytes)),
        ];
        if let Some(&(name, value, sum)) = sums.iter().find(|(_, value, sum)| u128::from(*value) != *sum) {
            return Err(ScannedSizesError::Sum { name, value, sum });
        }
        self.histogram()?;
        Ok(())
    }
}

impl ScannedClass {
    fn is_sound(&self) -> bool {
        let least = u128::from(self.lower_bytes) * u128::from(self.objects);
        let most = u128::from(self.upper_bytes) * u128::from(self.objects);
        self.objects > 0 && (least..=most).contains(&u128::from(self.total_bytes))
    }

    fn with_its_mean(&self) -> SizeClass {
        let (lower, upper) = (self.lower_bytes as f64, self.upper_bytes as f64);
        let mean = self.total_bytes as f64 / self.objects as f64;
        let middle = (lower + upper) / 2.0;
        let (lower_bytes, upper_bytes) = if mean < middle {
            (self.lower_bytes, (2.0 * mean - lower).round() as u64)
        } else {
            ((2.0 * mean - upper).round() as u64, self.upper_bytes)
        };
        // Rounding and figures above 2^53 must not swap the ends or let classes overlap.
        let lower_bytes = lower_bytes.clamp(self.lower_bytes, self.upper_bytes.max(self.lower_bytes));
        let upper_bytes = upper_bytes.clamp(lower_bytes, self.upper_bytes.max(lower_bytes));
        SizeClass { lower_bytes, upper_bytes, share: self.objects as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::collector::{Collector, Listed};

    fn sizes(of: &[u64]) -> ScannedSizes {
        let mut collector = Collector::default();
        for (number, &size_bytes) in of.iter().enumerate() {
            let key = format!("key/{number:04}");
            collector.add(&Listed { key: key.as_bytes(), size_bytes, ..Listed::default() }).unwrap();
        }
        collector.finish("a test".into()).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let scanned = sizes(&[0, 1, 1, 64, 5000, 5001, 1 << 40]);
        assert_eq!(ScannedSizes::from_json(&scanned.to_json()).unwrap(), scanned);
    }

    #[test]
    fn the_histogram_has_the_mean_of_the_objects() {
        // The sizes are far from even within their class: 99 of 100 are at its lower end, or at its
        // upper one.
        let low: Vec<u64> = (0..100).map(|number| if number == 0 { 4300 } else { 4096 }).collect();
        let high: Vec<u64> = (0..100).map(|number| if number == 0 { 4096 } else { 4300 }).collect();
        for of in [low, high, vec![7; 3], vec![1_000_000, 1_000_001, 1 << 40]] {
            let scanned = sizes(&of);
            let mean = of.iter().sum::<u64>() as f64 / of.len() as f64;
            assert_eq!(scanned.mean_bytes(), mean);
            let found = scanned.histogram().unwrap().mean_bytes();
            assert!((found - mean).abs() <= 0.5, "{found} for {mean}");
        }
    }

    #[test]
    fn a_size_alone_in_its_class_is_exact() {
        let histogram = sizes(&[4097, 4097, 100_000]).histogram().unwrap();
        let ends: Vec<_> =
            histogram.classes().iter().map(|class| (class.lower_bytes, class.upper_bytes)).collect();
        assert_eq!(ends, [(4097, 4097), (100_000, 100_000)]);
    }

    /// In the previous version, a class at the limit may contain both small and large objects.
    #[test]
    fn a_file_of_the_version_before_is_read_and_what_it_lacks_is_said() {
        let before = |of: &[u64]| {
            let text = sizes(of).to_json().replace("\"version\": 2", "\"version\": 1");
            ScannedSizes::from_json(&text).unwrap()
        };
        assert_eq!(before(&[100, 5000]).notes, Vec::<String>::new());
        let mut both = sizes(&[65_537, 66_000]);
        (both.classes[0].lower_bytes, both.version) = (65_536, 1);
        let read = ScannedSizes::from_json(&both.to_json()).unwrap();
        assert!(read.notes[0].contains("65536 bytes"), "{:?}", read.notes);
    }

    #[test]
    fn a_changed_file_is_refused_with_the_reason() {
        let text = sizes(&[100, 200]).to_json();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} is in {text}");
            ScannedSizes::from_json(&text.replace(from, to)).unwrap_err().to_string()
        };
        let error = refused("\"objects\": 2", "\"objects\": 3");
        assert_eq!(error, "objects is 3, but the classes add up to 2: the file was changed; scan again");
        assert!(refused("\"version\": 2", "\"version\": 3").contains("version 3: this program reads"));
        assert!(refused("\"total_bytes\": 300", "\"total_bytes\": 7").contains("total_bytes is 7"));
        assert!(refused("\"lower_bytes\": 200", "\"lower_bytes\": 201").contains("201 to 200 bytes"));
        assert!(refused("\"lower_bytes\": 200", "\"lower_bytes\": -1").contains("scan"));
        assert!(
            refused("\"key_bytes_mean\": 8.0", "\"key_bytes_mean\": -8.0").contains("key_bytes_mean is -8")
        );
        for (mean, told) in
            [("1e300", "is 1000000"), ("1e12", "is 1000000000000: "), ("1025.0", "0 to 1024;")]
        {
            let error = refused("\"key_bytes_mean\": 8.0", &format!("\"key_bytes_mean\": {mean}"));
            assert!(error.contains(told), "{error}");
        }
        assert!(ScannedSizes::from_json("{}").unwrap_err().to_string().contains("ringbolt plan scan"));
    }
}
