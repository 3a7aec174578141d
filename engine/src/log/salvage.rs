//! Salvage: a replay that continues behind a damaged batch. `ringbolt check` and its repair use it;
//! a server never does.
//!
//! Invariants:
//! - Nothing is accepted that its own checksum does not cover: a record of a damaged batch needs
//!   the record's checksum, a later batch the batch's. Places follow from lengths that add up to
//!   the whole batch. Bodies are never searched for records, because a client may have stored bytes
//!   that look like some.
//! - Everything that is skipped is reported.

use zerocopy::FromBytes;

use super::replay::{HEADS_AT_ONCE, Replay, ReplayError};
use super::{LogPosition, RecordPlace};
use crate::extent::sets::KIND_LOG;
use crate::extent::{Members, SetPlace};
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES};
use crate::format::record::{
    ENVELOPE_BYTES, LogExtentV1, Mutation, RECORD_ALIGNMENT, RecordEnvelopeOnDisk, RecordView,
};
use crate::format::{BLOCK_BYTES, FormatDamage};

/// The [`Mutation::kind`] of the record that names the next set.
const LOG_EXTENT_KIND: u8 = 8;

/// A record of a damaged batch.
enum Salvaged {
    Whole(Mutation, RecordPlace),
    Lost { offset: u32, object: Option<(u32, Vec<u8>)>, names_next: bool },
}

/// The result of the attempt to salvage a damaged batch.
enum Passed {
    /// Its sound records are applied, and the log continues behind it.
    On,
    /// Its sound records are applied, but the record that names the next extent is lost.
    NextUnnamed,
    Nothing,
}

impl Replay<'_> {
    /// Continues where the log is damaged: applies the sound records of the damaged batch, or moves
    /// to the next valid batch. Returns false when there is none.
    pub(super) async fn pass_damage(
        &mut self,
        apply: &mut impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<bool, ReplayError> {
        let in_set = match self.salvage_batch(apply).await? {
            Passed::On => return Ok(true),
            Passed::NextUnnamed => None,
            Passed::Nothing => self.next_in_set().await?,
        };
        if in_set.is_none() && self.follow_later_copy(apply).await? {
            return Ok(true);
        }
        let found = match in_set {
            Some(found) => Some(found),
            None => self.next_set().await?,
        };
        let Some((set, offset, header)) = found else { return Ok(false) };
        let (from, to) = (self.position.sequence, header.sequence.get());
        if to > from {
            self.report(ReplayError::LostBatches { from, to, extent: self.position.set.extent() });
        }
        if set != self.position.set {
            // This is what the lost batch said.
            let where_it_is = Mutation::SetPut(set.to_disk(KIND_LOG));
            let log_number = header.log_number.get();
            let goes_on = Mutation::LogExtent(LogExtentV1 { extent: set.set, log_number });
            let LogPosition { set: old, offset, sequence, .. } = self.position;
            let place = RecordPlace { extent: old.set, offset, length: 0, sequence, moved: false };
            let extent = old.extent();
            let refused = |damage| ReplayError::Record { sequence, extent, damage };
            apply(where_it_is, place).map_err(refused)?;
            apply(goes_on, place).map_err(refused)?;
        }
        self.position = LogPosition {
            set,
            log_number: header.log_number.get(),
            offset,
            sequence: to,
            previous_crc: header.previous_crc.get(),
        };
        Ok(true)
    }

    /// Continues from the copy of a batch that began a life in this extent, when that batch and all
    /// before it are lost.
    async fn follow_later_copy(
        &mut self,
        apply: &mut impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<bool, ReplayError> {
        let LogPosition { set, log_number, offset, sequence, .. } = self.position;
        let later = |header: &BatchHeaderOnDisk| {
            let at = header.offset.get();
            let place = at >= offset && at < self.geometry.last_block() && header.is_at(set.identity(), at);
            self.is_later(header) && header.log_number.get() == log_number && place
        };
        let Some((block, header)) = self.copy_in_extent().await?.filter(|(_, header)| later(header)) else {
            return Ok(false);
        };
        let before = self.position;
        let to = header.sequence.get();
        self.position = LogPosition {
            offset: header.offset.get(),
            sequence: to,
            previous_crc: header.previous_crc.get(),
            ..before
        };
        if !self.take_copy(&block, header, apply)? {
            self.position = before;
            return Ok(false);
        }
        if to > sequence {
            self.report(ReplayError::LostBatches { from: sequence, to, extent: set.extent() });
        }
        Ok(true)
    }

    fn report(&self, error: ReplayError) {
        if let Some(found) = self.salvage {
            found.borrow_mut().push(error);
        }
    }

    /// Applies the sound records of the damaged batch at the position, if the lengths in its header
    /// and records add up.
    async fn salvage_batch(
        &mut self,
        apply: &mut impl FnMut(Mutation, RecordPlace) -> Result<(), FormatDamage>,
    ) -> Result<Passed, ReplayError> {
        let before = self.position;
        let room = (self.geometry.extent_bytes - before.offset) as usize;
        if room == 0 {
            return Ok(Passed::Nothing);
        }
        let window = room.min(BATCH_BYTES_MAX);
        let bytes = self.read_at(before.set, before.offset, window).await?;
        let own = |header: &BatchHeaderOnDisk| {
            let end = header.offset.get().checked_add(header.length.get());
            self.expects(header) && end.is_some()
        };
        let Some(header) = BatchHeaderOnDisk::peek(&bytes).filter(own) else {
            return Ok(Passed::Nothing);
        };
        let Some(records) = walk(bytes[..window].get(..header.length.get() as usize), &header, before) else {
            return Ok(Passed::Nothing);
        };
        let mut passed = Passed::On;
        let (sequence, extent) = (before.sequence, before.set.extent());
        let refused = |damage| ReplayError::Record { sequence, extent, damage };
        self.position.offset += header.padded_bytes() as u32;
        self.position.sequence += 1;
        self.position.previous_crc = header.crc.get();
        for record in records {
            match record {
                Salvaged::Whole(Mutation::LogExtent(next), place) => {
                    let LogExtentV1 { extent: set, log_number } = next;
                    // Where the record of the set is lost, the set is found by its log extent number.
                    let Some(set) = self.said.take().filter(|said| said.set == set) else {
                        passed = Passed::NextUnnamed;
                        continue;
                    };
                    apply(Mutation::LogExtent(next), place).map_err(refused)?;
                    self.position = LogPosition { set, log_number, offset: 0, ..self.position };
                }
                Salvaged::Whole(mutation, place) => {
                    self.note_set(&mutation).map_err(refused)?;
                    apply(mutation, place).map_err(refused)?;
                }
                // The set that it named is found by its log extent number.
                Salvaged::Lost { names_next: true, .. } => passed = Passed::NextUnnamed,
                Salvaged::Lost { offset, object, .. } => {
                    self.report(ReplayError::LostRecord { extent: before.set.extent(), offset, object });
                }
            }
        }
        Ok(passed)
    }

    fn is_later(&self, header: &BatchHeaderOnDisk) -> bool {
        self.is_ours(header) && header.sequence.get() >= self.position.sequence
    }

    /// Returns the next valid batch in the rest of the set.
    async fn next_in_set(&self) -> Result<Option<(SetPlace, u32, BatchHeaderOnDisk)>, ReplayError> {
        let LogPosition { set, log_number, .. } = self.position;
        let mut offset = self.position.offset + BLOCK_BYTES as u32;
        while offset < self.geometry.extent_bytes {
            let window = ((self.geometry.extent_bytes - offset) as usize).min(BATCH_BYTES_MAX);
            let bytes = self.read_at(set, offset, window).await?;
            for at in (0..window).step_by(BLOCK_BYTES) {
                let later = |header: &BatchHeaderOnDisk| {
                    let own = header.is_at(set.identity(), offset + at as u32);
                    self.is_later(header) && header.log_number.get() == log_number && own
                };
                let place = offset + at as u32;
                if BatchHeaderOnDisk::peek(&bytes[at..]).is_some_and(|header| later(&header))
                    && let Some(header) =
                        self.whole_batch(self.drives.copy(set, self.home).extent, place).await?.filter(later)
                {
                    return Ok(Some((set, place, header)));
                }
            }
            offset += window as u32;
        }
        Ok(None)
    }

    /// Returns the first batch of the set in which the log continued: the one with the smallest
    /// greater log extent number. Its header says which set it is.
    async fn next_set(&self) -> Result<Option<(SetPlace, u32, BatchHeaderOnDisk)>, ReplayError> {
        let mut heads = Vec::new();
        let home = &self.drives.get(self.home).geometry;
        let extents: Vec<u32> = (0..home.extents).collect();
        for group in extents.chunks(HEADS_AT_ONCE) {
            let reads = group.iter().map(|&extent| self.read_extent(self.home, extent, 0, BLOCK_BYTES));
            for (&extent, head) in group.iter().zip(futures_util::future::join_all(reads).await) {
                let later = |header: &BatchHeaderOnDisk| {
                    let first = header.offset.get() == 0;
                    self.is_later(header) && header.log_number.get() > self.position.log_number && first
                };
                heads.extend(
                    BatchHeaderOnDisk::peek(&head?)
                        .filter(later)
                        .map(|header| (header.log_number.get(), extent)),
                );
            }
        }
        heads.sort_unstable();
        for (log_number, extent) in heads {
            let header = self.whole_batch(extent, 0).await?;
            let same = |header: &BatchHeaderOnDisk| {
                self.is_later(header) && (header.log_number.get(), header.offset.get()) == (log_number, 0)
            };
            if let Some(header) = header.filter(same) {
                let (set, birth) = (header.set.get(), header.birth.get());
                let members = Members::one(home.drive, extent);
                return Ok(Some((SetPlace { set, birth, members }, 0, header)));
            }
        }
        Ok(None)
    }

    async fn whole_batch(&self, extent: u32, offset: u32) -> Result<Option<BatchHeaderOnDisk>, ReplayError> {
        let window = ((self.geometry.extent_bytes - offset) as usize).min(BATCH_BYTES_MAX);
        let bytes = self.read_extent(self.home, extent, offset, window).await?;
        Ok(BatchHeaderOnDisk::parse(&bytes[..window]).ok())
    }
}

/// Returns the records of a batch whose own checksum does not match. Returns `None` unless their
/// lengths lead from the header to the end, and their count is that of the header.
fn walk(batch: Option<&[u8]>, header: &BatchHeaderOnDisk, before: LogPosition) -> Option<Vec<Salvaged>> {
    let batch = batch?;
    let (mut at, mut records) = (HEADER_BYTES, Vec::new());
    while at < batch.len() {
        let bytes = &batch[at..];
        let offset = before.offset + at as u32;
        let (envelope, _) = RecordEnvelopeOnDisk::read_from_prefix(bytes).ok()?;
        let length = ENVELOPE_BYTES
            .checked_add(envelope.meta_length.get() as usize)?
            .checked_add(envelope.data_length.get() as usize)?;
        let view = RecordView::parse(bytes, header.record_mark(at));
        let whole = view.ok().and_then(|view| Some((view.mutation().ok()?, view)));
        records.push(match whole {
            Some((mutation, view)) => {
                let place = RecordPlace {
                    extent: before.set.set,
                    offset,
                    length: length as u32,
                    sequence: before.sequence,
                    moved: view.is_moved(),
                };
                Salvaged::Whole(mutation, place)
            }
            None => Salvaged::Lost {
                offset,
                object: probable_object(bytes),
                names_next: envelope.kind == LOG_EXTENT_KIND,
            },
        });
        at = at.checked_add(length.next_multiple_of(RECORD_ALIGNMENT))?;
    }
    (at == batch.len() && records.len() == header.records.get() as usize).then_some(records)
}

/// Returns the bucket and key that a damaged record seems to be about, if its payload can still be
/// decoded.
pub(crate) fn probable_object(record: &[u8]) -> Option<(u32, Vec<u8>)> {
    let (envelope, rest) = RecordEnvelopeOnDisk::read_from_prefix(record).ok()?;
    let meta = rest.get(..envelope.meta_length.get() as usize)?;
    match Mutation::decode(envelope.kind, envelope.version, meta).ok()? {
        Mutation::Put(put) => Some((put.bucket, put.key)),
        Mutation::Delete(delete) => Some((delete.bucket, delete.key)),
        Mutation::Meta(meta) => Some((meta.bucket, meta.key)),
        Mutation::UploadCreate(upload) => Some((upload.bucket, upload.key)),
        Mutation::UploadPart(part) => Some((part.bucket, part.key)),
        Mutation::UploadAbort(abort) => Some((abort.bucket, abort.key)),
        Mutation::BucketPut(_)
        | Mutation::BucketDelete(_)
        | Mutation::BucketConfig(_)
        | Mutation::LogExtent(_)
        | Mutation::SetPut(_)
        | Mutation::Clock(_)
        | Mutation::NodeRecords(_) => None,
    }
}
