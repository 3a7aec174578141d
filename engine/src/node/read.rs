//! Reading the body of an object, on the core that asked for it.
//!
//! Invariants:
//! - No byte is given before the checksum that covers it was verified, and before the record or
//!   slice header proved whose it is.
//! - What is read stays pinned on its owner until the reader is dropped.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use super::cache::{CacheKey, CachedObject};
use super::chunk::{Bytes, Chunk};
use super::hedge::answer_of;
use super::mend::{Mend, PinGuard, may_mend};
use super::slice_reader::SliceReader;
use super::state::CoreState;
use crate::device::pace::Paces;
use crate::error::{EngineError, Result};
use crate::extent::{Drives, LogSet, SetPlace};
use crate::format::BLOCK_BYTES;
use crate::format::parts::{decode_table, split_table};
use crate::format::record::{MetaV1, PartV1, RecordView, RunV1, SegmentV1};
use crate::hook::Bug;
use crate::ring::Buffer;
use crate::shard::entry::{Location, MetaPlace, blocks_covering};
use crate::shard::{Found, FoundEntry, Shard, ShardReply, ShardRequest, part_info};
use crate::types::{BucketId, Marker, ObjectInfo, Version};

/// An object that was opened for reading.
pub struct ObjectReader {
    info: Rc<ObjectInfo>,
    source: Source,
    /// The range of the object that is still to be given, bytes.
    range: Range<u64>,
    // The pin is dropped last. Reads in flight go into the reader's own buffers, but what they read
    // must stay until they end. It is `None` when nothing is read.
    _pin: Option<Rc<PinGuard>>,
}

enum Source {
    /// The record of a small object with all its data, and the offset at which the data starts.
    Inline { bytes: Option<Bytes>, start: usize },
    /// It is behind a pointer, since readers are moved often and most objects are small.
    Slices(Box<SliceReader>),
}

/// What was found where a version was asked for.
pub enum Opened {
    Object(ObjectReader),
    /// The version is a delete marker.
    Marker(Marker),
    /// There is no such key or version.
    Absent,
}

impl Opened {
    /// Returns the object, or `None` when there is none.
    pub fn object(self) -> Option<ObjectReader> {
        match self {
            Self::Object(reader) => Some(reader),
            Self::Marker(_) | Self::Absent => None,
        }
    }
}

/// The copy that is to be read, and those that were found to be bad before.
#[derive(Clone, Copy)]
struct CopyToRead<'a> {
    /// The home of the copy: another one, once that was read since this one was late.
    home: &'a Cell<usize>,
    bad: &'a [usize],
    /// The reader waits until what is bad can be written anew.
    waits: bool,
}

/// What is to be opened.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    bucket: BucketId,
    key: &'a [u8],
    version: Version,
    /// An object may come from the cache, and a delete marker is not read.
    cached: bool,
    /// The home that is read first, or `None` for the one with the shortest queue.
    home: Option<usize>,
}

/// The copies of a set, one of which is read after the other until one is what it should be.
struct Copies<'a> {
    drives: &'a Drives,
    place: SetPlace,
    /// The home that is read first, or `None` for the one with the shortest queue.
    first: Option<usize>,
    /// The home that was read last.
    home: Cell<usize>,
    bad: Vec<usize>,
    /// Why the last one is bad.
    last: Option<EngineError>,
}

impl<'a> Copies<'a> {
    fn new(drives: &'a Drives, place: SetPlace, first: Option<usize>) -> Self {
        Self { drives, place, first, home: Cell::default(), bad: Vec::new(), last: None }
    }

    /// Returns the copy to read next.
    ///
    /// # Errors
    /// Returns the error of the last copy when all are bad.
    ///
    /// # Panics
    /// Panics when no copy can be reached.
    fn next(&mut self) -> Result<CopyToRead<'_>> {
        let home = match self.first {
            Some(home) if self.bad.is_empty() => Some(self.drives.copy(self.place, home).at),
            _ => self.drives.pick(self.place, &self.bad),
        };
        match (home, self.last.take()) {
            (Some(home), _) => {
                self.home.set(home);
                Ok(CopyToRead { home: &self.home, bad: &self.bad, waits: self.first.is_some() })
            }
            (None, Some(error)) => Err(error),
            (None, None) => panic!("no drive of {:?} is here", self.place),
        }
    }

    /// Returns what was read from the copy, or `None` when another one may mend it.
    fn judge<T>(&mut self, read: Result<T>) -> Option<Result<T>> {
        match read {
            Err(error) if error.is_of_copy() => {
                self.last = Some(error);
                self.bad.push(self.home.get());
                None
            }
            read => Some(read),
        }
    }
}

impl ObjectReader {
    /// Finds, pins and opens a version.
    ///
    /// # Errors
    /// Returns an error when a record is damaged or can not be read.
    pub(super) async fn open(
        core: &Rc<CoreState>,
        bucket: BucketId,
        key: &[u8],
        version: Version,
    ) -> Result<Opened> {
        Self::open_from(core, Wanted { bucket, key, version, cached: true, home: None }).await
    }

    /// Opens a version like [`Self::open`], but from a home, by its place among the shard's drives, and
    /// never from the cache. The record of a delete marker is verified too, and the table of an object's
    /// parts is read behind its body.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::open`].
    pub(super) async fn open_on_drive(
        core: &Rc<CoreState>,
        bucket: BucketId,
        key: &[u8],
        version: Version,
        home: usize,
    ) -> Result<Opened> {
        Self::open_from(core, Wanted { bucket, key, version, cached: false, home: Some(home) }).await
    }

    async fn open_from(core: &Rc<CoreState>, wanted: Wanted<'_>) -> Result<Opened> {
        let Wanted { bucket, key, version, cached, .. } = wanted;
        let shard = core.layout.shard_of_key(bucket, key);
        let Some((found, pin)) = look_up(core, shard, (bucket, key, version)).await? else {
            return Ok(Opened::Absent);
        };
        let (location, log) = match &found {
            Found::Inline { location, log } => (*location, *log),
            Found::Entry(found) => (found.entry.location, found.log),
        };
        let place = CacheKey { shard, log_number: log.log_number, offset: location.offset };
        let place = Some(place).filter(|_| cached && matches!(found, Found::Inline { .. }));
        if let Some(object) = place.and_then(|place| core.cache.get(place))
            && object.bucket == bucket
            && *object.key == *key
        {
            return Ok(Opened::Object(Self::cached(object)));
        }
        if let Some(home) = wanted.home
            && !core.writer_of(shard).drives.is_home(home)
            && !found.has_slices()
        {
            // Drives that are no homes hold striped slices alone.
            return Ok(Opened::Absent);
        }
        let pin = Rc::new(pin);
        let mut copies = Copies::new(&core.writer_of(shard).drives, log.place, wanted.home);
        loop {
            let copy = copies.next()?;
            let opened = match &found {
                Found::Entry(found) => Self::open_entry(core, &pin, wanted, found, copy).await,
                Found::Inline { location, log } => {
                    Self::open_inline(core, &pin, wanted, (*location, *log, place), copy).await
                }
            };
            if let Some(opened) = copies.judge(opened) {
                return opened;
            }
        }
    }

    /// Opens a small object from a copy of its record.
    async fn open_inline(
        core: &Rc<CoreState>,
        pin: &Rc<PinGuard>,
        Wanted { bucket, key, version, .. }: Wanted<'_>,
        (location, log, place): (Location, LogSet, Option<CacheKey>),
        copy: CopyToRead<'_>,
    ) -> Result<Opened> {
        let shard = pin.shard;
        let (extent, offset) = (log.place.extent(), location.offset);
        let damaged = |what| EngineError::Damaged { what, extent, offset };
        let read = read_record(core, shard, (log.place, offset), location.blocks, copy).await?;
        let mark = mark_at(core, shard, (log, offset), read.record());
        let (view, put) = RecordView::of_put(read.record(), mark).map_err(damaged)?;
        if put.bucket != bucket.0 || put.key != key {
            return Self::other_key(core, shard, (bucket, key, version), damaged("record identity")).await;
        }
        if !location.accepts(view.envelope.generation.get()) || !view.is_whole(&put) {
            return Err(damaged("record generation"));
        }
        // The index was checked when it was loaded, so the record must say the same of the slices.
        if !put.segments.is_empty() {
            return Err(damaged("record segments"));
        }
        mend_record(pin, (log.place, offset), (&read, view.length()), copy).await;
        let start = read.start + view.length() - view.data.len();
        let info = Rc::new(crate::shard::info_of(&put));
        if let Some(place) = place.filter(|_| core.cache.is_on()) {
            let (info, data) = (info.clone(), view.data.into());
            let object = CachedObject { bucket, key: put.key.into(), info, data };
            core.cache.keep(place, Rc::new(object));
        }
        let source = Source::Inline { bytes: Some(Bytes::Read(read.buffer)), start };
        let range = 0..info.size_bytes;
        Ok(Opened::Object(Self { info, source, range, _pin: Some(pin.clone()) }))
    }

    /// Opens a version whose entry the owner looked up, from a copy of its record.
    async fn open_entry(
        core: &Rc<CoreState>,
        pin: &Rc<PinGuard>,
        wanted: Wanted<'_>,
        found: &FoundEntry,
        copy: CopyToRead<'_>,
    ) -> Result<Opened> {
        let (shard, Wanted { bucket, key, cached, .. }) = (pin.shard, wanted);
        let FoundEntry { entry, log, meta_log, slices } = found;
        let marker =
            Marker { generation: entry.generation, is_null: entry.is_null, modified_ms: entry.modified_ms };
        if entry.is_marker && cached {
            return Ok(Opened::Marker(marker));
        }
        let (extent, offset) = (log.place.extent(), entry.location.offset);
        let damaged = |what| EngineError::Damaged { what, extent, offset };
        let blocks = blocks_covering(offset, entry.record_length);
        let read = read_record(core, shard, (log.place, offset), blocks, copy).await?;
        let mark = mark_at(core, shard, (*log, offset), read.record());
        let (view, put) = RecordView::of_put(read.record(), mark).map_err(damaged)?;
        if put.bucket != bucket.0 || put.key != key {
            return Err(damaged("record identity"));
        }
        let same = (put.generation, put.change) == (entry.generation, entry.change);
        if !same || put.is_marker() != entry.is_marker || !view.is_whole(&put) {
            return Err(damaged("record generation"));
        }
        // The index was checked when it was loaded, so the record must say the same of the slices.
        if put.segments != entry.segments {
            return Err(damaged("record segments"));
        }
        mend_record(pin, (log.place, offset), (&read, view.length()), copy).await;
        let mut info = crate::shard::info_of(&put);
        if let Some(found) = entry.meta.zip(*meta_log) {
            let meta = read_metadata(core, pin, wanted, found, entry.generation).await?;
            info.attributes = meta.attributes;
            (info.modified_ms, info.metadata_change) = (meta.modified_ms, meta.change);
        }
        if entry.is_marker {
            return Ok(Opened::Marker(marker));
        }
        let table_bytes = table_of(&put.segments, put.size).map_or(0, |table| table.length);
        let start = read.start + view.length() - view.data.len();
        let source = if put.segments.is_empty() {
            Source::Inline { bytes: Some(Bytes::Read(read.buffer)), start }
        } else {
            let from_home = wanted.home.map(|home| home as u8);
            let mut reader = SliceReader::new(pin.clone(), put.segments, slices.clone());
            reader.from_home = from_home;
            Source::Slices(Box::new(reader))
        };
        let range = 0..info.size_bytes + if cached { 0 } else { table_bytes };
        Ok(Opened::Object(Self { info: Rc::new(info), source, range, _pin: Some(pin.clone()) }))
    }

    fn cached(object: Rc<CachedObject>) -> Self {
        let info = object.info.clone();
        let range = 0..info.size_bytes;
        let source = Source::Inline { bytes: Some(Bytes::Cached(object)), start: 0 };
        Self { info, source, range, _pin: None }
    }

    /// Handles a record of another key. If two keys share their hash and the wanted one does not
    /// exist, there is no such object; anything else is damage.
    async fn other_key(
        core: &Rc<CoreState>,
        shard: u16,
        (bucket, key, version): (BucketId, &[u8], Version),
        damage: EngineError,
    ) -> Result<Opened> {
        if version != Version::Newest {
            return Err(damage);
        }
        match core.ask(shard, ShardRequest::HasKey { bucket, key: key.to_vec() }).await? {
            ShardReply::Judged(true) => Err(damage),
            ShardReply::Judged(false) => Ok(Opened::Absent),
            other => other.mistaken(),
        }
    }

    /// Returns all metadata of the object.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// Completes the list of parts in [`Self::info`]: that of an object of very many parts is not
    /// read with the object. It must be called before [`Self::forget_details`].
    ///
    /// # Errors
    /// Returns the same errors as [`Self::next`].
    pub async fn load_parts(&mut self) -> Result<()> {
        let Source::Slices(reader) = &self.source else { return Ok(()) };
        let Some(table) = table_of(&reader.segments, self.info.size_bytes).cloned() else { return Ok(()) };
        let pin = reader.pin.clone();
        let of_table = SliceReader::new(pin.clone(), vec![table.clone()], reader.sets.clone());
        let loaded = read_table(of_table, &table, self.info.size_bytes).await;
        let parts = loaded.inspect_err(|error| pin.core.note_refusal(error))?;
        Rc::make_mut(&mut self.info).parts = parts.iter().map(part_info).collect();
        Ok(())
    }

    /// Drops the list of parts, which reading does not need. Returns the memory in bytes that the
    /// reader keeps beside buffers until it is dropped: the object's layout, or a small object that
    /// the cache may evict meanwhile.
    pub fn forget_details(&mut self) -> u64 {
        match &self.source {
            Source::Inline { bytes: Some(Bytes::Cached(object)), .. } => object.data.len() as u64,
            Source::Inline { .. } => 0,
            Source::Slices(reader) => {
                if !self.info.parts.is_empty() {
                    Rc::make_mut(&mut self.info).parts = Vec::new();
                }
                let runs: usize = reader.segments.iter().map(|segment| segment.runs.len()).sum();
                let segments = reader.segments.len() * (size_of::<SegmentV1>() + 32);
                (segments + runs * size_of::<RunV1>() + reader.sets.memory_bytes()) as u64
            }
        }
    }

    /// Restricts reading to `length` bytes from `offset`, which must lie within the object. It must
    /// be called before the first [`Self::next`].
    pub fn set_range(&mut self, offset: u64, length: u64) {
        assert!(
            offset + length <= self.info.size_bytes,
            "{length} bytes at {offset} of {}",
            self.info.size_bytes
        );
        self.range = offset..offset + length;
    }

    /// Makes the reader one that nobody waits for: it reads small pieces and none ahead.
    pub(super) fn read_gently(&mut self) {
        if let Source::Slices(reader) = &mut self.source {
            reader.gentle = true;
        }
    }

    /// Returns whether the next bytes are verified already, so that [`Self::next`] gives them at once.
    pub fn is_more_ready(&self) -> bool {
        let Source::Slices(reader) = &self.source else { return false };
        reader.striped.as_ref().is_some_and(|striped| striped.is_ready())
    }

    /// Returns the next verified bytes in order, or `None` at the end.
    ///
    /// # Errors
    /// Returns [`EngineError::Damaged`] or [`EngineError::ReadFailed`], after which the reader
    /// gives nothing more, or [`EngineError::Busy`] when there is no buffer.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        let next = self.verified().await;
        if let (Err(error), Some(pin)) = (&next, &self._pin) {
            pin.core.note_refusal(error);
        }
        next
    }

    /// Does the same as [`Self::next`], but does not count damage as refused to a client.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::next`].
    pub(super) async fn verified(&mut self) -> Result<Option<Chunk>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        match &mut self.source {
            Source::Inline { bytes, start } => {
                let Some(bytes) = bytes.take() else { return Ok(None) };
                let range = *start + self.range.start as usize..*start + self.range.end as usize;
                self.range.start = self.range.end;
                Ok(Some(Chunk { bytes, range }))
            }
            Source::Slices(reader) => {
                let chunk = reader.next(self.range.clone()).await?;
                self.range.start += chunk.range.len() as u64;
                Ok(Some(chunk))
            }
        }
    }
}

/// Returns the segment with the table of an object's parts, if it has one.
fn table_of(segments: &[SegmentV1], size: u64) -> Option<&SegmentV1> {
    split_table(segments, size).and_then(|(_, table)| table)
}

/// Reads the table of the parts of an object of `size` bytes, which is all that `reader` reads.
async fn read_table(mut reader: SliceReader, table: &SegmentV1, size: u64) -> Result<Vec<PartV1>> {
    let place = reader.shape.slices_of(table).next();
    let (extent, offset) = place.map_or((0, 0), |place| (place.extent, place.offset));
    let damaged = EngineError::Damaged { what: "table of parts", extent, offset };
    let length = table.length;
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        bytes.extend_from_slice(reader.next(bytes.len() as u64..length).await?.as_ref());
    }
    let Ok(parts) = decode_table(&bytes) else { return Err(damaged) };
    let sum = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.size));
    if sum == Some(size) { Ok(parts) } else { Err(damaged) }
}

/// Returns the mark of what was written at an offset of a set of the log.
fn mark_at(core: &CoreState, shard: u16, (log, offset): (LogSet, u32), record: &[u8]) -> u32 {
    let geometry = &core.writer_of(shard).drives.get(0).geometry;
    match geometry.planted.is(Bug::IgnoreMark) {
        true => RecordView::apparent_mark(record),
        false => geometry.record_mark(shard, log, offset),
    }
}

/// A reader of a part of an upload, on its owner's core, that nobody waits for.
pub(super) struct PartReader {
    reader: SliceReader,
    left: Range<u64>,
}

impl PartReader {
    /// Makes a reader of the copy on a home.
    pub(super) fn new(core: &Rc<CoreState>, shard: &Rc<Shard>, segment: SegmentV1, home: usize) -> Self {
        let _count = core.readers.begin();
        let (sets, pins) = shard.pin_part(&segment);
        let left = 0..segment.length;
        let pin = Rc::new(PinGuard { core: core.clone(), shard: shard.id, pins, _count });
        let mut reader = SliceReader::new(pin, vec![segment], sets);
        (reader.gentle, reader.from_home) = (true, Some(home as u8));
        Self { reader, left }
    }

    /// Verifies the next piece and returns its length in bytes, or `None` at the end.
    ///
    /// # Errors
    /// Returns [`EngineError::Damaged`], [`EngineError::ReadFailed`], or [`EngineError::Busy`] when
    /// there is no buffer.
    pub(super) async fn verified(&mut self) -> Result<Option<u64>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let chunk = self.reader.next(self.left.clone()).await?;
        self.left.start += chunk.range.len() as u64;
        Ok(Some(chunk.verified_bytes()))
    }
}

/// Finds a version on its owner, and pins what its reader will read.
pub(super) async fn look_up(
    core: &Rc<CoreState>,
    shard: u16,
    (bucket, key, version): (BucketId, &[u8], Version),
) -> Result<Option<(Found, PinGuard)>> {
    let _count = core.readers.begin();
    match core.ask(shard, ShardRequest::Lookup { bucket, key: key.to_vec(), version }).await? {
        ShardReply::Found(found) => {
            Ok(found.map(|(found, pins)| (found, PinGuard { core: core.clone(), shard, pins, _count })))
        }
        other => other.mistaken(),
    }
}

/// The blocks of a record as they were read, not yet verified.
struct ReadRecord {
    buffer: Buffer,
    /// The offset in the buffer at which the record begins.
    start: usize,
    /// The end of what was read.
    end: usize,
}

impl ReadRecord {
    fn record(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

/// Reads the blocks of the record at an offset of a set, of a copy.
async fn read_record(
    core: &Rc<CoreState>,
    shard: u16,
    (at, offset): (SetPlace, u32),
    blocks: u32,
    copy: CopyToRead<'_>,
) -> Result<ReadRecord> {
    let first = offset - offset % BLOCK_BYTES as u32;
    let end = blocks as usize * BLOCK_BYTES;
    let buffer = core.buffer(end).await?;
    let drives = &core.writer_of(shard).drives;
    let mut read = drives.copy(at, copy.home.get()).read(first, end, buffer);
    let (result, buffer) = if copy.waits {
        read.await
    } else {
        let mut patience = drives.paces().map(Paces::patience);
        let from = (copy.home.get(), copy.bad);
        let (answer, home) =
            answer_of((core, drives), (at, first, end), from, &mut read, &mut patience).await;
        copy.home.set(home);
        answer
    };
    result.map_err(EngineError::read_failed)?;
    Ok(ReadRecord { buffer, start: (offset - first) as usize, end })
}

/// Has a record that was read and verified, of this length, written over the copies that are bad. What else
/// lies in its blocks was not verified, and stays as each copy has it.
async fn mend_record(
    pin: &Rc<PinGuard>,
    (at, offset): (SetPlace, u32),
    (read, length): (&ReadRecord, usize),
    copy: CopyToRead<'_>,
) {
    for home in copy.bad.iter().copied() {
        if !may_mend(&pin.core, copy.waits).await {
            return;
        }
        let offset = offset - offset % BLOCK_BYTES as u32;
        let verified = Some(read.start..read.start + length);
        Mend { home, at, offset, blocks: read.buffer[..read.end].to_vec(), verified }.start(pin);
    }
}

/// Reads and verifies the record of a version's metadata.
async fn read_metadata(
    core: &Rc<CoreState>,
    pin: &Rc<PinGuard>,
    wanted: Wanted<'_>,
    (place, log): (MetaPlace, LogSet),
    generation: u64,
) -> Result<MetaV1> {
    let mut copies = Copies::new(&core.writer_of(pin.shard).drives, log.place, wanted.home);
    loop {
        let copy = copies.next()?;
        let read = metadata_of_copy(core, pin, wanted, (place, log, generation), copy).await;
        if let Some(read) = copies.judge(read) {
            return read;
        }
    }
}

async fn metadata_of_copy(
    core: &Rc<CoreState>,
    pin: &Rc<PinGuard>,
    wanted: Wanted<'_>,
    (place, log, generation): (MetaPlace, LogSet, u64),
    copy: CopyToRead<'_>,
) -> Result<MetaV1> {
    let (shard, MetaPlace { offset, record_length, change, .. }) = (pin.shard, place);
    let damaged = |what| EngineError::Damaged { what, extent: log.place.extent(), offset };
    let blocks = blocks_covering(offset, record_length);
    let read = read_record(core, shard, (log.place, offset), blocks, copy).await?;
    let mark = mark_at(core, shard, (log, offset), read.record());
    let (view, meta) = RecordView::of_meta(read.record(), mark).map_err(damaged)?;
    let same = meta.bucket == wanted.bucket.0 && meta.key == wanted.key;
    if !same || (meta.generation, meta.change) != (generation, change) || view.is_loss() {
        return Err(damaged("metadata identity"));
    }
    mend_record(pin, (log.place, offset), (&read, view.length()), copy).await;
    Ok(meta)
}
