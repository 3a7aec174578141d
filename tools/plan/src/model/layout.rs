//! This module computes what an object needs on drives, in the log and in memory, as means over the
//! sizes of a workload.
//!
//! Invariants: lengths are the engine's own ([`sizing`]); this module only takes means over the
//! sizes of a class. With pieces, each is stored as the engine stores an object of that length. Copies
//! are alike, the members of a set of slices have as many bytes each, and only drives have all of them:
//! [`ObjectCost`] is that of one copy of a record and of one member of a set, and [`super::node`]
//! multiplies what drives take.

use super::reads::{OpenCost, Ranges, ReadCost};
use crate::constants::Constants;
use crate::hardware::{Redundancy, SmallObjects};
use crate::result::{ClassLayout, Layout};
use crate::sizes::{SizeClass, SizeHistogram};
use crate::workload::Workload;
use ringbolt_engine::node::sizing::{self, ObjectShape, ObjectSizing};
use ringbolt_engine::node::sizing::{BLOCK_BYTES, RECORD_ALIGNMENT};
use ringbolt_tool_common::s3::limits::{BODY_BYTES_MAX, PARTS_MAX};

/// Means are taken over at most this many sizes of a class.
const POINTS: u64 = 32;
/// Leaves need this much memory for each byte in them, because they are about three quarters full.
pub const LEAF_SLACK: f64 = 1.35;

/// Holds the mean costs of one object with all of its pieces: its records in one copy, and its slices in
/// one member of their set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ObjectCost {
    /// This is what users stored.
    pub logical_bytes: f64,
    /// Counts the pieces on drives, data and parity together.
    pub pieces: f64,
    /// This is the size of the bodies of all pieces.
    pub piece_bytes: f64,
    /// This is the live size in the log: the records.
    pub record_bytes: f64,
    /// This is the live size in slices.
    pub slice_bytes: f64,
    /// This is the part of `slice_bytes` in slices that are not full.
    pub tail_bytes: f64,
    /// This is what a put writes to the log, without what it shares with other records.
    pub log_bytes: f64,
    /// This is the same with each record in a group commit of its own.
    pub log_alone_bytes: f64,
    /// Counts the records that a put writes: one for each piece, more for an upload in parts.
    pub log_records: f64,
    pub slice_written_bytes: f64,
    /// Counts the write operations for slices.
    pub slice_writes: f64,
    /// This is the memory of the index.
    pub index_bytes: f64,
    /// Counts the pieces whose bodies are in their records.
    pub inline_pieces: f64,
    /// This is the size of these bodies.
    pub inline_bytes: f64,
    /// This is the memory that the read cache needs for the inline pieces that are read; weighted
    /// by the share of objects that have such pieces.
    pub cached_bytes: f64,
    pub get: ReadCost,
    pub head: OpenCost,
}

impl ObjectCost {
    /// Returns the live bytes of the log, as the engine counts them.
    pub fn logged_bytes(&self) -> f64 {
        self.record_bytes * (1.0 + sizing::COPIES_OVERHEAD_SHARE)
    }

    /// Returns the live bytes on drives, all copies and members together.
    pub fn stored_bytes(&self, redundancy: Redundancy) -> f64 {
        self.logged_bytes() * f64::from(redundancy.copies)
            + self.slice_bytes * f64::from(redundancy.members())
    }

    /// Returns the live bytes as a node counts them: records once, and slices without parity.
    pub fn live_bytes(&self, redundancy: Redundancy) -> f64 {
        self.logged_bytes() + self.slice_bytes * f64::from(redundancy.data_members)
    }

    /// Returns the share of the users' bytes that is not in records.
    pub fn large_share(&self) -> f64 {
        if self.piece_bytes > 0.0 { 1.0 - self.inline_bytes / self.piece_bytes } else { 0.0 }
    }

    /// Returns the cost of one piece of `body_bytes` in `parts` parts.
    fn of(sizing: &ObjectSizing, body_bytes: u64, parts: u64) -> Self {
        let aligned = sizing.record_bytes.next_multiple_of(RECORD_ALIGNMENT as u64) as f64;
        let inline = sizing.slice_bytes == 0;
        let log_bytes = aligned + sizing.part_record_bytes as f64;
        let log_records = if sizing.part_record_bytes > 0 { 1.0 + parts as f64 } else { 1.0 };
        Self {
            pieces: 1.0,
            piece_bytes: body_bytes as f64,
            record_bytes: sizing.record_bytes as f64,
            slice_bytes: sizing.slice_bytes as f64,
            tail_bytes: sizing.tail_bytes as f64,
            log_bytes,
            log_alone_bytes: alone_bytes(log_bytes / log_records) * log_records,
            log_records,
            slice_written_bytes: sizing.slice_written_bytes as f64,
            slice_writes: sizing.slice_writes as f64,
            inline_pieces: f64::from(u8::from(inline)),
            inline_bytes: if inline { body_bytes as f64 } else { 0.0 },
            ..Self::default()
        }
    }

    /// Multiplies what is live by `by`; the split between log and slices still follows from the
    /// sizes, and what is written does not change.
    fn scale_live(&mut self, by: f64) {
        for bytes in [&mut self.record_bytes, &mut self.slice_bytes, &mut self.tail_bytes] {
            *bytes *= by;
        }
    }

    fn scaled(self, by: f64) -> Self {
        self.weighted(&Weights { objects: by, gets: by, heads: by })
    }

    fn weighted(mut self, weights: &Weights) -> Self {
        self.own().into_iter().for_each(|value| *value *= weights.objects);
        self.get.values().into_iter().for_each(|value| *value *= weights.gets);
        self.head.values().into_iter().for_each(|value| *value *= weights.heads);
        self
    }

    fn plus(mut self, other: &Self) -> Self {
        let mut other = *other;
        for (value, added) in self.own().into_iter().zip(other.own()) {
            *value += *added;
        }
        for (value, added) in self.get.values().into_iter().zip(other.get.values()) {
            *value += *added;
        }
        for (value, added) in self.head.values().into_iter().zip(other.head.values()) {
            *value += *added;
        }
        self
    }

    /// Returns every figure of the object itself; the pattern is exhaustive.
    fn own(&mut self) -> [&mut f64; 15] {
        let Self {
            logical_bytes,
            pieces,
            piece_bytes,
            record_bytes,
            slice_bytes,
            tail_bytes,
            log_bytes,
            log_alone_bytes,
            log_records,
            slice_written_bytes,
            slice_writes,
            index_bytes,
            inline_pieces,
            inline_bytes,
            cached_bytes,
            get: _,
            head: _,
        } = self;
        [
            logical_bytes,
            pieces,
            piece_bytes,
            record_bytes,
            slice_bytes,
            tail_bytes,
            log_bytes,
            log_alone_bytes,
            log_records,
            slice_written_bytes,
            slice_writes,
            index_bytes,
            inline_pieces,
            inline_bytes,
            cached_bytes,
        ]
    }
}

/// Holds the weights of a class of sizes in the sums: its share of the objects, of the GETs and of
/// the HEADs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Weights {
    objects: f64,
    gets: f64,
    heads: f64,
}

/// An entry of the read cache needs this much besides its key, attributes and data.
pub const CACHE_ENTRY_BYTES: f64 = 250.0;

/// Returns the mean object of `workload`, and the layout by class.
pub fn layout(workload: &Workload, redundancy: Redundancy, constants: &Constants) -> (ObjectCost, Layout) {
    let objects = &workload.objects;
    let weighed: Vec<(SizeClass, Weights)> = objects
        .sizes
        .classes()
        .iter()
        .map(|class| {
            let asked =
                |by_size: &Option<Vec<SizeClass>>| asked_share(class, &objects.sizes, by_size.as_deref());
            let (gets, heads) =
                (asked(&workload.requests.gets_by_size), asked(&workload.requests.heads_by_size));
            (*class, Weights { objects: class.share, gets, heads })
        })
        .collect();
    let costs = |redundancy| -> Vec<ObjectCost> {
        weighed.iter().map(|(class, _)| class_cost(class, workload, redundancy, constants)).collect()
    };
    let mean = |costs: &[ObjectCost]| {
        let weighted = weighed.iter().zip(costs).map(|((_, weights), cost)| cost.weighted(weights));
        weighted.fold(ObjectCost::default(), |sum, cost| sum.plus(&cost))
    };
    let (single, redundant) = (costs(Redundancy::SINGLE), costs(redundancy));
    let (mean_single, mut mean) = (mean(&single), mean(&redundant));
    let classes = weighed
        .iter()
        .zip(single.iter().zip(&redundant))
        .map(|((class, _), (single, redundant))| {
            let bytes = redundant.stored_bytes(redundancy);
            ClassLayout {
                redundant_bytes_per_object: Some(bytes),
                redundant_bytes_per_logical_byte: by_logical_byte(bytes, redundant.logical_bytes),
                ..class_layout(class, single, &mean_single)
            }
        })
        .collect();
    let counted = match redundancy.is_striped() {
        true => mean.live_bytes(redundancy),
        false => once(&mean_single),
    };
    let times = objects.live_bytes_per_object.map_or(1.0, |seen| seen / counted);
    mean.scale_live(times);
    let bytes = mean.stored_bytes(redundancy);
    let layout = Layout {
        classes,
        logical_bytes_per_object: mean_single.logical_bytes,
        stored_bytes_per_object: once(&mean_single) * times,
        redundant_bytes_per_object: Some(bytes),
        redundant_bytes_per_logical_byte: by_logical_byte(bytes, mean_single.logical_bytes),
        counted_bytes_per_object: Some(mean.live_bytes(redundancy)),
        waste_share: waste_share(&mean_single),
        index_bytes_per_object: mean.index_bytes,
    };
    (mean, layout)
}

/// Returns the live bytes of an object that is stored once.
fn once(single: &ObjectCost) -> f64 {
    single.stored_bytes(Redundancy::SINGLE)
}

/// Returns the stored bytes for each byte of the users; `None` for objects without bytes.
pub fn by_logical_byte(stored_bytes: f64, logical_bytes: f64) -> Option<f64> {
    (logical_bytes > 0.0).then(|| stored_bytes / logical_bytes)
}

/// Returns the share of the requests that are for objects of `class`, if requests are distributed
/// by `by_size`.
fn asked_share(class: &SizeClass, sizes: &SizeHistogram, by_size: Option<&[SizeClass]>) -> f64 {
    let Some(by_size) = by_size else { return class.share };
    let is_in = |entry: &SizeClass, class: &SizeClass| {
        (entry.lower_bytes..=entry.upper_bytes).contains(&class.lower_bytes)
    };
    let Some(entry) = by_size.iter().find(|entry| is_in(entry, class)) else { return 0.0 };
    let objects: f64 = sizes.classes().iter().filter(|of| is_in(entry, of)).map(|of| of.share).sum();
    entry.share * class.share / objects
}

/// Returns the layout of a class whose objects are stored once.
fn class_layout(class: &SizeClass, single: &ObjectCost, mean: &ObjectCost) -> ClassLayout {
    let all = mean.logical_bytes.max(f64::MIN_POSITIVE);
    ClassLayout {
        lower_bytes: class.lower_bytes,
        upper_bytes: class.upper_bytes,
        objects_share: class.share,
        logical_share: class.share * single.logical_bytes / all,
        logical_bytes_per_object: single.logical_bytes,
        stored_bytes_per_object: once(single),
        redundant_bytes_per_object: None,
        redundant_bytes_per_logical_byte: None,
        waste_share: waste_share(single),
    }
}

fn waste_share(cost: &ObjectCost) -> f64 {
    1.0 - cost.logical_bytes / once(cost)
}

/// Returns the mean over sizes that are spread evenly over the class.
fn class_cost(
    class: &SizeClass,
    workload: &Workload,
    redundancy: Redundancy,
    constants: &Constants,
) -> ObjectCost {
    let span = class.upper_bytes - class.lower_bytes;
    let points = (span + 1).min(POINTS);
    let mut ranges = Ranges::new(&workload.requests, points);
    let sum = (0..points).fold(ObjectCost::default(), |sum, at| {
        // The size is the middle of each part.
        let offset = (u128::from(span + 1) * u128::from(2 * at + 1) / u128::from(2 * points)) as u64;
        let body_bytes = class.lower_bytes + offset.min(span);
        sum.plus(&object_cost(body_bytes, workload, redundancy, constants, &mut ranges))
    });
    sum.scaled(1.0 / points as f64)
}

/// Describes how an object of `body_bytes` is placed on drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placement {
    /// Counts the pieces that suffice, each with a body of `body_bytes`.
    data: u64,
    body_bytes: u64,
    /// Counts all pieces.
    pieces: u64,
}

impl Placement {
    fn of(body_bytes: u64, redundancy: Redundancy) -> Self {
        let (data, parity) = (u64::from(redundancy.data), u64::from(redundancy.parity));
        let is_small = body_bytes <= sizing::INLINE_BYTES_MAX;
        if is_small && redundancy.small_objects == SmallObjects::Copies {
            return Self { data: 1, body_bytes, pieces: 1 + parity };
        }
        Self { data, body_bytes: body_bytes.div_ceil(data), pieces: data + parity }
    }
}

/// Returns the cost of an object. Each piece is on its drive like an object of its length: it has a
/// record of its own with key and metadata and its own padding, and its length decides whether it
/// is in that record or in slices.
fn object_cost(
    body_bytes: u64,
    workload: &Workload,
    redundancy: Redundancy,
    constants: &Constants,
    ranges: &mut Ranges,
) -> ObjectCost {
    let objects = &workload.objects;
    let placement = Placement::of(body_bytes, redundancy);
    let part_bytes = part_bytes(body_bytes, objects.part_bytes);
    let shape = |body_bytes| ObjectShape {
        key_bytes: objects.key_bytes.round() as usize,
        attribute_bytes: objects.metadata_bytes.round() as usize,
        body_bytes,
        part_bytes: part_bytes.map(|part| part.div_ceil(placement.data)),
    };
    let piece = shape(placement.body_bytes);
    let sets = redundancy.sets();
    let sizing = sizing::object(sets, &piece);
    let parts = part_bytes.map_or(1, |part| body_bytes.div_ceil(part));
    let plain = sizing::object(sets, &shape(0)).index_value_bytes as f64;
    let more = (sizing.index_value_bytes as f64 - plain).max(0.0) * LEAF_SLACK;
    let own_key = (objects.key_bytes - objects.key_shared_bytes).max(0.0);
    let index_bytes =
        constants.index_bytes_per_object.value + constants.index_bytes_per_key_byte.value * own_key + more;
    let cost = ObjectCost::of(&sizing, placement.body_bytes, parts);
    let slice_bytes = cost.slice_bytes * constants.slice_alignment_factor.value;
    let cached = if sizing.slice_bytes == 0 { sizing.record_bytes as f64 + CACHE_ENTRY_BYTES } else { 0.0 };
    let all = ObjectCost { index_bytes, slice_bytes, ..cost }.scaled(placement.pieces as f64);
    ObjectCost {
        logical_bytes: body_bytes as f64,
        cached_bytes: cached * placement.data as f64,
        get: ReadCost::of((sets, &piece), &sizing, body_bytes, placement.data, ranges),
        head: OpenCost::of(&sizing),
        ..all
    }
}

/// Returns the size of the parts: as large as requested, or as large as necessary.
fn part_bytes(body_bytes: u64, wanted: Option<u64>) -> Option<u64> {
    let least = body_bytes.div_ceil(PARTS_MAX);
    match wanted {
        Some(part) => Some(part.max(least)).filter(|part| body_bytes > *part),
        None => (body_bytes > BODY_BYTES_MAX).then(|| least.max(16 << 20)),
    }
}

/// Returns the size of a group commit of one record.
pub fn alone_bytes(record_bytes: f64) -> f64 {
    let block = BLOCK_BYTES as f64;
    ((record_bytes + sizing::BATCH_HEADER_BYTES as f64) / block).ceil() * block
}

/// Returns the size in bytes of a group commit, with its header and padded to whole blocks.
/// `records` is the mean number of records, at least 1, and `record_bytes` their mean size. A
/// single record has the padding of its size, which gives `alone_bytes`; several records of any
/// sizes have half a block on average.
pub fn commit_bytes(record_bytes: f64, alone_bytes: f64, records: f64) -> f64 {
    let padding = (BLOCK_BYTES as f64 - RECORD_ALIGNMENT as f64) / 2.0;
    let several = |records: f64| {
        (records * record_bytes + sizing::BATCH_HEADER_BYTES as f64 + padding).max(alone_bytes)
    };
    if records >= 2.0 {
        return several(records);
    }
    // Some commits have one record and some have two.
    alone_bytes + (several(2.0) - alone_bytes) * (records - 1.0).max(0.0)
}
