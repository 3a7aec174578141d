//! This module collects objects one by one into [`ScannedSizes`].
//!
//! Invariants: a limit, such as the 64 KiB of an inline object, is always the end of a class, never
//! inside of one. Memory does not grow with the number of objects: there is at most one class for
//! each of the sizes up to 64 bytes and 16 for each octave above, `STORAGE_CLASSES_MAX` names of
//! storage classes, and one key.

use super::file::{Multipart, SCHEMA, ScannedClass, ScannedSizes, VERSION};
use crate::sizes::shared_bytes;
use ringbolt_tool_common::s3::limits::{OBJECT_BYTES_MAX, PARTS_MAX};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Each size up to this one has a class of its own.
const EXACT_BYTES: u64 = 64;
/// There are 16 classes per octave.
const OCTAVE_BITS: u32 = 4;
const STORAGE_CLASSES_MAX: usize = 32;
/// Replaces further names once there are too many.
const OTHER: &str = "other";

/// This is an object of a listing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listed<'a> {
    /// This is decoded.
    pub key: &'a [u8],
    pub size_bytes: u64,
    /// May have quotation marks; `None` if the listing does not contain it.
    pub etag: Option<&'a str>,
    pub storage_class: Option<&'a str>,
}

/// Says why an object, or all of them, cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    #[error(
        "object {key:?} of {size_bytes} bytes: plans know objects of at most {OBJECT_BYTES_MAX} bytes (5 TiB)"
    )]
    TooLarge { key: String, size_bytes: u64 },
    #[error("more than {} bytes in all, with object {key:?}: sizes this large are no objects", u64::MAX)]
    Overflow { key: String },
    #[error("no objects in {0}: there is nothing to take sizes from; check bucket and prefix, or the file")]
    Empty(String),
}

/// Collects the objects of a scan.
#[derive(Debug, Default)]
pub struct Collector {
    classes: BTreeMap<u64, ScannedClass>,
    objects: u64,
    total_bytes: u64,
    largest_bytes: u64,
    key_bytes: u64,
    key_shared_bytes: u64,
    keys_out_of_order: u64,
    key_before: Vec<u8>,
    storage_classes: BTreeMap<String, u64>,
    multipart: (u64, u64, u64),
    notes: Vec<String>,
}

impl Collector {
    /// Adds an object.
    ///
    /// # Errors
    /// Fails when the object is larger than S3 allows, or when the sum exceeds 64 bits.
    pub fn add(&mut self, object: &Listed<'_>) -> Result<(), CollectError> {
        let size_bytes = object.size_bytes;
        let key = || String::from_utf8_lossy(object.key).into_owned();
        if size_bytes > OBJECT_BYTES_MAX {
            return Err(CollectError::TooLarge { key: key(), size_bytes });
        }
        let sum = self.total_bytes.checked_add(size_bytes);
        self.total_bytes = sum.ok_or_else(|| CollectError::Overflow { key: key() })?;
        self.objects += 1;
        self.largest_bytes = self.largest_bytes.max(size_bytes);
        let first =
            ScannedClass { lower_bytes: size_bytes, upper_bytes: size_bytes, objects: 0, total_bytes: 0 };
        let class = self.classes.entry(class_of(size_bytes)).or_insert(first);
        class.lower_bytes = class.lower_bytes.min(size_bytes);
        class.upper_bytes = class.upper_bytes.max(size_bytes);
        class.objects += 1;
        class.total_bytes += size_bytes;
        self.add_key(object.key);
        if let Some(name) = object.storage_class {
            self.add_storage_class(name);
        }
        if let Some(parts) = object.etag.and_then(parts_of) {
            self.multipart.0 += 1;
            self.multipart.1 += parts;
            self.multipart.2 += size_bytes;
        }
        Ok(())
    }

    fn add_key(&mut self, key: &[u8]) {
        self.key_bytes += key.len() as u64;
        self.key_shared_bytes += shared_bytes(key, &self.key_before) as u64;
        self.keys_out_of_order += u64::from(key < self.key_before.as_slice());
        self.key_before.clear();
        self.key_before.extend_from_slice(key);
    }

    fn add_storage_class(&mut self, name: &str) {
        let known =
            self.storage_classes.len() < STORAGE_CLASSES_MAX || self.storage_classes.contains_key(name);
        let name = if known { name } else { OTHER };
        match self.storage_classes.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.storage_classes.insert(name.to_owned(), 1)),
        }
    }

    /// Adds a note for the reader of the result.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub fn objects(&self) -> u64 {
        self.objects
    }

    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Returns the result; `source` describes the source as text.
    ///
    /// # Errors
    /// Fails when there was no object.
    pub fn finish(self, source: String) -> Result<ScannedSizes, CollectError> {
        if self.objects == 0 {
            return Err(CollectError::Empty(source));
        }
        let per_object = |bytes: u64| bytes as f64 / self.objects as f64;
        let (objects, parts, total_bytes) = self.multipart;
        let part_bytes_mean = total_bytes as f64 / parts as f64;
        let multipart = (parts > 0).then_some(Multipart { objects, parts, total_bytes, part_bytes_mean });
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(ScannedSizes {
            schema: SCHEMA.into(),
            version: VERSION,
            source,
            created_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            objects: self.objects,
            total_bytes: self.total_bytes,
            largest_bytes: self.largest_bytes,
            key_bytes_mean: per_object(self.key_bytes),
            key_shared_bytes_mean: per_object(self.key_shared_bytes),
            keys_out_of_order: self.keys_out_of_order,
            classes: self.classes.into_values().collect(),
            storage_classes: self.storage_classes,
            multipart,
            notes: self.notes,
        })
    }
}

/// Returns the number of the class of a size, which ascends with the size. An octave goes from
/// above a power of two to the next one.
fn class_of(size_bytes: u64) -> u64 {
    if size_bytes <= EXACT_BYTES {
        return size_bytes;
    }
    // The number consists of the highest bit and the OCTAVE_BITS below it.
    let below = size_bytes - 1;
    let octave = below.ilog2();
    let steps = below >> (octave - OCTAVE_BITS);
    EXACT_BYTES + 1 + (u64::from(octave - EXACT_BYTES.ilog2()) << OCTAVE_BITS) + steps - (1 << OCTAVE_BITS)
}

/// Returns the number of parts of an upload, from the ETag that S3 gives it: `"…-N"`.
fn parts_of(etag: &str) -> Option<u64> {
    let (digest, parts) = etag.trim_matches('"').rsplit_once('-')?;
    let parts = parts.parse().ok().filter(|parts| (1..=PARTS_MAX).contains(parts))?;
    (!digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, size_bytes: u64) -> Listed<'_> {
        Listed { key: key.as_bytes(), size_bytes, ..Listed::default() }
    }

    #[test]
    fn classes_ascend_and_have_the_width_they_should() {
        for size in 0..=EXACT_BYTES {
            assert_eq!(class_of(size), size);
        }
        assert_eq!((class_of(65), class_of(68), class_of(69)), (65, 65, 66));
        assert_eq!((class_of(128), class_of(129), class_of(136), class_of(137)), (80, 81, 81, 82));
        let bounds =
            (6..43).flat_map(|octave| (0..16).map(move |step| (1_u64 << octave) + (step << (octave - 4))));
        let bounds: Vec<u64> = bounds.collect();
        for pair in bounds.windows(2) {
            assert_eq!(class_of(pair[0]) + 1, class_of(pair[1]), "{pair:?}");
            assert_eq!(class_of(pair[0] + 1), class_of(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn any_number_of_objects_needs_few_classes() {
        let mut collector = Collector::default();
        let mut size = 1_u64;
        for _ in 0..200_000 {
            size = size.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let octave = size >> 58;
            collector.add(&listed("key", (size >> 10 | 1) % (OBJECT_BYTES_MAX >> (octave % 40)))).unwrap();
        }
        let scanned = collector.finish("a test".into()).unwrap();
        assert!((300..=65 + 16 * 37).contains(&scanned.classes.len()), "{}", scanned.classes.len());
        assert_eq!(ScannedSizes::from_json(&scanned.to_json()).unwrap(), scanned);
    }

    /// Objects of this size are inline and larger ones are not, so a class must not contain both.
    #[test]
    fn objects_at_the_limit_of_records_share_no_class_with_larger_ones() {
        let mut collector = Collector::default();
        for size_bytes in [65_536, 65_536, 65_537, 69_000] {
            collector.add(&listed("key", size_bytes)).unwrap();
        }
        let scanned = collector.finish("a test".into()).unwrap();
        let ends: Vec<_> =
            scanned.classes.iter().map(|class| (class.lower_bytes, class.upper_bytes)).collect();
        assert_eq!(ends, [(65_536, 65_536), (65_537, 69_000)]);
    }

    #[test]
    fn keys_are_measured_against_the_key_before() {
        let mut collector = Collector::default();
        for key in ["photos/1", "photos/10", "photos/2", "a", "b"] {
            collector.add(&listed(key, 1)).unwrap();
        }
        let scanned = collector.finish("a test".into()).unwrap();
        assert_eq!((scanned.key_bytes_mean, scanned.keys_out_of_order), (27.0 / 5.0, 1));
        assert_eq!(scanned.key_shared_bytes_mean, (8.0 + 7.0) / 5.0);
    }

    #[test]
    fn parts_are_known_by_the_etag() {
        assert_eq!(parts_of("\"d41d8cd98f00b204e9800998ecf8427e-12\""), Some(12));
        assert_eq!(parts_of("d41d8cd98f00b204e9800998ecf8427e-1"), Some(1));
        for etag in ["", "-", "\"abc\"", "abc-0", "abc-10001", "abc-x", "some-thing-3", "-3"] {
            assert_eq!(parts_of(etag), None, "{etag}");
        }
        let mut collector = Collector::default();
        for (etag, size_bytes) in [("\"ab-4\"", 30 << 20), ("\"ab-1\"", 5 << 20), ("\"ab\"", 1 << 20)] {
            collector.add(&Listed { etag: Some(etag), ..listed("key", size_bytes) }).unwrap();
        }
        let multipart = collector.finish("a test".into()).unwrap().multipart.unwrap();
        assert_eq!((multipart.objects, multipart.parts, multipart.total_bytes), (2, 5, 35 << 20));
        assert_eq!(multipart.part_bytes_mean, f64::from(7 << 20));
    }

    #[test]
    fn storage_classes_are_counted_and_bounded() {
        let mut collector = Collector::default();
        for number in 0..100 {
            let name = format!("CLASS{number}");
            collector.add(&Listed { storage_class: Some(&name), ..listed("key", 1) }).unwrap();
            collector.add(&Listed { storage_class: Some("CLASS0"), ..listed("key", 1) }).unwrap();
        }
        let scanned = collector.finish("a test".into()).unwrap();
        assert_eq!(scanned.storage_classes.len(), STORAGE_CLASSES_MAX + 1);
        assert_eq!((scanned.storage_classes["CLASS0"], scanned.storage_classes[OTHER]), (101, 68));
    }

    #[test]
    fn what_can_not_be_planned_is_refused() {
        let mut collector = Collector::default();
        let error = collector.add(&listed("huge", 6 << 40)).unwrap_err();
        assert!(error.to_string().contains("\"huge\" of 6597069766656 bytes"), "{error}");
        assert_eq!(collector.finish("bucket b".into()).unwrap_err(), CollectError::Empty("bucket b".into()));
    }
}
