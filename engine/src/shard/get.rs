//! Reading an object: the owner looks up the place and pins it; the core that asked reads.
//!
//! Invariants:
//! - What a lookup pinned is not reused until it is unpinned, whatever happens to the key
//!   meanwhile.
//! - The newest version of a key, if it is a small object, costs one probe of the point table. Only
//!   large objects, records too long for a packed location, changed metadata, delete markers, and
//!   the rare pairs of keys that share a hash cost a lookup in the leaves.

use std::rc::Rc;

use super::accounts::Pin;
use super::entry::{Entry, Location};
use super::instance::Shard;
use super::state::State;
use crate::index::Found as Probe;
use crate::types::{BucketId, Version};

/// The place of a version.
#[derive(Clone, Debug)]
pub enum Found {
    /// The place of a record that holds the data too, in the extent with log extent number
    /// `log_number`.
    Inline { location: Location, log_number: u64 },
    /// The entry of any other version: it has slices, a record too long for a packed location, or a
    /// record of its metadata, or it is a delete marker.
    Entry(Box<FoundEntry>),
}

/// The entry of a version, with the log extent numbers of the extents where its records are.
#[derive(Clone, Debug)]
pub struct FoundEntry {
    pub entry: Entry,
    pub log_number: u64,
    /// The log extent number of the record of the metadata; 0 if there is none.
    pub meta_log_number: u64,
}

/// The pins of a reader: the log extents of the records and, for a version with slices, where these
/// are.
#[derive(Clone, Copy, Debug)]
pub struct Pins {
    /// The log extent of the record.
    pub extent: u32,
    /// The log extent of the record of the metadata, if there is one.
    pub meta: Option<u32>,
    /// The object or part with slices, if it has any.
    pub object: Option<Pin>,
}

impl Shard {
    /// Finds and pins a version; returns `None` when it does not exist.
    pub fn lookup(&self, bucket: BucketId, key: &[u8], version: Version) -> Option<(Found, Pins)> {
        let mut state = self.state.borrow_mut();
        if version == Version::Newest {
            match state.points.find(self.hash(bucket, key)) {
                Probe::None => return None,
                Probe::One(packed) if Location::unpack(packed).blocks > 0 => {
                    return Some(pin_inline(&mut state, Location::unpack(packed)));
                }
                Probe::One(_) | Probe::Many => {}
            }
        }
        let entry = state.find(bucket, key, version)?;
        if !entry.is_large() {
            return Some(pin_inline(&mut state, entry.location));
        }
        let meta = entry.meta.map(|meta| meta.extent);
        let has_slices = !entry.segments.is_empty();
        let pins = Pins { extent: entry.location.extent, meta, object: has_slices.then(|| Pin::of(&entry)) };
        let log_number = state.space.logs.pin(pins.extent);
        let meta_log_number = meta.map_or(0, |extent| state.space.logs.pin(extent));
        if let Some(pin) = pins.object {
            state.space.pin(pin);
        }
        Some((Found::Entry(Box::new(FoundEntry { entry, log_number, meta_log_number })), pins))
    }

    /// Keeps the slices of a part from being reused.
    pub fn pin_part(&self, generation: u64) -> Pins {
        let extent = self.log.position().extent;
        let mut state = self.state.borrow_mut();
        let pin = Pin { number: generation, change: 0 };
        state.space.logs.pin(extent);
        state.space.pin(pin);
        Pins { extent, meta: None, object: Some(pin) }
    }

    /// Returns whether the key exists. It is asked after a record turned out to be another key's.
    pub fn has_key(&self, bucket: BucketId, key: &[u8]) -> bool {
        self.state.borrow().newest(bucket, key).is_some()
    }

    /// Releases what a reader had pinned.
    pub fn unpin(self: &Rc<Self>, pins: Pins) {
        // The record that freed what was read is durable, so it is before the next batch.
        let sequence = self.log.position().sequence - 1;
        let gone = {
            let mut state = self.state.borrow_mut();
            if let Some(pin) = pins.object {
                state.space.unpin(pin, sequence);
            }
            let of_meta = pins.meta.and_then(|extent| state.space.logs.unpin(extent));
            (state.space.logs.unpin(pins.extent), of_meta)
        };
        self.surroundings.give_extents(gone.0.into_iter().chain(gone.1).collect());
    }
}

fn pin_inline(state: &mut State, location: Location) -> (Found, Pins) {
    let log_number = state.space.logs.pin(location.extent);
    let pins = Pins { extent: location.extent, meta: None, object: None };
    (Found::Inline { location, log_number }, pins)
}
