//! The group commit: one task per shard that turns what waits into batches.
//!
//! Invariants (law 1): (1) the batch is written; (2) it is durable, by a synchronous write or by a flush that
//! started after the write; (3) the index changes, record by record in order; (4) those who wait are told.
//!
//! Each place of the log holds users' records once. A place is (log extent number, offset); the position where a life
//! of the node begins may hold a torn batch of the life before. So the first batch of a life, written once it has a
//! first record, only names another extent, where the records go: [`begin`].

use std::collections::VecDeque;
use std::rc::Rc;

use super::queue::Pending;
use super::{LogPosition, RecordPlace, first_lap};
use crate::device::{DeviceError, Durability};
use crate::extent::keeper::Taken;
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES, MAGIC};
use crate::format::record::{EncodedRecord, LogExtentV1, Mutation};
use crate::format::{BLOCK_BYTES, Le16, Le32, Le64, blocks_up};
use crate::hook::{Bug, Rare, reached};
use crate::ring::Buffer;
use crate::shard::Shard;
use crate::sync::oneshot;

/// Largest record that fits a batch.
pub const RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX - HEADER_BYTES - 8;

/// A life that began on a full drive and lasts as long is not cut off like the ones before it, microseconds.
const TIGHT_US: u64 = 10_000_000;
/// Bytes of the cleaner's copies in a batch: those who wait for the next one wait that much longer.
const COPIES_BYTES_MAX: usize = 256 << 10;

/// Runs until the shard stops. Spawned once per shard.
pub async fn run(shard: Rc<Shard>) {
    loop {
        let mark = shard.log.work.mark();
        if shard.log.is_idle() {
            if shard.log.stopped.get() {
                return;
            }
            shard.log.work.after(mark).await;
            continue;
        }
        if let Err(error) = write_next(&shard).await {
            tracing::error!(shard = shard.id, %error, "a write to the log failed; no more writes until restart");
            shard.stop_writing(&error);
        }
    }
}

async fn write_next(shard: &Rc<Shard>) -> Result<(), DeviceError> {
    if !shard.log.begun.get() && shard.log.has_records() {
        return begin(shard).await;
    }
    let position = shard.log.position.get();
    let room = shard.geometry.extent_bytes as usize - BLOCK_BYTES - position.offset as usize;
    // Barriers need none.
    let room = if shard.log.begun.get() { room.min(BATCH_BYTES_MAX) } else { BATCH_BYTES_MAX };
    let batch = collect(shard, room);
    if batch.is_empty() {
        return roll(shard).await;
    }
    let written = write_batch(shard, position, &batch, None).await?;
    shard.log.since_checkpoint.set(shard.log.since_checkpoint.get() + u64::from(written.written));
    apply(shard, batch, &written.offsets, position);
    shard.log.progress.raise();
    shard.after_batch();
    Ok(())
}

/// Takes as many waiting records as fit into `room` bytes with the header, in order, and behind them copies of the
/// cleaner, which find some room in every batch: users who fill all of them wait for what the cleaner frees.
fn collect(shard: &Shard, room: usize) -> Vec<Pending> {
    let log = &shard.log;
    let (mut waiting, mut copies) = (log.waiting.borrow_mut(), log.copies.borrow_mut());
    let for_copies = if copies.is_empty() { 0 } else { COPIES_BYTES_MAX };
    let (mut batch, mut total) = (Vec::new(), HEADER_BYTES);
    take_fitting(&mut waiting, &mut batch, &mut total, room.min(BATCH_BYTES_MAX - for_copies), room);
    log.queued_bytes.set(log.queued_bytes.get() + HEADER_BYTES - total);
    if waiting.is_empty() || !batch.is_empty() {
        let most = room.min(total + for_copies);
        take_fitting(&mut copies, &mut batch, &mut total, most, room);
    }
    log.writing_bytes.set(if total == HEADER_BYTES { 0 } else { blocks_up(total) });
    batch
}

/// The first record of a batch may go beyond `most`, up to `room`: it may be longer than that.
fn take_fitting(
    from: &mut VecDeque<Pending>,
    batch: &mut Vec<Pending>,
    total: &mut usize,
    most: usize,
    room: usize,
) {
    while let Some(next) = from.front() {
        let bytes = next.padded_bytes();
        if *total + bytes > if batch.is_empty() { room } else { most } {
            break;
        }
        *total += bytes;
        batch.extend(from.pop_front());
    }
}

struct Written {
    offsets: Vec<u32>,
    written: u32,
}

/// Writes one batch at `position` and makes it durable, a copy of it at byte `copy` of the extent before that if one is
/// wanted; moves the position behind it.
async fn write_batch(
    shard: &Rc<Shard>,
    position: LogPosition,
    batch: &[Pending],
    copy: Option<u32>,
) -> Result<Written, DeviceError> {
    let length = HEADER_BYTES + batch.iter().map(Pending::padded_bytes).sum::<usize>();
    if length == HEADER_BYTES {
        // Barriers only: everything before them is durable already.
        return Ok(Written { offsets: vec![position.offset; batch.len()], written: 0 });
    }
    let padded = blocks_up(length);
    let mut buffer = shard.pool.take_for_log(padded).await;
    let offsets = fill(shard, &mut buffer[..padded], batch, position);
    let header = BatchHeaderOnDisk {
        magic: MAGIC,
        crc: Le32::new(0),
        length: Le32::new(length as u32),
        shard: Le16::new(shard.id),
        version: Le16::new(2),
        records: Le32::new(batch.iter().filter(|pending| pending.mutation.is_some()).count() as u32),
        sequence: Le64::new(position.sequence),
        epoch: Le32::new(shard.geometry.epoch),
        previous_crc: Le32::new(position.previous_crc),
        durable_sequence: Le64::new(position.sequence - 1),
        drive: Le64::new(shard.geometry.drive_id),
        lap: Le64::new(position.lap),
        extent: Le32::new(position.extent),
        offset: Le32::new(position.offset),
        reserved: [0; 24],
    };
    let crc = header.seal_into(&mut buffer[..padded]);
    if let Some(offset) = copy {
        let mut twin = shard.pool.take_for_log(padded).await;
        twin[..padded].copy_from_slice(&buffer[..padded]);
        write_durably(shard, LogPosition { offset, ..position }, padded, twin).await?;
    }
    write_durably(shard, position, padded, buffer).await?;
    shard.log.writing_bytes.set(0);
    shard.log.position.set(LogPosition {
        offset: position.offset + padded as u32,
        sequence: position.sequence + 1,
        previous_crc: crc,
        ..position
    });
    shard.state.borrow_mut().logs.wrote(position.extent, position.offset + padded as u32);
    Ok(Written { offsets, written: padded as u32 })
}

async fn write_durably(
    shard: &Shard,
    position: LogPosition,
    length: usize,
    buffer: Buffer,
) -> Result<(), DeviceError> {
    let offset = shard.geometry.byte(position.extent, position.offset);
    // Alone, a synchronous write is one round trip; while others flush anyway, joining them is cheaper for all.
    let together = shard.flush.busy();
    let durability = if together { Durability::Deferred } else { Durability::Immediate };
    let skips_flush = shard.geometry.planted.is(Bug::SkipFlush);
    let durability = if skips_flush { Durability::Deferred } else { durability };
    let writing = shard.device.write(offset, length, buffer, durability);
    if shard.geometry.planted.is(Bug::AcknowledgeBeforeCommit) {
        shard.environment.spawn(Box::pin(async move { drop(writing.await) }));
        return Ok(());
    }
    writing.await.0?;
    if together && !skips_flush {
        shard.flush.flush().await?;
    }
    shard.log.count(|counters| {
        counters.batches += 1;
        counters.synchronous_writes += u64::from(!together);
        counters.bytes += length as u64;
    });
    Ok(())
}

/// Copies the records behind the header, each with the mark of its place; gives each one's offset in the extent. Clears
/// the padding: the buffer held other bytes before.
fn fill(shard: &Shard, buffer: &mut [u8], batch: &[Pending], position: LogPosition) -> Vec<u32> {
    let mut at = HEADER_BYTES;
    let mut offsets = Vec::with_capacity(batch.len());
    for pending in batch {
        let offset = position.offset + at as u32;
        offsets.push(offset);
        if pending.mutation.is_none() {
            continue;
        }
        let mark = shard.geometry.record_mark(shard.id, position.lap, offset);
        pending.record.place(&mut buffer[at..], mark);
        let end = at + pending.padded_bytes();
        buffer[at + pending.record.length()..end].fill(0);
        at = end;
    }
    buffer[at..].fill(0);
    offsets
}

fn apply(shard: &Rc<Shard>, batch: Vec<Pending>, offsets: &[u32], position: LogPosition) {
    for (pending, &offset) in batch.into_iter().zip(offsets) {
        let place = RecordPlace {
            extent: position.extent,
            offset,
            length: pending.record.length() as u32,
            sequence: position.sequence,
            moved: pending.moved,
        };
        if let Some(mutation) = &pending.mutation {
            count(shard, mutation, &place, pending.relocates);
            shard.apply(mutation, place);
        }
        pending.reserved.iter().for_each(|segment| shard.keep(segment));
        drop(pending.guard);
        pending.reply.send(Ok(place));
    }
}

fn count(shard: &Shard, mutation: &Mutation, place: &RecordPlace, relocates: bool) {
    shard.log.count(|counters| {
        counters.records += 1;
        match mutation {
            Mutation::Put(_) if place.moved => counters.moved_bytes += u64::from(place.length),
            Mutation::Put(_) if relocates => {}
            // The bytes of a completed upload came as parts.
            Mutation::Put(put) if put.upload.is_none() => counters.user_bytes += put.size,
            Mutation::UploadPart(part) => counters.user_bytes += part.part.segment.length,
            _ => {}
        }
    });
}

/// Goes on to the next extent: its name is the last record of this one.
async fn roll(shard: &Rc<Shard>) -> Result<(), DeviceError> {
    let Some((Taken { extent, held_back, .. }, lap)) = next_extent(shard).await else { return Ok(()) };
    if !held_back {
        shard.log.began_short.set(false);
        shard.log.tight_until_us.set(0);
    }
    if shard.log.failed.get() {
        return Ok(());
    }
    write_batch(shard, shard.log.position.get(), &[names(extent, lap)], None).await?;
    go_on_in(shard, extent, lap);
    Ok(())
}

/// The first batch of a life: it names the extent where this life's records go. Behind it nothing follows in this
/// extent that would tell of its loss, so the same bytes stand in the extent's last block too, which is kept for such
/// batches: recovery goes on from whichever is whole. Where the position is close to the end already, recovery looks
/// for the log in all extents, as behind every batch that names one. The superblock says, before anything of this life
/// is acknowledged, that the log was begun: if both are lost one day, the shard does not open without the lives since.
async fn begin(shard: &Rc<Shard>) -> Result<(), DeviceError> {
    let Some((mut taken, mut lap)) = next_extent(shard).await else { return Ok(()) };
    // On a full drive life after life may begin and be cut off, each in an extent of those held back. A checkpoint lets
    // go of what the lives before took; it comes first, as it may need the extent itself.
    let gains = taken.tight || shard.state.borrow().logs.empty() > 0;
    if taken.held_back && gains || shard.log.by_copy.take() {
        shard.give_extents(vec![taken.extent]);
        if let Err(error) = shard.checkpoint().await {
            tracing::warn!(shard = shard.id, %error, "no checkpoint before the first record of a life");
        }
        if shard.log.failed.get() {
            return Ok(());
        }
        let Some(again) = next_extent(shard).await else { return Ok(()) };
        (taken, lap) = again;
    }
    let Taken { extent, held_back, tight } = taken;
    reached(if held_back { Rare::LifeBegunShort } else { Rare::LifeBegun });
    shard.log.began_short.set(held_back);
    if tight {
        shard.log.tight_until_us.set(shard.environment.monotonic_us() + TIGHT_US);
    }
    let position = shard.log.position.get();
    let last_block = shard.geometry.last_block();
    if shard.log.failed.get() {
        return Ok(());
    }
    let copy = (position.offset + BATCH_BYTES_MAX as u32 <= last_block).then_some(last_block);
    write_batch(shard, position, &[names(extent, lap)], copy).await?;
    go_on_in(shard, extent, lap);
    if let Ok(core) = shard.core() {
        core.note_log_begun(shard.drive, shard.id).await?;
    }
    shard.log.begun.set(true);
    Ok(())
}

/// The extent where the log goes on, and its number; None when there is none, and all that waits was refused.
async fn next_extent(shard: &Rc<Shard>) -> Option<(Taken, u64)> {
    shard.log.writing_bytes.set(0);
    let spare = shard.log.spares.borrow_mut().pop_front();
    let next = match spare {
        Some(spare) => Some(spare),
        None => shard.take_extent_or_checkpoint().await,
    };
    let Some(taken) = next else {
        // Cannot happen while the keeper holds enough back; refuse rather than stop the shard.
        shard.refuse_waiting();
        return None;
    };
    shard.log.borrowed.set(taken.held_back);
    // Greater than any that another life gave, also one of which nothing is known any more.
    let lap = (shard.log.position.get().lap + 1).max(first_lap(shard.geometry.epoch));
    Some((taken, lap))
}

fn names(extent: u32, lap: u64) -> Pending {
    let mutation = Mutation::LogExtent(LogExtentV1 { extent, lap });
    let record = EncodedRecord::new(&mutation, lap, 0, Vec::new());
    let (reply, _) = oneshot::channel();
    Pending {
        mutation: Some(mutation),
        record,
        moved: false,
        relocates: false,
        guard: None,
        reserved: Vec::new(),
        reply,
    }
}

fn go_on_in(shard: &Shard, extent: u32, lap: u64) {
    let behind = shard.log.position.get();
    reached(Rare::LogRolled);
    shard.state.borrow_mut().logs.add(extent, lap, 0);
    shard.log.position.set(LogPosition { extent, lap, offset: 0, ..behind });
}
