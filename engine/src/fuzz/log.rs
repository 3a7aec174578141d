//! The fuzz target for a log that a shard recovers from.

use zerocopy::FromBytes;

use super::drive::{EXTENT_BYTES, FORMAT_ID, FuzzDrive, SHARD};
use super::seal_record;
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES, MAGIC, VERSION, record_mark};
use crate::format::superblock::{ROOT_LOG, ShardRootOnDisk};
use crate::format::{BLOCK_BYTES, Le16, Le32, Le64};

/// Recovers a shard from a log made of `input`. Bit 0 of the first byte seals every record. Bit 1
/// seals every batch and makes it continue the one before. Bit 2 puts the second half of the input
/// into another extent, as a log does that has moved on.
pub fn log(input: &[u8]) {
    let Some((&flags, rest)) = input.split_first() else { return };
    let two_extents = flags & 4 != 0;
    let half = if two_extents { rest.len() / 2 } else { rest.len() };
    let (first, second) = rest.split_at(half);
    let drive = FuzzDrive::default();
    let mut chain = Chain { sequence: 1, previous_crc: 0 };
    for (extent, part) in [first, second].into_iter().enumerate() {
        let mut bytes = part.to_vec();
        bytes.truncate(EXTENT_BYTES as usize);
        if flags & 2 != 0 {
            chain.seal(&mut bytes, extent as u32, flags & 1 != 0);
        }
        drive.put(extent as u32, 0, &bytes);
    }
    let mut root = ShardRootOnDisk { kind: Le16::new(ROOT_LOG), ..ShardRootOnDisk::default() };
    (root.sequence, root.birth) = (Le64::new(1), Le64::new(BIRTH));
    drive.recover(root);
}

/// Birth of the sets of the fuzzed log. Their numbers are those of their extents.
const BIRTH: u64 = 1;

struct Chain {
    sequence: u64,
    previous_crc: u32,
}

impl Chain {
    /// Makes a chain of batches of what is in `bytes`, as far as lengths allow.
    fn seal(&mut self, bytes: &mut Vec<u8>, extent: u32, records: bool) {
        let log_number = u64::from(extent) + 1;
        let mut at = 0;
        while at + HEADER_BYTES <= bytes.len() {
            let room = (bytes.len() - at).min(BATCH_BYTES_MAX);
            let Ok((header, _)) = BatchHeaderOnDisk::read_from_prefix(&bytes[at..]) else { return };
            let length = (header.length.get() as usize % (2 * BLOCK_BYTES)).clamp(HEADER_BYTES, room);
            let batch = &mut bytes[at..at + length];
            if records {
                let mut place = HEADER_BYTES;
                for _ in 0..header.records.get().min(64) {
                    let mark = record_mark((FORMAT_ID, SHARD), BIRTH, log_number, (at + place) as u32);
                    place += seal_record(&mut batch[place..], mark);
                }
            }
            let sealed = BatchHeaderOnDisk {
                magic: MAGIC,
                length: Le32::new(length as u32),
                shard: Le16::new(SHARD),
                sequence: Le64::new(self.sequence),
                previous_crc: Le32::new(self.previous_crc),
                version: Le16::new(VERSION),
                format: Le64::new(FORMAT_ID),
                log_number: Le64::new(log_number),
                birth: Le64::new(BIRTH),
                set: Le32::new(extent),
                offset: Le32::new(at as u32),
                key_id: Le32::new(0),
                tag: [0; 16],
                ..header
            };
            self.previous_crc = sealed.seal_into(batch);
            self.sequence += 1;
            let padded = at + length.next_multiple_of(BLOCK_BYTES);
            // An input should be more than padding, so what follows a batch moves to the next
            // block.
            let moved = bytes.split_off(at + length);
            bytes.resize(padded, 0);
            bytes.extend_from_slice(&moved);
            at = padded;
        }
    }
}
