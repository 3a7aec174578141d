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
use crate::extent::LogSet;
use crate::extent::sets::Places;
use crate::format::record::SegmentV1;
use crate::index::Found as Probe;
use crate::types::{BucketId, Version};

/// The place of a version.
#[derive(Clone, Debug)]
pub enum Found {
    /// The place of a record that holds the data too, and the set of the log that it is in.
    Inline { location: Location, log: LogSet },
    /// The entry of any other version: it has slices, a record too long for a packed location, or a
    /// record of its metadata, or it is a delete marker.
    Entry(Box<FoundEntry>),
}

impl Found {
    /// Returns whether the version has data in slices.
    pub fn has_slices(&self) -> bool {
        matches!(self, Self::Entry(found) if !found.entry.segments.is_empty())
    }
}

/// The entry of a version, with the sets of the log where its records are.
#[derive(Clone, Debug)]
pub struct FoundEntry {
    pub entry: Entry,
    pub log: LogSet,
    /// The set of the record of the metadata, if there is one.
    pub meta_log: Option<LogSet>,
    /// Where the sets of its slices are.
    pub slices: Places,
}

/// The pins of a reader: the log's sets that hold the records and, for a version with slices, where these
/// are.
#[derive(Clone, Copy, Debug)]
pub struct Pins {
    /// The log's set that holds the record.
    pub extent: u32,
    /// The log's set that holds the record of the metadata, if there is one.
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
        let log = state.space.pin_log(pins.extent);
        let meta_log = meta.map(|set| state.space.pin_log(set));
        let slices = state.space.sets.places_of(&entry.segments);
        if let Some(pin) = pins.object {
            state.space.pin(pin);
        }
        Some((Found::Entry(Box::new(FoundEntry { entry, log, meta_log, slices })), pins))
    }

    /// Keeps the slices of a part from being reused, and returns where their sets are.
    pub fn pin_part(&self, segment: &SegmentV1) -> (Places, Pins) {
        let extent = self.log.position().set.set;
        let mut state = self.state.borrow_mut();
        let pin = Pin { number: segment.generation, change: 0 };
        state.space.logs.pin(extent);
        state.space.pin(pin);
        let slices = state.space.sets.places_of(std::slice::from_ref(segment));
        (slices, Pins { extent, meta: None, object: Some(pin) })
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
        self.give_sets(gone.0.into_iter().chain(gone.1));
    }
}

#[inline]
fn pin_inline(state: &mut State, location: Location) -> (Found, Pins) {
    let log = state.space.pin_log(location.extent);
    let pins = Pins { extent: location.extent, meta: None, object: None };
    (Found::Inline { location, log }, pins)
}
