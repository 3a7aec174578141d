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
use crate::index::{Found as Probe, keys};
use crate::types::BucketId;

/// The place of an object.
#[derive(Clone, Debug)]
pub enum Found {
    /// The place of a record that holds the data too, in the extent with log extent number
    /// `log_number`.
    Inline { location: Location, log_number: u64 },
    /// The entry of an object with slices, or with a record too long for a packed location; its
    /// record is in the extent with log extent number `log_number`.
    Large { entry: Entry, log_number: u64 },
}

/// The pins of a reader: the log extent of the record and, for a large object, its generation.
#[derive(Clone, Copy, Debug)]
pub struct Pins {
    /// The log extent of the record.
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
        let mut found = match state.points.find(self.hash(bucket, key)) {
            Probe::None => return Ok(None),
            Probe::One(packed) if Location::unpack(packed).blocks > 0 => {
                Found::Inline { location: Location::unpack(packed), log_number: 0 }
            }
            Probe::One(_) | Probe::Many => {
                let Some(value) = state.index.get(&keys::encode(bucket.0, key)) else { return Ok(None) };
                let damaged = EngineError::Damaged { what: "index entry", extent: 0, offset: 0 };
                let entry = Entry::decode(value).ok_or(damaged)?;
                if entry.is_large() {
                    Found::Large { entry, log_number: 0 }
                } else {
                    Found::Inline { location: entry.location, log_number: 0 }
                }
            }
        };
        let pins = match &found {
            Found::Inline { location, .. } => Pins { extent: location.extent, object: None },
            Found::Large { entry, .. } => {
                Pins { extent: entry.location.extent, object: Some(entry.generation) }
            }
        };
        let (Found::Inline { log_number, .. } | Found::Large { log_number, .. }) = &mut found;
        *log_number = state.space.logs.pin(pins.extent);
        if let Some(generation) = pins.object {
            state.space.pin_object(generation);
        }
        Ok(Some((found, pins)))
    }

    /// Keeps the slices of a part from being reused.
    pub fn pin_part(&self, generation: u64) -> Pins {
        let extent = self.log.position().extent;
        let mut state = self.state.borrow_mut();
        state.space.logs.pin(extent);
        state.space.pin_object(generation);
        Pins { extent, object: Some(generation) }
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
        self.surroundings.give_extents(gone.into_iter().collect());
    }
}
