//! Writing the body of an object or part: the connection's core writes it into slices, and then one
//! commit follows on the owner.
//!
//! Invariants:
//! - Slices and their headers are durable before the commit is sent (law 1).
//! - A writer that is dropped frees its slices, but only after its last write has ended. A late
//!   write must not land in space that has a new owner.
//! - A body of unannounced length is stored exactly as if its length had been announced.
//! - A failed write stops the shard's writing (law 3).

use std::collections::VecDeque;
use std::rc::Rc;

use zerocopy::IntoBytes;

use super::bodies::BodyCount;
use super::chunk::appetite;
use super::receipt::Receipt;
use super::state::{CoreState, Drive};
use crate::device::{DeviceError, Durability};
use crate::error::{EngineError, Result};
use crate::extent::sets::Places;
use crate::extent::{SetPlace, Shape, SlicePlace, Writes, coalesce};
use crate::format::parts::encode_table;
use crate::format::record::{PartV1, RunV1, SegmentV1};
use crate::format::slice::{CRC_BLOCK_BYTES, SliceHeaderOnDisk, UNITS_PER_SLOT};
use crate::format::{BLOCK_BYTES, blocks_up};
use crate::hook::{Rare, reached};
use crate::ring::Buffer;
use crate::shard::{
    Body, GroupBuffers, PartCommit, PartsTable, PutCommit, Reservation, ShardReply, ShardRequest,
    StripedSlice, StripedWriter, TOO_FEW_DRIVES,
};
use crate::types::{
    BucketId, Etag, ObjectInfo, ObjectMeta, PART_CHECKSUM_BYTES_MAX, PartInfo, UploadId, WriteCondition,
};

/// What a body takes at once where there are enough buffers, bytes.
pub(super) const PLENTY_BYTES: usize = 1 << 20;
/// Full slices that are reserved at a time.
const SLICES_AT_ONCE: u64 = 16;

/// Returns the memory that a body of unknown length takes beside the buffers that every body takes, bytes.
pub(super) fn growing_bytes_max(shape: Shape) -> usize {
    shape.slice_bytes() + (256 << 10)
}

/// The purpose of a body.
pub(super) enum Target {
    Object,
    Part { upload: UploadId, number: u16 },
}

/// A body that is being written. Dropping it without a commit leaves nothing behind.
pub struct ObjectWriter {
    core: Rc<CoreState>,
    bucket: BucketId,
    key: Vec<u8>,
    shard: u16,
    target: Target,
    length: u64,
    /// Set when the body may end before `length`.
    grows: bool,
    received: u64,
    body: Incoming,
    receipt: Option<Receipt>,
    _counted: BodyCount,
}

enum Incoming {
    Inline(Vec<u8>),
    Slices(SliceWriter),
    Growing(Growing),
}

/// A body of unknown length. How it is stored depends on its end, so about a slice of it is held
/// back until then.
struct Growing {
    held: VecDeque<u8>,
    writer: SliceWriter,
    inline_bytes_max: u64,
}

impl ObjectWriter {
    /// Begins a body of exactly `length` bytes.
    pub(super) fn new(
        core: &Rc<CoreState>,
        bucket: BucketId,
        key: &[u8],
        target: Target,
        length: u64,
    ) -> Self {
        let settings = core.layout.settings_of(0);
        let shard = core.layout.shard_of_key(bucket, key);
        let inline = matches!(target, Target::Object) && length <= u64::from(settings.inline_bytes_max);
        let body = if inline {
            Incoming::Inline(Vec::with_capacity(length as usize))
        } else {
            let replaces = matches!(target, Target::Object).then(|| key.to_vec());
            Incoming::Slices(SliceWriter::new(core.clone(), shard, length, (bucket, replaces)))
        };
        let (counted, core, key) = (core.bodies.begin(), core.clone(), key.to_vec());
        Self {
            core,
            bucket,
            key,
            shard,
            target,
            length,
            grows: false,
            received: 0,
            body,
            receipt: None,
            _counted: counted,
        }
    }

    /// Begins an object like [`Self::new`], but one that may turn out to be shorter.
    pub(super) fn growing(core: &Rc<CoreState>, bucket: BucketId, key: &[u8], length_max: u64) -> Self {
        let mut writer = Self::new(core, bucket, key, Target::Object, length_max);
        writer.grows = true;
        if matches!(writer.body, Incoming::Slices(_)) {
            let slices =
                SliceWriter::new(core.clone(), writer.shard, length_max, (bucket, Some(key.to_vec())));
            let inline_bytes_max = u64::from(core.layout.settings_of(0).inline_bytes_max);
            let most = growing_bytes_max(slices.shape);
            let held = VecDeque::with_capacity(length_max.min(most as u64) as usize);
            writer.body = Incoming::Growing(Growing { held, writer: slices, inline_bytes_max });
        }
        writer
    }

    /// Copies `bytes` into the body, and waits while the device is behind.
    ///
    /// # Errors
    /// Returns an error when there is no space, the body is longer than announced, or the device
    /// fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.received += bytes.len() as u64;
        if self.received > self.length {
            return Err(EngineError::LengthMismatch { announced: self.length, got: self.received });
        }
        match &mut self.body {
            Incoming::Inline(data) => data.extend_from_slice(bytes),
            Incoming::Slices(writer) => writer.write(bytes).await?,
            Incoming::Growing(growing) => growing.write(bytes).await?,
        }
        Ok(())
    }

    /// Makes the body the object of its key, durable before the answer.
    ///
    /// # Errors
    /// Returns an error when the condition does not hold or there is no space; nothing is stored
    /// then. After [`EngineError::WritesStopped`], when the device failed under the commit, only a
    /// restart tells whether the object is there.
    pub async fn commit(mut self, meta: ObjectMeta, condition: WriteCondition) -> Result<ObjectInfo> {
        assert!(matches!(self.target, Target::Object), "a part is committed with commit_part");
        let body = self.finish().await?;
        let (bucket, size, key) = (self.bucket, self.length, std::mem::take(&mut self.key));
        let commit = PutCommit { bucket, key, size, meta, condition, body };
        match self.core.ask(self.shard, ShardRequest::Put(commit)).await? {
            ShardReply::Object(info) => {
                self.fill_receipt().await;
                Ok(info)
            }
            other => other.mistaken(),
        }
    }

    /// Makes the body a part of its upload, durable before the answer. It replaces an earlier part
    /// of the same number. The checksum is kept as it is.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`], or the same errors as [`Self::commit`].
    pub async fn commit_part(mut self, etag: Etag, checksum: Vec<u8>) -> Result<PartInfo> {
        assert!(checksum.len() <= PART_CHECKSUM_BYTES_MAX, "a checksum of {} bytes", checksum.len());
        let Target::Part { upload, number } = self.target else {
            panic!("an object is committed with commit")
        };
        let Body::Slices(segment) = self.finish().await? else { panic!("a part is never inline") };
        let (bucket, key) = (self.bucket, std::mem::take(&mut self.key));
        let commit = PartCommit { bucket, key, upload, number, etag, checksum, segment };
        match self.core.ask(self.shard, ShardRequest::PutPart(commit)).await? {
            ShardReply::Part(info) => {
                self.fill_receipt().await;
                Ok(info)
            }
            other => other.mistaken(),
        }
    }

    /// Asks for a receipt, which the commit fills.
    pub fn receipt(&mut self) -> Receipt {
        self.receipt.get_or_insert_default().clone()
    }

    async fn fill_receipt(&self) {
        let Some(receipt) = &self.receipt else { return };
        let sets = match &self.body {
            Incoming::Inline(_) => &[],
            Incoming::Slices(writer) => writer.sets.all(),
            Incoming::Growing(growing) => growing.writer.sets.all(),
        };
        receipt.fill(self.core.durability_of(self.shard, sets).await);
    }

    async fn finish(&mut self) -> Result<Body> {
        if self.grows {
            self.length = self.received;
        }
        if self.received != self.length {
            return Err(EngineError::LengthMismatch { announced: self.length, got: self.received });
        }
        match &mut self.body {
            Incoming::Inline(data) => Ok(Body::Inline(std::mem::take(data))),
            Incoming::Slices(writer) => writer.finish().await.map(Body::Slices),
            Incoming::Growing(growing) => growing.finish(self.length).await,
        }
    }
}

impl Growing {
    async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let most = growing_bytes_max(self.writer.shape);
            let taken = bytes.len().min(most - self.held.len());
            self.held.extend(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.held.len() == most {
                self.pass_on(most - self.writer.shape.slice_bytes()).await?;
            }
        }
        Ok(())
    }

    async fn pass_on(&mut self, mut count: usize) -> Result<()> {
        while count > 0 {
            let (front, _) = self.held.as_slices();
            let taken = front.len().min(count);
            self.writer.write(&front[..taken]).await?;
            self.held.drain(..taken);
            count -= taken;
        }
        Ok(())
    }

    async fn finish(&mut self, length: u64) -> Result<Body> {
        if length <= self.inline_bytes_max {
            return Ok(Body::Inline(std::mem::take(&mut self.held).into()));
        }
        self.writer.shorten(length);
        self.pass_on(self.held.len()).await?;
        self.writer.finish().await.map(Body::Slices)
    }
}

struct SliceWriter {
    core: Rc<CoreState>,
    shard: u16,
    shape: Shape,
    /// The object that the body replaces, if there is one; a part replaces none.
    replaces: (BucketId, Option<Vec<u8>>),
    segment: SegmentV1,
    /// Where the sets of the segment are.
    sets: Places,
    /// Number of full slices reserved so far.
    reserved_full: u64,
    /// Set when the tail is reserved.
    reserved_tail: bool,
    next_slice: u32,
    current: Option<Current>,
    /// The slice that is being filled, of a striped set.
    striped: Option<StripedWriter>,
    in_flight: VecDeque<Writes>,
    /// Counts it as a body until its last write is through.
    counted: Option<BodyCount>,
}

/// The slice that is being filled.
struct Current {
    place: SlicePlace,
    at: SetPlace,
    crcs: Vec<u32>,
    /// Payload bytes that were sent to the device.
    sent: usize,
    buffer: Option<(Buffer, usize)>,
    piece_bytes: usize,
}

impl SliceWriter {
    fn new(core: Rc<CoreState>, shard: u16, length: u64, replaces: (BucketId, Option<Vec<u8>>)) -> Self {
        let segment = SegmentV1 { generation: 0, length, runs: Vec::new() };
        let shape = core.layout.geometry_of(0).shape;
        let counted = core.bodies.begin();
        Self {
            core,
            shard,
            shape,
            replaces,
            segment,
            sets: Places::default(),
            reserved_full: 0,
            reserved_tail: false,
            next_slice: 0,
            current: None,
            striped: None,
            counted: Some(counted),
            in_flight: VecDeque::new(),
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.current.is_none() && self.striped.is_none() {
                self.begin_slice().await?;
            }
            let taken =
                if self.shape.is_striped() { self.fill_rows(bytes).await? } else { self.fill(bytes).await? };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    async fn begin_slice(&mut self) -> Result<()> {
        let number = self.next_slice;
        let place = loop {
            // The tail's run is the last one, and is reserved with the last full slices.
            let reserved = self.shape.slices_of(&self.segment).nth(number as usize);
            match reserved {
                Some(place) => break place,
                None => self.reserve().await?,
            }
        };
        self.next_slice += 1;
        let (piece_bytes, _) = appetite(&self.core.pool);
        let at = self.sets.of(place.extent);
        if self.shape.is_striped() {
            return self.begin_striped(place, at);
        }
        self.current = Some(Current { place, at, crcs: Vec::new(), sent: 0, buffer: None, piece_bytes });
        Ok(())
    }

    /// Reserves the next slices on the owner.
    async fn reserve(&mut self) -> Result<()> {
        let left = self.shape.full_slices(self.segment.length) - self.reserved_full;
        let full = left.min(SLICES_AT_ONCE);
        let with_tail = full == left && !self.reserved_tail && self.shape.tail_units(self.segment.length) > 0;
        assert!(full > 0 || with_tail, "everything is reserved already");
        let needs_generation = self.segment.generation == 0;
        let (bucket, replaces) = self.replaces.clone();
        let length = self.segment.length;
        let wanted = Reservation { bucket, replaces, length, full: full as u32, with_tail, needs_generation };
        let (generation, runs) = match self.core.ask(self.shard, ShardRequest::Reserve(wanted)).await? {
            ShardReply::Reserved { generation, runs, places, .. } => {
                self.sets.merge(&places);
                (generation, runs)
            }
            other => other.mistaken(),
        };
        if needs_generation {
            self.segment.generation = generation;
        }
        self.reserved_full += full;
        self.reserved_tail |= with_tail;
        let joined = coalesce(std::mem::take(&mut self.segment.runs).into_iter().chain(runs));
        self.segment.runs = joined;
        Ok(())
    }

    /// Ends the body at `length`. All slices that were begun must be full ones of such a body.
    /// Frees the slices that it does not need.
    fn shorten(&mut self, length: u64) {
        let begun = u64::from(self.next_slice);
        let before = std::mem::replace(&mut self.segment.length, length);
        assert!(
            length <= before && begun <= self.shape.full_slices(length),
            "a slice was begun that is not full any more"
        );
        if length == before {
            return;
        }
        let (mut kept, mut unused, mut left) = (Vec::new(), Vec::new(), self.next_slice);
        for run in std::mem::take(&mut self.segment.runs) {
            let stays = run.slices.min(left);
            left -= stays;
            if stays > 0 {
                kept.push(RunV1 { slices: stays, ..run });
            }
            match run.slices {
                0 => unused.push(run),
                slices if slices > stays => {
                    let unit = run.unit + stays * UNITS_PER_SLOT;
                    unused.push(RunV1 { extent: run.extent, unit, slices: slices - stays });
                }
                _ => {}
            }
        }
        self.segment.runs = kept;
        (self.reserved_full, self.reserved_tail) = (begun, false);
        if !unused.is_empty() {
            release(&self.core, self.shard, unused, before);
        }
    }

    /// Begins a slice of a striped set.
    ///
    /// # Errors
    /// Returns [`EngineError::Busy`] when so few of the set's drives are here that one more loss would lose the body.
    fn begin_striped(&mut self, place: SlicePlace, at: SetPlace) -> Result<()> {
        let (geometry, drives) = (self.core.layout.geometry_of(0), &self.core.writer_of(self.shard).drives);
        let here = (0..self.shape.members()).filter(|member| drives.member(at, *member).is_some()).count();
        if here <= self.shape.data() {
            return Err(TOO_FEW_DRIVES);
        }
        let (owner, generation) = ((geometry.format_id, self.shard), self.segment.generation);
        let slice =
            StripedSlice { shape: self.shape, owner, place, at, generation, planted: geometry.planted };
        self.striped = Some(StripedWriter::new(slice, self.core.codec().clone()));
        Ok(())
    }

    /// Copies what fits into the current group of a striped slice, and sends the group when it is full. Returns the
    /// bytes that were copied.
    async fn fill_rows(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(striped) = &mut self.striped else { panic!("a slice was begun") };
        let (piece_bytes, depth) = appetite(&self.core.pool);
        if let Some(buffers) = striped.wants(piece_bytes >= PLENTY_BYTES) {
            match buffers.try_take(&self.core.pool) {
                Some(pieces) => striped.begin(pieces, buffers),
                // What is on its way holds buffers, and nobody else waits for it.
                None if !self.in_flight.is_empty() => {
                    self.settle_one().await?;
                    return Ok(0);
                }
                None => {
                    let (pieces, buffers) = one_buffer(&self.core, striped).await?;
                    striped.begin(pieces, buffers);
                }
            }
        }
        let taken = striped.take(bytes);
        if striped.is_full() {
            let (writes, bytes, is_last) = striped.send(self.core.writer_of(self.shard));
            if is_last {
                self.striped = None;
            }
            self.count(bytes);
            self.in_flight.push_back(writes);
            while self.in_flight.len() > depth {
                self.settle_one().await?;
            }
        }
        Ok(taken)
    }

    /// Counts bytes of slices that are written, those of copies and parity apart.
    fn count(&self, bytes: usize) {
        let home = self.core.layout.first_home_of(self.shard);
        let Drive { slice_bytes, .. } = &self.core.drives[usize::from(home)];
        slice_bytes.set(slice_bytes.get() + bytes as u64);
    }

    /// Copies what fits into the current piece, and sends the piece when it is full. Returns the
    /// bytes that were copied.
    async fn fill(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(current) = &mut self.current else { panic!("a slice was begun") };
        let left_in_slice = current.place.length as usize - current.sent;
        let piece = current.piece_bytes.min(left_in_slice);
        if current.buffer.is_none() {
            current.buffer = Some((self.core.buffer(blocks_up(piece)).await?, 0));
        }
        let Some((buffer, filled)) = &mut current.buffer else { panic!("the buffer was just taken") };
        let taken = bytes.len().min(piece - *filled);
        buffer[*filled..*filled + taken].copy_from_slice(&bytes[..taken]);
        *filled += taken;
        if *filled == piece {
            self.send_piece().await?;
        }
        Ok(taken)
    }

    async fn send_piece(&mut self) -> Result<()> {
        let Some(current) = &mut self.current else { panic!("a slice was begun") };
        let Some((mut buffer, filled)) = current.buffer.take() else { panic!("a piece was filled") };
        let padded = blocks_up(filled);
        buffer[filled..padded].fill(0);
        current.crcs.extend(buffer[..filled].chunks(CRC_BLOCK_BYTES).map(crc32c::crc32c));
        let (place, at, within) = (current.place, current.at, BLOCK_BYTES + current.sent);
        current.sent += filled;
        let whole = current.sent == place.length as usize;
        self.send((at, place.offset + within as u32), padded, buffer);
        if whole {
            self.send_header().await;
        }
        let (_, depth) = appetite(&self.core.pool);
        // The write of a header counts together with its piece.
        while self.in_flight.len() > depth {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn send_header(&mut self) {
        let Some(current) = self.current.take() else { panic!("a slice was begun") };
        let owner = (self.core.layout.geometry_of(0).format_id, self.shard);
        let (place, at, crcs) = (current.place, current.at, current.crcs);
        let identity = place.identity(owner, at.birth, self.segment.generation);
        let header = SliceHeaderOnDisk::new(identity, place.length, &crcs);
        let mut buffer = self.core.pool.take_for_step(BLOCK_BYTES).await;
        buffer[..BLOCK_BYTES].copy_from_slice(header.as_bytes());
        self.send((at, place.offset), BLOCK_BYTES, buffer);
    }

    /// Starts a write at an offset of a set.
    fn send(&mut self, (at, offset): (SetPlace, u32), length: usize, buffer: Buffer) {
        self.count(length);
        let writer = self.core.writer_of(self.shard);
        self.in_flight.push_back(writer.write((at, offset), length, buffer, Durability::Deferred));
    }

    async fn settle_one(&mut self) -> Result<()> {
        let Some(write) = self.in_flight.front_mut() else { return Ok(()) };
        let result = write.done().await;
        self.in_flight.pop_front();
        result.map_err(|error| self.stop_shard(&error))
    }

    async fn finish(&mut self) -> Result<SegmentV1> {
        assert!(
            self.current.is_none() && self.striped.is_none(),
            "a body of the announced length ends with a whole slice"
        );
        while !self.in_flight.is_empty() {
            self.settle_one().await?;
        }
        if self.segment.generation == 0 {
            // An empty part has no slices, but it needs a generation.
            self.segment.generation = match self.core.ask(self.shard, ShardRequest::NewSegment).await? {
                ShardReply::Segment(generation) => generation,
                other => other.mistaken(),
            };
        }
        if !self.segment.runs.is_empty() {
            let flushed = self.core.writer_of(self.shard).flush_slices(self.sets.all()).await;
            flushed.map_err(|error| self.stop_shard(&error))?;
        }
        Ok(std::mem::take(&mut self.segment))
    }

    /// Stops the shard's writing after a failed write (law 3), and returns the error for the
    /// caller.
    fn stop_shard(&self, error: &DeviceError) -> EngineError {
        let shard = self.shard;
        tracing::error!(shard, %error, "a write of object data failed; this shard writes no more until restart");
        self.core.tell(shard, ShardRequest::StopWriting(error.clone()));
        EngineError::WritesStopped { shard }
    }
}

/// Waits for the only buffer that a group with short pieces needs.
async fn one_buffer(core: &CoreState, striped: &StripedWriter) -> Result<(Vec<Buffer>, GroupBuffers)> {
    reached(Rare::GroupShortened);
    let Some(buffers) = striped.wants(false) else { panic!("a group is wanted") };
    let Some(length) = buffers.only() else { panic!("{buffers:?} are one buffer") };
    Ok((buffers.pieces_of(core.buffer(length).await?), buffers))
}

/// Writes the table of the parts of an object that is about to be completed. It is durable, and
/// belongs to nobody, when this returns.
///
/// # Errors
/// Returns an error when there is no space or the device fails.
pub(super) async fn write_table(
    core: &Rc<CoreState>,
    bucket: BucketId,
    key: &[u8],
    parts: Vec<PartV1>,
) -> Result<PartsTable> {
    let bytes = encode_table(&parts);
    let shard = core.layout.shard_of_key(bucket, key);
    let replaces = (bucket, Some(key.to_vec()));
    let mut writer = SliceWriter::new(core.clone(), shard, bytes.len() as u64, replaces);
    writer.write(&bytes).await?;
    Ok(PartsTable { parts, segment: writer.finish().await? })
}

impl Drop for SliceWriter {
    fn drop(&mut self) {
        let segment = std::mem::take(&mut self.segment);
        if segment.runs.is_empty() {
            return;
        }
        let (core, shard) = (self.core.clone(), self.shard);
        let in_flight = std::mem::take(&mut self.in_flight);
        let counted = self.counted.take();
        self.core.environment.spawn(Box::pin(async move {
            let _counted = counted;
            for mut write in in_flight {
                let _ = write.done().await;
            }
            release(&core, shard, segment.runs, segment.length);
        }));
    }
}

fn release(core: &Rc<CoreState>, shard: u16, runs: Vec<RunV1>, length: u64) {
    core.tell(shard, ShardRequest::Release { runs, length });
}
