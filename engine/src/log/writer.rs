//! The group commit: one task per shard that turns what waits into batches.
//!
//! Invariants (law 1): (1) the batch is written; (2) it is durable, by a synchronous write or by a flush that
//! started after the write; (3) the index changes, record by record in order; (4) those who wait are told.

use std::collections::VecDeque;
use std::rc::Rc;

use super::queue::Pending;
use super::{LogPosition, RecordPlace};
use crate::device::{DeviceError, Durability};
use crate::extent::keeper::Taken;
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES, MAGIC};
use crate::format::record::{EncodedRecord, LogExtentV1, Mutation};
use crate::format::{BLOCK_BYTES, Le16, Le32, Le64, blocks_up};
use crate::ring::Buffer;
use crate::shard::Shard;
use crate::sim::Bug;
use crate::sync::oneshot;

/// Largest record that fits a batch.
pub const RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX - HEADER_BYTES - 8;

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
    let position = shard.log.position.get();
    let room = shard.geometry.extent_bytes as usize - BLOCK_BYTES - position.offset as usize;
    let batch = collect(shard, room.min(BATCH_BYTES_MAX));
    if batch.is_empty() {
        return roll(shard).await;
    }
    let written = write_batch(shard, position, &batch).await?;
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

/// Writes one batch at `position` and makes it durable; moves the position behind it.
async fn write_batch(
    shard: &Rc<Shard>,
    position: LogPosition,
    batch: &[Pending],
) -> Result<Written, DeviceError> {
    let length = HEADER_BYTES + batch.iter().map(Pending::padded_bytes).sum::<usize>();
    if length == HEADER_BYTES {
        // Barriers only: everything before them is durable already.
        return Ok(Written { offsets: vec![position.offset; batch.len()], written: 0 });
    }
    let padded = blocks_up(length);
    let mut buffer = shard.pool.take_reserved(padded).await;
    let offsets = fill(&mut buffer[..padded], batch, position.offset);
    let header = BatchHeaderOnDisk {
        magic: MAGIC,
        crc: Le32::new(0),
        length: Le32::new(length as u32),
        shard: Le16::new(shard.id),
        version: Le16::new(1),
        records: Le32::new(batch.iter().filter(|pending| pending.mutation.is_some()).count() as u32),
        sequence: Le64::new(position.sequence),
        epoch: Le32::new(shard.geometry.epoch),
        previous_crc: Le32::new(position.previous_crc),
        durable_sequence: Le64::new(position.sequence - 1),
        drive: Le64::new(shard.geometry.drive_id),
        lap: Le64::new(position.lap),
    };
    let crc = header.seal_into(&mut buffer[..padded]);
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
    if shard.geometry.planted.is(Bug::SkipFlush) {
        return shard.device.write(offset, length, buffer, Durability::Deferred).await.0;
    }
    let writing = shard.device.write(offset, length, buffer, durability);
    if shard.geometry.planted.is(Bug::AcknowledgeBeforeCommit) {
        shard.environment.spawn(Box::pin(async move { drop(writing.await) }));
        return Ok(());
    }
    writing.await.0?;
    if together {
        shard.flush.flush().await?;
    }
    shard.log.count(|counters| {
        counters.batches += 1;
        counters.synchronous_writes += u64::from(!together);
        counters.bytes += length as u64;
    });
    Ok(())
}

/// Copies the records behind the header; gives each one's offset in the extent. Clears the padding: the buffer
/// held other bytes before.
fn fill(buffer: &mut [u8], batch: &[Pending], start: u32) -> Vec<u32> {
    let mut at = HEADER_BYTES;
    let mut offsets = Vec::with_capacity(batch.len());
    for pending in batch {
        offsets.push(start + at as u32);
        if pending.mutation.is_none() {
            continue;
        }
        let (head, data) = (&pending.record.head, &pending.record.data);
        buffer[at..at + head.len()].copy_from_slice(head);
        buffer[at + head.len()..at + head.len() + data.len()].copy_from_slice(data);
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
    shard.log.writing_bytes.set(0);
    let spare = shard.log.spares.borrow_mut().pop_front();
    let next = match spare {
        Some(extent) => Some(Taken { extent, held_back: false }),
        None => shard.take_extent_or_checkpoint().await,
    };
    let Some(Taken { extent, held_back }) = next else {
        // Cannot happen while the keeper holds enough back; refuse rather than stop the shard.
        shard.refuse_waiting();
        return Ok(());
    };
    shard.log.borrowed.set(held_back);
    let position = shard.log.position.get();
    let lap = position.lap + 1;
    let mutation = Mutation::LogExtent(LogExtentV1 { extent, lap });
    let record = EncodedRecord::new(&mutation, lap, 0, Vec::new());
    let (reply, _) = oneshot::channel();
    let pending = Pending {
        mutation: Some(mutation),
        record,
        moved: false,
        relocates: false,
        guard: None,
        reserved: Vec::new(),
        reply,
    };
    write_batch(shard, position, &[pending]).await?;
    let behind = shard.log.position.get();
    shard.state.borrow_mut().logs.add(extent, lap, 0);
    shard.log.position.set(LogPosition { extent, lap, offset: 0, ..behind });
    Ok(())
}
