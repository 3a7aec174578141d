//! Reading an object: the owner looks up the place and pins it; the core that asked reads.
//!
//! Invariants:
//! - What a lookup pinned is not reused until it is unpinned, whatever happens to the key
//!   meanwhile.
//! - A small object costs one probe of the point table. Only large objects, records too long for a
//!   packed location, and the rare pairs of keys that share a hash cost a lookup in the leaves.

use std::rc::Rc;

use super::entry::{Entry, Location};
use super::instance::Shard;
use crate::error::{EngineError, Result};
use crate::extent::SetPlace;
use crate::extent::sets::Places;
use crate::format::record::SegmentV1;
use crate::index::{Found as Probe, keys};
use crate::types::BucketId;

/// The place of an object.
#[derive(Clone, Debug)]
pub enum Found {
    /// The place of a record that holds the data too, in the set `at` with log extent number
    /// `log_number`.
    Inline { location: Location, log_number: u64, at: SetPlace },
    /// The entry of an object with slices, or with a record too long for a packed location; its
    /// record is in the set `at` with log extent number `log_number`, and `slices` says where the
    /// sets of its slices are.
    Large { entry: Entry, log_number: u64, at: SetPlace, slices: Places },
}

/// The pins of a reader: the log extent of the record and, for a large object, its generation.
#[derive(Clone, Copy, Debug)]
pub struct Pins {
    /// The log's set that holds the record.
    pub extent: u32,
    /// The generation of the object or part with slices, if it has any.
    pub object: Option<u64>,
}

impl Shard {
    /// Finds and pins an object; returns `None` when the key does not exist.
    ///
    /// # Errors
    /// Returns [`EngineError::Damaged`] when the index entry can not be decoded.
    pub fn lookup(&self, bucket: BucketId, key: &[u8]) -> Result<Option<(Found, Pins)>> {
        let mut state = self.state.borrow_mut();
        let (location, entry) = match state.points.find(self.hash(bucket, key)) {
            Probe::None => return Ok(None),
            Probe::One(packed) if Location::unpack(packed).blocks > 0 => (Location::unpack(packed), None),
            Probe::One(_) | Probe::Many => {
                let Some(value) = state.index.get(&keys::encode(bucket.0, key)) else { return Ok(None) };
                let damaged = EngineError::Damaged { what: "index entry", extent: 0, offset: 0 };
                let entry = Entry::decode(value).ok_or(damaged)?;
                (entry.location, Some(entry).filter(Entry::is_large))
            }
        };
        let log_number = state.space.logs.pin(location.extent);
        let at = state.space.sets.place(location.extent);
        let object = entry.as_ref().map(|entry| entry.generation);
        let found = match entry {
            None => Found::Inline { location, log_number, at },
            Some(entry) => {
                state.space.pin_object(entry.generation);
                let slices = state.space.sets.places_of(&entry.segments);
                Found::Large { entry, log_number, at, slices }
            }
        };
        Ok(Some((found, Pins { extent: location.extent, object })))
    }

    /// Keeps the slices of a part from being reused, and returns where their sets are.
    pub fn pin_part(&self, segment: &SegmentV1) -> (Places, Pins) {
        let extent = self.log.position().set.set;
        let mut state = self.state.borrow_mut();
        state.space.logs.pin(extent);
        state.space.pin_object(segment.generation);
        let slices = state.space.sets.places_of(std::slice::from_ref(segment));
        (slices, Pins { extent, object: Some(segment.generation) })
    }

    /// Returns whether the key exists. It is asked after a record turned out to be another key's.
    pub fn has_key(&self, bucket: BucketId, key: &[u8]) -> bool {
        self.state.borrow().entry(bucket, key).is_some()
    }

    /// Releases what a reader had pinned.
    pub fn unpin(self: &Rc<Self>, pins: Pins) {
        // The record that freed what was read is durable, so it is before the next batch.
        let sequence = self.log.position().sequence - 1;
        let gone = {
            let mut state = self.state.borrow_mut();
            if let Some(generation) = pins.object {
                state.space.unpin_object(generation, sequence);
            }
            state.space.logs.unpin(pins.extent)
        };
        self.give_sets(gone);
    }
}
