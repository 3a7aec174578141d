//! The fuzz target for a checkpoint that a shard recovers from.

use super::drive::{EXTENT_BYTES, FORMAT_ID, FuzzDrive, SHARD};
use crate::format::checkpoint::{
    CheckpointChunkOnDisk, CheckpointRootV1, ChunkIdentity, ChunkListV1, ChunkPlaceV1, HEADER_BYTES,
    KIND_BUCKETS, KIND_CLOCK, KIND_LEAVES, KIND_NODE_RECORDS, KIND_ROOT, KIND_SETS, KIND_UPLOADS, LogPlaceV1,
};
use crate::format::record::{encode_buckets, encode_uploads};
use crate::format::set::{KIND_CHECKPOINT, KIND_LOG, KIND_SLICES, MemberV1, SetV1};
use crate::format::superblock::{ROOT_CHECKPOINT, ShardRootOnDisk};
use crate::format::{Le16, Le32, Le64, blocks_up};
use crate::index::{check_leaf, leaf};

const SEQUENCE: u64 = 3;
const CHECKPOINT_EXTENT: u32 = 2;
/// Birth of every set. Their numbers are those of their extents.
const BIRTH: u64 = 1;

fn set(number: u32, kind: u8) -> SetV1 {
    let members = vec![MemberV1 { node: 0, drive: 0, extent: number }];
    SetV1 { set: number, kind, birth: BIRTH, members }
}

/// Recovers a shard from a checkpoint made of `input`. The first byte tells what the rest is:
/// leaves, uploads, buckets, a root, a whole chunk, one leaf, sets, the time, or records of the node.
pub fn checkpoint(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    let rest = &rest[..rest.len().min((1 << 20) - HEADER_BYTES)];
    match kind % 9 {
        0 => Tables::default().chunk(KIND_LEAVES, rest).recover(None),
        1 => Tables::default()
            .chunk(KIND_UPLOADS, rest)
            .chunk(KIND_BUCKETS, &encode_buckets(&vec![]))
            .recover(None),
        2 => Tables::default()
            .chunk(KIND_UPLOADS, &encode_uploads(&vec![]))
            .chunk(KIND_BUCKETS, rest)
            .recover(None),
        3 => Tables::default().recover(Some(rest)),
        4 => drop(CheckpointChunkOnDisk::parse(rest)),
        6 => Tables::default().chunk(KIND_SETS, rest).recover(None),
        7 => Tables::default().chunk(KIND_CLOCK, rest).recover(None),
        8 => Tables::default().chunk(KIND_NODE_RECORDS, rest).recover(None),
        _ => {
            if check_leaf(rest).is_ok() {
                let last = leaf::last_key(rest);
                assert!(leaf::first_key(rest) <= last.as_slice() && leaf::get(rest, &last).is_some());
            }
        }
    }
}

#[derive(Default)]
struct Tables {
    drive: FuzzDrive,
    offset: u32,
    places: Vec<ChunkPlaceV1>,
}

impl Tables {
    fn chunk(mut self, kind: u16, payload: &[u8]) -> Self {
        let place = self.write(kind, payload);
        self.places.push(place);
        self
    }

    fn write(&mut self, kind: u16, payload: &[u8]) -> ChunkPlaceV1 {
        let length = HEADER_BYTES + payload.len();
        let mut chunk = vec![0; blocks_up(length)];
        chunk[HEADER_BYTES..length].copy_from_slice(payload);
        let identity = ChunkIdentity {
            format: FORMAT_ID,
            shard: SHARD,
            sequence: SEQUENCE,
            number: self.places.len() as u32,
            kind,
            set: CHECKPOINT_EXTENT,
            birth: BIRTH,
            offset: self.offset,
        };
        let crc = CheckpointChunkOnDisk::seal_into(identity, payload.len(), &mut chunk);
        self.drive.put(CHECKPOINT_EXTENT, self.offset, &chunk);
        let place =
            ChunkPlaceV1 { set: CHECKPOINT_EXTENT, offset: self.offset, length: length as u32, crc, kind };
        self.offset = (self.offset + chunk.len() as u32).min(EXTENT_BYTES);
        place
    }

    /// Recovers the shard. `root` is the payload of the root chunk, or `None` for a root that names
    /// the chunks.
    fn recover(mut self, root: Option<&[u8]>) {
        let honest = CheckpointRootV1 {
            rest: ChunkListV1 { first: 0, chunks: self.places.clone() },
            own: vec![set(CHECKPOINT_EXTENT, KIND_CHECKPOINT)],
            sets: vec![set(3, KIND_SLICES), set(1, KIND_LOG), set(0, KIND_LOG)],
            logs: vec![
                LogPlaceV1 { set: 1, log_number: 1, written: 8192 },
                LogPlaceV1 { set: 0, log_number: 2, written: 0 },
            ],
            replay_sequence: 1,
            objects: 1,
            next_bucket: 2,
            ..CheckpointRootV1::default()
        };
        let payload = root.map_or_else(|| honest.encode(), <[u8]>::to_vec);
        let place = self.write(KIND_ROOT, &payload);
        let root = ShardRootOnDisk {
            shard: Le16::new(SHARD),
            kind: Le16::new(ROOT_CHECKPOINT),
            extent: Le32::new(CHECKPOINT_EXTENT),
            set: Le32::new(CHECKPOINT_EXTENT),
            birth: Le64::new(BIRTH),
            offset: Le32::new(place.offset),
            length: Le32::new(place.length),
            sequence: Le64::new(SEQUENCE),
            crc: Le32::new(place.crc),
            ..ShardRootOnDisk::default()
        };
        self.drive.recover(root);
    }
}
