//! This module defines ways to damage a drive: a kind of block, and what happens to it.

use crate::atlas::{Atlas, Batch, Span};
use crate::stored::DriveFile;
use ringbolt_engine::format::BLOCK_BYTES;
use ringbolt_engine::format::batch::HEADER_BYTES;
use ringbolt_engine::format::checkpoint::{KIND_LEAVES, KIND_ROOT};
use ringbolt_tests::Dice;

/// Names the kind of block that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    OneSuperblock,
    TwoSuperblocks,
    ThreeSuperblocks,
    CheckpointRoot,
    CheckpointLeaves,
    CheckpointOther,
    /// This is the header of a batch that is replayed at the next start.
    BatchHeader,
    BatchRecords,
    /// This is the record of an object in a batch that the checkpoint has made superfluous.
    OldRecord,
    OldInlineBody,
    /// This is the record of a version beneath the newest one.
    OldVersion,
    OldMarker,
    /// This is the record of changed metadata.
    OldMetadata,
    SliceHeader,
    SliceData,
    /// This is the last batch of a log, of which nothing later says that it was durable.
    LastBatch,
    /// This is a slice of a part of an unfinished upload.
    PartData,
}

/// These are the kinds whose damage one drive shows, or has no need of.
pub const KINDS: [Kind; 15] = [
    Kind::OneSuperblock,
    Kind::TwoSuperblocks,
    Kind::ThreeSuperblocks,
    Kind::CheckpointRoot,
    Kind::CheckpointLeaves,
    Kind::CheckpointOther,
    Kind::BatchHeader,
    Kind::BatchRecords,
    Kind::OldRecord,
    Kind::OldInlineBody,
    Kind::OldVersion,
    Kind::OldMarker,
    Kind::OldMetadata,
    Kind::SliceHeader,
    Kind::SliceData,
];

/// These are the kinds that a copy is needed for, or to compare with.
pub const KINDS_OF_COPIES: [Kind; 2] = [Kind::LastBatch, Kind::PartData];

/// Says what happens to the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// Flips one bit.
    Flip,
    /// Zeroes the block, or up to 64 KiB from there.
    Zero,
    /// Replaces the block by another one of its kind.
    Swap,
    /// Restores an earlier content of the block, as if a write was lost.
    RollBack,
}

pub const HARMS: [Harm; 4] = [Harm::Flip, Harm::Zero, Harm::Swap, Harm::RollBack];

/// Holds bytes to write to the drive.
pub type Changes = Vec<(usize, Vec<u8>)>;

/// Returns the places of `kind`; for several superblocks, one place for each.
fn places(kind: Kind, atlas: &Atlas) -> Vec<Span> {
    let chunks = |wanted: fn(u16) -> bool| -> Vec<Span> {
        atlas.chunks.iter().filter(|chunk| wanted(chunk.kind)).map(|chunk| chunk.span.clone()).collect()
    };
    let replayed = |part: fn(&Batch) -> Span| -> Vec<Span> {
        atlas.batches.iter().filter(|batch| batch.replayed && !batch.last).map(part).collect()
    };
    let is_old = |span: &Span| {
        let inside = |batch: &&Batch| batch.span.start <= span.start && span.end <= batch.span.end;
        atlas.batches.iter().find(inside).is_some_and(|batch| !batch.replayed)
    };
    let old = atlas.records.iter().filter(|record| is_old(&record.span));
    match kind {
        Kind::OneSuperblock | Kind::TwoSuperblocks | Kind::ThreeSuperblocks => atlas.superblocks.clone(),
        Kind::CheckpointRoot => chunks(|kind| kind == KIND_ROOT),
        Kind::CheckpointLeaves => chunks(|kind| kind == KIND_LEAVES),
        Kind::CheckpointOther => chunks(|kind| kind != KIND_LEAVES && kind != KIND_ROOT),
        Kind::BatchHeader => replayed(|batch| batch.span.start..batch.span.start + HEADER_BYTES),
        Kind::BatchRecords => replayed(|batch| batch.span.start + HEADER_BYTES..batch.span.end),
        Kind::OldRecord => old.map(|record| record.span.start..record.body_start).collect(),
        Kind::OldInlineBody => {
            let bodies = old.map(|record| record.body_start..record.span.end);
            bodies.filter(|body| body.len() > BLOCK_BYTES).collect()
        }
        Kind::OldVersion => old
            .filter(|record| record.is_beneath && !record.is_marker)
            .map(|record| record.span.clone())
            .collect(),
        Kind::OldMarker => old.filter(|record| record.is_marker).map(|record| record.span.clone()).collect(),
        Kind::OldMetadata => {
            let metadata = atlas.records.iter().filter_map(|record| record.meta.clone());
            metadata.filter(&is_old).collect()
        }
        Kind::SliceHeader => atlas.slices.iter().map(|slice| slice.header.clone()).collect(),
        Kind::SliceData => atlas.slices.iter().map(|slice| slice.payload.clone()).collect(),
        Kind::LastBatch => {
            atlas.batches.iter().filter(|batch| batch.last).map(|batch| batch.span.clone()).collect()
        }
        Kind::PartData => atlas.parts.iter().map(|slice| slice.payload.clone()).collect(),
    }
}

/// Returns whether a drive has anything of this kind.
pub fn has(kind: Kind, atlas: &Atlas) -> bool {
    !places(kind, atlas).is_empty()
}

/// Returns one damage of this kind; it is empty if it would change nothing.
pub fn damage(kind: Kind, harm: Harm, atlas: &Atlas, drive: &DriveFile, dice: &mut Dice) -> Changes {
    let places = places(kind, atlas);
    assert!(!places.is_empty(), "the drive has no {kind:?}");
    let count = match kind {
        Kind::TwoSuperblocks => 2,
        Kind::ThreeSuperblocks => 3,
        _ => 1,
    };
    let first = dice.below(places.len());
    let changes = (0..count).flat_map(|number| {
        let place = &places[(first + number) % places.len()];
        let other = &places[(first + 1 + dice.below(places.len())) % places.len()];
        harm_one(harm, place, other, drive, dice)
    });
    let mut changes: Changes = changes.collect();
    changes.retain(|(at, bytes)| drive.image[*at..*at + bytes.len()] != bytes[..]);
    changes
}

fn harm_one(harm: Harm, place: &Span, other: &Span, drive: &DriveFile, dice: &mut Dice) -> Changes {
    let image = &drive.image;
    let at = place.start + dice.below(place.len());
    let block = at - at % BLOCK_BYTES;
    let of = |from: &[u8], start: usize| from[start..start + BLOCK_BYTES].to_vec();
    match harm {
        Harm::Flip => vec![(at, vec![image[at] ^ 1 << dice.below(8)])],
        Harm::Zero => {
            let length = [BLOCK_BYTES, 64 << 10][dice.below(2)].min(image.len() - block);
            vec![(block, vec![0; length])]
        }
        Harm::Swap => {
            let there = other.start + (at - place.start).min(other.len() - 1);
            let there = there - there % BLOCK_BYTES;
            vec![(block, of(image, there)), (there, of(image, block))]
        }
        Harm::RollBack => vec![(block, of(&drive.old, block))],
    }
}

/// Returns every byte that has changed, in ascending order.
pub fn changed_bytes(changes: &Changes, image: &[u8]) -> Vec<usize> {
    let differing = |(at, bytes): &(usize, Vec<u8>)| {
        let at = *at;
        let pairs = bytes.iter().zip(&image[at..]).enumerate();
        pairs.filter(|(_, (new, old))| new != old).map(|(offset, _)| at + offset).collect::<Vec<_>>()
    };
    let mut all: Vec<usize> = changes.iter().flat_map(differing).collect();
    all.sort_unstable();
    all.dedup();
    all
}
