//! Reading the body of an object, on the core that asked for it.
//!
//! Invariants:
//! - No byte is given before the checksum that covers it was verified, and before the record or
//!   slice header proved whose it is.
//! - What is read stays pinned on its owner until the reader is dropped.
//! - Read-ahead depends on how many buffers the core has left. A reader that is not asked for more
//!   holds what it read ahead, and no more.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::cache::{CacheKey, CachedObject};
use super::state::CoreState;
use crate::device::IoFuture;
use crate::error::{EngineError, Result};
use crate::extent::sets::Places;
use crate::extent::{LogSet, SetPlace, SlicePlace, slices_of};
use crate::format::record::{MetaV1, RecordView, RunV1, SegmentV1};
use crate::format::slice::{CRC_BLOCK_BYTES, SLICE_BYTES, SliceHeaderOnDisk};
use crate::format::{BLOCK_BYTES, blocks_up};
use crate::hook::Bug;
use crate::ring::{Buffer, Pool};
use crate::shard::entry::{MetaPlace, blocks_covering};
use crate::shard::{Found, FoundEntry, Pins, Shard, ShardReply, ShardRequest};
use crate::types::{BucketId, Marker, ObjectInfo, Version};

/// Verified bytes of an object. A buffer goes back to the core's pool when it is dropped.
pub struct Chunk {
    bytes: Bytes,
    range: Range<usize>,
}

enum Bytes {
    Read(Buffer),
    Cached(Rc<CachedObject>),
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Read(buffer) => &buffer[self.range.clone()],
            Bytes::Cached(object) => &object.data[self.range.clone()],
        }
    }
}

/// A pin on the space that a reader uses. It is released when this is dropped.
struct PinGuard {
    core: Rc<CoreState>,
    shard: u16,
    pins: Pins,
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        self.core.tell(self.shard, ShardRequest::Unpin(self.pins));
    }
}

/// An object that was opened for reading.
pub struct ObjectReader {
    info: Rc<ObjectInfo>,
    source: Source,
    /// The range of the object that is still to be given, bytes.
    range: Range<u64>,
    // The pin is dropped last. Reads in flight go into the reader's own buffers, but what they read
    // must stay until they end. It is `None` when nothing is read.
    _pin: Option<PinGuard>,
}

enum Source {
    /// The record of a small object with all its data, and the offset at which the data starts.
    Inline {
        bytes: Option<Bytes>,
        start: usize,
    },
    Slices(SliceReader),
}

/// Piece size in bytes and read-ahead in pieces for a reader that nobody waits for.
const GENTLE: (usize, usize) = (256 << 10, 1);

/// Returns how many bytes to read at once and how many pieces to read ahead, by the buffers that
/// the pool has left.
pub(super) fn appetite(pool: &Pool) -> (usize, usize) {
    let (chunks, free) = pool.chunks();
    match () {
        () if free * 2 > chunks => (1 << 20, 4),
        () if free * 4 > chunks => (256 << 10, 2),
        () => (128 << 10, 1),
    }
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

/// What is to be opened.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    bucket: BucketId,
    key: &'a [u8],
    version: Version,
    /// An object may come from the cache, and a delete marker is not read.
    cached: bool,
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
        Self::open_from(core, Wanted { bucket, key, version, cached: true }).await
    }

    /// Opens a version like [`Self::open`], but from the drive and never from the cache. The record
    /// of a delete marker is verified too.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::open`].
    pub(super) async fn open_on_drive(
        core: &Rc<CoreState>,
        bucket: BucketId,
        key: &[u8],
        version: Version,
    ) -> Result<Opened> {
        Self::open_from(core, Wanted { bucket, key, version, cached: false }).await
    }

    async fn open_from(core: &Rc<CoreState>, wanted: Wanted<'_>) -> Result<Opened> {
        let Wanted { bucket, key, version, cached } = wanted;
        let shard = core.layout.shard_of_key(bucket, key);
        let Some((found, pin)) = look_up(core, shard, wanted).await? else { return Ok(Opened::Absent) };
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
        if let Found::Entry(found) = found {
            return Self::open_entry(core, shard, wanted, (*found, pin)).await;
        }
        let (extent, offset) = (log.place.extent, location.offset);
        let damaged = |what| EngineError::Damaged { what, extent, offset };
        let read = read_record(core, (log.place, offset), location.blocks).await?;
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
        let start = read.start + view.length() - view.data.len();
        let info = Rc::new(crate::shard::info_of(&put));
        if let Some(place) = place.filter(|_| core.cache.is_on()) {
            let (info, data) = (info.clone(), view.data.into());
            let object = CachedObject { bucket, key: put.key.into(), info, data };
            core.cache.keep(place, Rc::new(object));
        }
        let source = Source::Inline { bytes: Some(Bytes::Read(read.buffer)), start };
        let range = 0..info.size_bytes;
        Ok(Opened::Object(Self { info, source, range, _pin: Some(pin) }))
    }

    /// Opens a version whose entry the owner looked up.
    async fn open_entry(
        core: &Rc<CoreState>,
        shard: u16,
        wanted: Wanted<'_>,
        (found, pin): (FoundEntry, PinGuard),
    ) -> Result<Opened> {
        let Wanted { bucket, key, cached, .. } = wanted;
        let FoundEntry { entry, log, meta_log, slices } = found;
        let marker =
            Marker { generation: entry.generation, is_null: entry.is_null, modified_ms: entry.modified_ms };
        if entry.is_marker && cached {
            return Ok(Opened::Marker(marker));
        }
        let (extent, offset) = (log.place.extent, entry.location.offset);
        let damaged = |what| EngineError::Damaged { what, extent, offset };
        let blocks = blocks_covering(offset, entry.record_length);
        let read = read_record(core, (log.place, offset), blocks).await?;
        let mark = mark_at(core, shard, (log, offset), read.record());
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
        let mut info = crate::shard::info_of(&put);
        if let Some(found) = entry.meta.zip(meta_log) {
            let meta = read_metadata(core, shard, wanted, found, entry.generation).await?;
            info.attributes = meta.attributes;
            (info.modified_ms, info.metadata_change) = (meta.modified_ms, meta.change);
        }
        if entry.is_marker {
            return Ok(Opened::Marker(marker));
        }
        let start = read.start + view.length() - view.data.len();
        let source = if put.segments.is_empty() {
            Source::Inline { bytes: Some(Bytes::Read(read.buffer)), start }
        } else {
            Source::Slices(SliceReader::new(core.clone(), shard, put.segments, slices))
        };
        let range = 0..info.size_bytes;
        Ok(Opened::Object(Self { info: Rc::new(info), source, range, _pin: Some(pin) }))
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

/// Returns the mark of what was written at an offset of a set of the log.
fn mark_at(core: &CoreState, shard: u16, (log, offset): (LogSet, u32), record: &[u8]) -> u32 {
    let geometry = core.layout.geometry_of(core.layout.drive_with(log.place.drive));
    match geometry.planted.is(Bug::IgnoreMark) {
        true => RecordView::apparent_mark(record),
        false => geometry.record_mark(shard, log, offset),
    }
}

/// A reader of a part of an upload, on its owner's core, that nobody waits for.
pub(super) struct PartReader {
    reader: SliceReader,
    left: Range<u64>,
    _pin: PinGuard,
}

impl PartReader {
    pub(super) fn new(core: &Rc<CoreState>, shard: &Rc<Shard>, segment: SegmentV1) -> Self {
        let (sets, pins) = shard.pin_part(&segment);
        let left = 0..segment.length;
        let reader = SliceReader::new(core.clone(), shard.id, vec![segment], sets);
        let reader = SliceReader { gentle: true, ..reader };
        Self { reader, left, _pin: PinGuard { core: core.clone(), shard: shard.id, pins } }
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
        let bytes = self.reader.next(self.left.clone()).await?.range.len() as u64;
        self.left.start += bytes;
        Ok(Some(bytes))
    }
}

async fn look_up(
    core: &Rc<CoreState>,
    shard: u16,
    Wanted { bucket, key, version, .. }: Wanted<'_>,
) -> Result<Option<(Found, PinGuard)>> {
    match core.ask(shard, ShardRequest::Lookup { bucket, key: key.to_vec(), version }).await? {
        ShardReply::Found(found) => {
            Ok(found.map(|(found, pins)| (found, PinGuard { core: core.clone(), shard, pins })))
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

/// Reads the blocks of the record at an offset of a set.
async fn read_record(core: &Rc<CoreState>, (at, offset): (SetPlace, u32), blocks: u32) -> Result<ReadRecord> {
    let drive = core.layout.drive_with(at.drive);
    let first = offset - offset % BLOCK_BYTES as u32;
    let at = core.layout.geometry_of(drive).byte_of(at, first);
    let end = blocks as usize * BLOCK_BYTES;
    let buffer = core.buffer(end).await?;
    let (result, buffer) = core.drives[usize::from(drive)].device.read(at, end, buffer).await;
    result.map_err(EngineError::read_failed)?;
    Ok(ReadRecord { buffer, start: (offset - first) as usize, end })
}

/// Reads and verifies the record of a version's metadata.
async fn read_metadata(
    core: &Rc<CoreState>,
    shard: u16,
    wanted: Wanted<'_>,
    (place, log): (MetaPlace, LogSet),
    generation: u64,
) -> Result<MetaV1> {
    let MetaPlace { offset, record_length, change, .. } = place;
    let damaged = |what| EngineError::Damaged { what, extent: log.place.extent, offset };
    let read = read_record(core, (log.place, offset), blocks_covering(offset, record_length)).await?;
    let mark = mark_at(core, shard, (log, offset), read.record());
    let (view, meta) = RecordView::of_meta(read.record(), mark).map_err(damaged)?;
    let same = meta.bucket == wanted.bucket.0 && meta.key == wanted.key;
    if !same || (meta.generation, meta.change) != (generation, change) || view.is_loss() {
        return Err(damaged("metadata identity"));
    }
    Ok(meta)
}

/// A piece of a slice that is being read.
struct Piece {
    data: IoFuture,
    /// The read of the slice's header, for the first piece of a slice.
    header: Option<IoFuture>,
    place: SlicePlace,
    at: SetPlace,
    generation: u64,
    /// Offset within the payload at which the read starts, bytes.
    start: usize,
    /// The range of the payload that the reader wants, bytes.
    wanted: Range<usize>,
    payload_end: usize,
}

struct SliceReader {
    core: Rc<CoreState>,
    shard: u16,
    segments: Vec<SegmentV1>,
    /// Where the sets of the segments are.
    sets: Places,
    pieces: VecDeque<Piece>,
    /// The end of read-ahead as an offset in the object; `None` before the first read.
    ahead: Option<u64>,
    /// The slice that the last header read belongs to: generation and number.
    header_asked: Option<(u64, u32)>,
    header: Option<Box<SliceHeaderOnDisk>>,
    gentle: bool,
}

impl SliceReader {
    fn new(core: Rc<CoreState>, shard: u16, segments: Vec<SegmentV1>, sets: Places) -> Self {
        Self {
            core,
            shard,
            segments,
            sets,
            pieces: VecDeque::new(),
            ahead: None,
            header_asked: None,
            header: None,
            gentle: false,
        }
    }

    async fn next(&mut self, range: Range<u64>) -> Result<Chunk> {
        let mut ahead = *self.ahead.get_or_insert(range.start);
        let (piece_bytes, depth) = if self.gentle { GENTLE } else { appetite(&self.core.pool) };
        while ahead < range.end && self.pieces.len() < depth {
            let wanted = self.plan(ahead, range.end, piece_bytes);
            let Some(buffer) = self.buffer(wanted.read_bytes()).await? else { break };
            self.start(&wanted, buffer).await;
            ahead += wanted.wanted.len() as u64;
            self.ahead = Some(ahead);
        }
        self.finish_first().await
    }

    /// Takes a buffer. Only the first piece waits for one; read-ahead does without.
    async fn buffer(&self, bytes: usize) -> Result<Option<Buffer>> {
        if !self.pieces.is_empty() {
            return Ok(self.core.pool.try_take(bytes));
        }
        self.core.buffer(bytes).await.map(Some)
    }

    /// Plans the piece at `offset` of the object. It lies within one slice and has whole checksum
    /// blocks.
    fn plan(&self, offset: u64, end: u64, piece_bytes: usize) -> Planned {
        let mut base = 0;
        let mut segments = self.segments.iter();
        let segment = loop {
            let Some(segment) = segments.next() else { panic!("offset {offset} is beyond the object") };
            if offset < base + segment.length {
                break segment;
            }
            base += segment.length;
        };
        let within = offset - base;
        let number = within / SLICE_BYTES as u64;
        let place = slices_of(segment).nth(number as usize);
        let place = place.unwrap_or_else(|| panic!("slice {number} of {segment:?} is not there"));
        let from = (within % SLICE_BYTES as u64) as usize;
        let start = from - from % CRC_BLOCK_BYTES;
        let left_in_object = (end - offset).min(SLICE_BYTES as u64) as usize;
        let to = (start + piece_bytes).min(place.length as usize).min(from + left_in_object);
        let payload_end = to.next_multiple_of(CRC_BLOCK_BYTES).min(place.length as usize);
        let at = self.sets.of(place.extent);
        Planned { place, at, generation: segment.generation, start, wanted: from..to, payload_end }
    }

    async fn start(&mut self, planned: &Planned, buffer: Buffer) {
        let drive = self.core.layout.drive_with(planned.at.drive);
        let device = self.core.drives[usize::from(drive)].device.clone();
        let at = self.core.layout.geometry_of(drive).byte_of(planned.at, planned.place.offset);
        let slice = (planned.generation, planned.place.number);
        let header = if self.header_asked.replace(slice) == Some(slice) {
            None
        } else {
            let buffer = self.core.pool.take_for_step(BLOCK_BYTES).await;
            Some(device.read(at, BLOCK_BYTES, buffer))
        };
        let data = device.read(at + (BLOCK_BYTES + planned.start) as u64, planned.read_bytes(), buffer);
        self.pieces.push_back(Piece {
            data,
            header,
            place: planned.place,
            at: planned.at,
            generation: planned.generation,
            start: planned.start,
            wanted: planned.wanted.clone(),
            payload_end: planned.payload_end,
        });
    }

    async fn finish_first(&mut self) -> Result<Chunk> {
        let Some(piece) = self.pieces.front_mut() else {
            panic!("a reader with bytes left has a piece in flight")
        };
        let (extent, offset) = (piece.at.extent, piece.place.offset);
        let damaged = |what| EngineError::Damaged { what, extent, offset };
        if let Some(header) = &mut piece.header {
            let (result, buffer) = header.await;
            result.map_err(EngineError::read_failed)?;
            let header = SliceHeaderOnDisk::parse(&buffer).map_err(|_| damaged("slice header"))?;
            let owner = (self.core.layout.geometry_of(0).format_id, self.shard);
            if !piece.place.is_headed_by(&header, owner, piece.at.birth, piece.generation) {
                return Err(damaged("slice identity"));
            }
            self.header = Some(Box::new(header));
            piece.header = None;
        }
        let (result, buffer) = (&mut piece.data).await;
        result.map_err(EngineError::read_failed)?;
        let Some(piece) = self.pieces.pop_front() else { panic!("the piece was just there") };
        let Some(header) = &self.header else { panic!("a slice's first piece brings its header") };
        let ignored = self.core.layout.geometry_of(0).planted.is(Bug::IgnoreCrc);
        if !ignored && !header.verifies(piece.start, &buffer[..piece.payload_end - piece.start]) {
            return Err(damaged("slice data"));
        }
        let range = piece.wanted.start - piece.start..piece.wanted.end - piece.start;
        Ok(Chunk { bytes: Bytes::Read(buffer), range })
    }
}

struct Planned {
    place: SlicePlace,
    at: SetPlace,
    generation: u64,
    start: usize,
    wanted: Range<usize>,
    payload_end: usize,
}

impl Planned {
    fn read_bytes(&self) -> usize {
        blocks_up(self.payload_end - self.start)
    }
}
