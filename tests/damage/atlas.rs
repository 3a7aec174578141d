//! This module maps a drive: every relevant structure, with the keys that depend on it.

use crate::stored::STACKS;
use ringbolt_engine::extent::Shape;
use ringbolt_engine::format::BLOCK_BYTES;
use ringbolt_engine::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES};
use ringbolt_engine::format::checkpoint::{CheckpointChunkOnDisk, CheckpointRootV1, ChunkPlaceV1, KIND_ROOT};
use ringbolt_engine::format::record::{
    FLAG_MOVED, Mutation, PutV1, RECORD_ALIGNMENT, RecordView, SegmentV1, UploadPartV1,
};
use ringbolt_engine::format::set::SetV1;
use ringbolt_engine::format::superblock::{
    COPIES, COPY_STRIDE, ROOT_CHECKPOINT, SUPERBLOCK_BYTES, SuperblockOnDisk,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// These are the extents of sets, by shard and number of the set.
type Sets = BTreeMap<(u16, u32), u32>;

/// This is a range of bytes on the drive.
pub type Span = Range<usize>;

/// This is a chunk of a current checkpoint.
pub struct Chunk {
    pub span: Span,
    pub kind: u16,
}

/// This is a batch of a log.
pub struct Batch {
    pub span: Span,
    shard: u16,
    sequence: u64,
    /// Says that the batch is replayed when the drive is opened.
    pub replayed: bool,
    /// Says that it is the last batch of its shard: nothing later shows that it was durable.
    pub last: bool,
}

/// This is the record of an existing version of a key.
pub struct Record {
    /// Is the key, or [`version_name`] where there may be several versions.
    pub name: String,
    /// Includes envelope and payload, and the body if it is inline.
    pub span: Span,
    pub body_start: usize,
    /// Is the record of its metadata, if those were changed.
    pub meta: Option<Span>,
    pub is_marker: bool,
    /// Says that there are newer versions of the key.
    pub is_beneath: bool,
    generation: u64,
    change: u32,
    meta_change: u32,
    /// Has the header and the payload of each slice.
    pub slices: Vec<(Span, Span)>,
}

/// Returns the name of a version of one of the keys that have several.
pub fn version_name(key: &str, generation: u64) -> String {
    format!("{key}#{generation}")
}

/// This is a slice of an existing object, or of a part of an unfinished upload.
pub struct Slice {
    pub header: Span,
    pub payload: Span,
}

impl From<(Span, Span)> for Slice {
    fn from((header, payload): (Span, Span)) -> Self {
        Self { header, payload }
    }
}

pub struct Atlas {
    pub superblocks: Vec<Span>,
    pub chunks: Vec<Chunk>,
    pub batches: Vec<Batch>,
    pub records: Vec<Record>,
    pub slices: Vec<Slice>,
    /// Has the slices of the parts of unfinished uploads.
    pub parts: Vec<Slice>,
}

/// Returns where the copies of the superblock lie.
fn superblock_spans() -> Vec<Span> {
    (0..COPIES).map(|at| span(at * COPY_STRIDE as usize, SUPERBLOCK_BYTES)).collect()
}

/// Returns the superblock of a drive, or `None` when no two copies agree.
pub fn superblock(image: &[u8]) -> Option<SuperblockOnDisk> {
    let bytes: Vec<&[u8]> = superblock_spans().into_iter().map(|copy| &image[copy]).collect();
    SuperblockOnDisk::choose(&bytes).ok()
}

impl Atlas {
    pub fn read(image: &[u8]) -> Self {
        let copies = superblock_spans();
        let block = superblock(image).expect("a good superblock");
        // Where a set has members on several drives, this drive's is what is looked at. Striped sets may have none.
        let extent_of = |set: &SetV1| {
            let mut members = set.members.iter();
            Some(members.find(|member| member.drive == block.drive_number.get())?.extent)
        };
        let shape = Shape::new(block.data_members, block.parity_members);
        let place = |extent: u32, offset: u32| {
            (block.extents_start.get() + u64::from(extent) * block.extent_bytes.get()) as usize
                + offset as usize
        };
        let mut chunks = Vec::new();
        let mut sets = Sets::new();
        let mut replay_from = BTreeMap::new();
        for root in block.roots.iter().filter(|root| root.kind.get() == ROOT_CHECKPOINT) {
            let at = span(place(root.extent.get(), root.offset.get()), root.length.get() as usize);
            let (_, payload) = CheckpointChunkOnDisk::parse(&image[at.clone()]).expect("a good root chunk");
            let named = CheckpointRootV1::decode(payload).expect("a good root");
            for set in named.own.iter().chain(&named.sets) {
                note_set(&mut sets, (root.shard.get(), set.set), extent_of(set));
            }
            let of_set = |set: u32, offset: u32| place(sets[&(root.shard.get(), set)], offset);
            replay_from.insert(root.shard.get(), named.replay_sequence);
            chunks.push(Chunk { span: at, kind: KIND_ROOT });
            let chunk = |&ChunkPlaceV1 { set, offset, length, kind, .. }: &ChunkPlaceV1| Chunk {
                span: span(of_set(set, offset), length as usize),
                kind,
            };
            assert!(named.lists.is_empty(), "so many chunks need no list");
            chunks.extend(named.rest.chunks.iter().map(chunk));
        }
        let mut atlas = Self {
            superblocks: copies,
            chunks,
            batches: Vec::new(),
            records: Vec::new(),
            slices: Vec::new(),
            parts: Vec::new(),
        };
        let mut changes = Vec::new();
        let mut at = block.extents_start.get() as usize;
        while at < image.len() {
            let window = &image[at..image.len().min(at + BATCH_BYTES_MAX)];
            let Ok(header) = BatchHeaderOnDisk::parse(window) else {
                at += BLOCK_BYTES;
                continue;
            };
            let (shard, sequence) = (header.shard.get(), header.sequence.get());
            let replayed = replay_from.get(&shard).is_none_or(|from| sequence >= *from);
            let whole = span(at, header.length.get() as usize);
            atlas.batches.push(Batch { span: whole.clone(), shard, sequence, replayed, last: false });
            read_records(image, whole, &header, &mut changes);
            at += header.padded_bytes();
        }
        for at in 0..atlas.batches.len() {
            let of = &atlas.batches[at];
            let last =
                atlas.batches.iter().all(|other| other.shard != of.shard || other.sequence <= of.sequence);
            atlas.batches[at].last = last;
        }
        // A key stays in its shard, so its changes are in the order of their batches.
        changes.sort_by_key(|change| (change.shard, change.sequence));
        // The sets that the log says take the place of those of the checkpoint, in its order.
        for change in &changes {
            let replayed = replay_from.get(&change.shard).is_none_or(|from| change.sequence >= *from);
            if let Mutation::SetPut(set) = &change.mutation
                && replayed
            {
                note_set(&mut sets, (change.shard, set.set), extent_of(set));
            }
        }
        let (mut live, mut parts) = (Live::new(), Vec::new());
        for change in changes {
            let shard = change.shard;
            // A set that nobody has any more held what is not read.
            let of_set = |set: u32, offset: u32| Some(place(*sets.get(&(shard, set))?, offset));
            let place = Places { shape, of_set: &of_set };
            if let Mutation::UploadPart(put) = &change.mutation {
                let UploadPartV1 { segment, .. } = &put.part;
                let slices = place.of(std::slice::from_ref(segment));
                parts.push(((put.bucket, text(&put.key)), slices));
            }
            change.apply(&mut live, place);
        }
        parts.retain(|(key, _)| !live.contains_key(key));
        atlas.parts = parts.into_iter().flat_map(|(_, slices)| slices).map(Slice::from).collect();
        for versions in live.values_mut() {
            versions.iter_mut().skip(1).for_each(|record| record.is_beneath = true);
        }
        atlas.records = live.into_values().flatten().collect();
        let slices = atlas.records.iter().flat_map(|record| record.slices.iter().cloned());
        atlas.slices = slices.map(Slice::from).collect();
        atlas
    }

    /// Returns what must happen with a drive on which exactly these bytes (ascending) have changed.
    pub fn verdict(&self, changed: &[usize]) -> Verdict {
        let hit = |span: &Span| {
            let from = changed.partition_point(|at| *at < span.start);
            changed.get(from).is_some_and(|at| *at < span.end)
        };
        let copies = self.superblocks.iter().filter(|copy| hit(copy)).count();
        // Damage without a complete batch after it cannot be distinguished from a torn tail.
        let is_convicted = |batch: &&Batch| {
            let later = |other: &Batch| other.shard == batch.shard && other.sequence > batch.sequence;
            self.batches.iter().any(|other| later(other) && !hit(&other.span))
        };
        // The batch that begins a life has a copy, and either of them suffices.
        let has_whole_copy = |batch: &Batch| {
            let same = |other: &Batch| (other.shard, other.sequence) == (batch.shard, batch.sequence);
            self.batches.iter().any(|other| same(other) && !hit(&other.span))
        };
        let damaged = self.batches.iter().filter(|batch| batch.replayed && hit(&batch.span));
        let damaged = damaged.filter(|batch| !has_whole_copy(batch));
        let chunk_hit = self.chunks.iter().any(|chunk| hit(&chunk.span));
        let convicted = damaged.filter(is_convicted).count();
        if copies > COPIES - 2 || chunk_hit || convicted > 0 {
            return Verdict::Refused;
        }
        // All that readers are told of a delete marker is in the index.
        let is_hit = |record: &&Record| {
            let mut slices = record.slices.iter();
            let own = hit(&record.span) || record.meta.as_ref().is_some_and(hit);
            !record.is_marker && (own || slices.any(|(header, payload)| hit(header) || hit(payload)))
        };
        Verdict::Unreadable(self.records.iter().filter(is_hit).map(|record| record.name.clone()).collect())
    }
}

/// Says what opening and reading must return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Refused,
    /// The drive opens, and reading exactly the versions with these names fails.
    Unreadable(Vec<String>),
}

impl Verdict {
    /// Returns what must happen where this and `other` have befallen two drives.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unreadable(mut names), Self::Unreadable(others)) => {
                names.extend(others);
                Self::Unreadable(names)
            }
            _ => Self::Refused,
        }
    }

    /// Returns the names of the versions that can not be read although the drive opens.
    pub fn unreadable(&self) -> &[String] {
        match self {
            Self::Refused => &[],
            Self::Unreadable(names) => names,
        }
    }
}

fn span(start: usize, length: usize) -> Span {
    start..start + length
}

/// Holds the existing versions by bucket and key, the newest first.
type Live = BTreeMap<(u32, String), Vec<Record>>;

/// This is a record of a log, and where it lies.
struct Change {
    shard: u16,
    sequence: u64,
    span: Span,
    data_length: usize,
    is_moved: bool,
    mutation: Mutation,
}

fn read_records(image: &[u8], batch: Span, header: &BatchHeaderOnDisk, changes: &mut Vec<Change>) {
    let (shard, sequence) = (header.shard.get(), header.sequence.get());
    let mut at = batch.start + HEADER_BYTES;
    for _ in 0..header.records.get() {
        let mark = header.record_mark(at - batch.start);
        let view = RecordView::parse(&image[at..batch.end], mark).expect("a good record");
        let (span, data_length) = (span(at, view.length()), view.data.len());
        at += view.length().next_multiple_of(RECORD_ALIGNMENT);
        let is_moved = view.envelope.flags.get() & FLAG_MOVED != 0;
        let mutation = view.mutation().expect("a known record");
        changes.push(Change { shard, sequence, span, data_length, is_moved, mutation });
    }
}

impl Change {
    fn apply(self, live: &mut Live, place: Places<'_>) {
        match &self.mutation {
            Mutation::Put(put) => {
                let versions = live.entry((put.bucket, text(&put.key))).or_default();
                let old = versions.iter_mut().find(|record| record.generation == put.generation);
                match old {
                    // A copy counts only for the version, and the change, that it is of.
                    Some(old) if !self.is_moved || old.change == put.change => {
                        let (meta, meta_change) = (old.meta.clone(), old.meta_change);
                        *old = Record { meta, meta_change, ..self.record(put, place) };
                    }
                    None if !self.is_moved && put.change == 0 => {
                        versions.retain(|record| record.generation != put.removes);
                        versions.insert(0, self.record(put, place));
                    }
                    _ => {}
                }
            }
            Mutation::Delete(delete) => {
                let versions = live.entry((delete.bucket, text(&delete.key))).or_default();
                versions.retain(|record| record.generation != delete.removes);
            }
            Mutation::Meta(meta) => {
                let versions = live.entry((meta.bucket, text(&meta.key))).or_default();
                let own = versions.iter_mut().find(|record| record.generation == meta.generation);
                let counts = |record: &&mut Record| !self.is_moved || record.meta_change == meta.change;
                if let Some(record) = own.filter(counts) {
                    (record.meta, record.meta_change) = (Some(self.span), meta.change);
                }
            }
            _ => {}
        }
    }

    fn record(&self, put: &PutV1, place: Places<'_>) -> Record {
        let key = text(&put.key);
        Record {
            name: if key.starts_with(STACKS) { version_name(&key, put.generation) } else { key },
            span: self.span.clone(),
            body_start: self.span.end - self.data_length,
            meta: None,
            is_marker: put.is_marker(),
            is_beneath: false,
            generation: put.generation,
            change: put.change,
            meta_change: 0,
            slices: place.of(&put.segments),
        }
    }
}

/// Says where slices lie on the drive.
#[derive(Clone, Copy)]
struct Places<'a> {
    shape: Shape,
    /// Returns where a byte of a set is, if the drive has a member of it.
    of_set: &'a dyn Fn(u32, u32) -> Option<usize>,
}

impl Places<'_> {
    /// Returns the header, and what lies behind it, of each slice of which the drive has something.
    fn of(self, segments: &[SegmentV1]) -> Vec<(Span, Span)> {
        let slices = segments.iter().flat_map(|segment| self.shape.slices_of(segment));
        let spans = slices.filter_map(|slice| {
            let start = (self.of_set)(slice.extent, slice.offset)?;
            let length = self.shape.chunk_bytes(slice.length as usize);
            Some((span(start, BLOCK_BYTES), span(start + BLOCK_BYTES, length)))
        });
        spans.collect()
    }
}

fn note_set(sets: &mut Sets, set: (u16, u32), extent: Option<u32>) {
    match extent {
        Some(extent) => drop(sets.insert(set, extent)),
        None => drop(sets.remove(&set)),
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
