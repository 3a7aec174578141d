//! A checkpoint: a shard's index, uploads and buckets as of a position in its log.
//!
//! Invariants:
//! - A checkpoint is a sequence of chunks. Each chunk is whole blocks within one set and has its own
//!   checksum, which carries the mark of its place and of the checkpoint's sequence. What names
//!   a chunk also names its checksum.
//! - The root chunk is written last and names the others, or lists of them; the superblock names
//!   the root chunk. So a checkpoint that was not finished does not exist, and no root is too long
//!   for its chunk.
//! - The root says where the sets lie that hold the checkpoint, so that its chunks can be read, and
//!   where the sets of the log and of slices lie. Those for which it has no room are in chunks.
//! - Leaves come in ascending order of key over the chunks in the order of their numbers. Each
//!   chunk can be read by itself.

use std::mem::{offset_of, size_of};

use rkyv::rancor::Error as RkyvError;
use rkyv::{Archive, Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::mark::{Structure, mark};
use super::record::encode;
use super::set::SetV1;
use super::{FormatDamage, Le16, Le32, Le64};

pub const MAGIC: [u8; 8] = *b"RBCHECK3";
pub const HEADER_BYTES: usize = size_of::<CheckpointChunkOnDisk>();
/// The largest size of a chunk with its header, in bytes.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// The chunk holds leaves of the index.
pub const KIND_LEAVES: u16 = 1;
/// The chunk holds uploads.
pub const KIND_UPLOADS: u16 = 2;
/// The chunk holds buckets; only the system shard has any.
pub const KIND_BUCKETS: u16 = 3;
/// The chunk holds a [`CheckpointRootV1`].
pub const KIND_ROOT: u16 = 4;
/// The chunk holds a [`ChunkListV1`], which names other chunks.
pub const KIND_LIST: u16 = 5;
/// The chunk holds sets of the log, with their log extent numbers, for which the root has no room.
pub const KIND_LOGS: u16 = 6;
/// The chunk holds sets, with their members, for which the root has no room.
pub const KIND_SETS: u16 = 7;
/// The chunk holds a [`ClockV1`](super::record::ClockV1). Only a shard in which a version was ever
/// locked has one.
pub const KIND_CLOCK: u16 = 8;
/// The chunk holds a piece of the node's records; only the system shard has any.
pub const KIND_NODE_RECORDS: u16 = 9;
/// The version of the header.
const VERSION: u32 = 3;

/// The header of a chunk. The payload follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CheckpointChunkOnDisk {
    pub magic: [u8; 8],
    /// The crc32c of header and payload behind this field, XOR the mark.
    pub crc: Le32,
    /// Bytes of the payload.
    pub length: Le32,
    pub shard: Le16,
    pub kind: Le16,
    pub version: Le32,
    /// Sequence of the checkpoint.
    pub sequence: Le64,
    /// The first half of the UUID of the format.
    pub format: Le64,
    /// Number of the chunk, from 0, in the order of writing. Lists are numbered separately.
    pub number: Le32,
    /// Number of the set in which the chunk was written.
    pub set: Le32,
    /// Birth of that set.
    pub birth: Le64,
    /// Byte offset in the set at which the chunk was written.
    pub offset: Le32,
    /// Number of the key with which the chunk is encrypted; 0 for none.
    pub key_id: Le32,
    /// The tag of an authenticated encryption.
    pub tag: [u8; 16],
}

/// The identity of a chunk and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkIdentity {
    /// The first half of the UUID of the format.
    pub format: u64,
    pub shard: u16,
    /// Sequence of the checkpoint.
    pub sequence: u64,
    /// Number of the chunk, from 0, in the order of writing. Lists are numbered separately.
    pub number: u32,
    pub kind: u16,
    pub set: u32,
    pub birth: u64,
    /// Byte offset in the set.
    pub offset: u32,
}

const _: () = {
    assert!(HEADER_BYTES == 80);
    assert!(offset_of!(CheckpointChunkOnDisk, sequence) == 24);
    assert!(offset_of!(CheckpointChunkOnDisk, number) == 40);
    assert!(offset_of!(CheckpointChunkOnDisk, tag) == 64);
};

/// The place of a chunk, with its checksum and kind.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlaceV1 {
    /// Number of one of the sets that hold the checkpoint.
    pub set: u32,
    pub offset: u32,
    /// Bytes of header and payload.
    pub length: u32,
    pub crc: u32,
    pub kind: u16,
}

/// A set of the log, as a checkpoint names it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlaceV1 {
    pub set: u32,
    pub log_number: u64,
    /// Bytes of the set that hold batches. For the last set this is where the replay starts.
    pub written: u32,
}

/// The payload of a list. Its chunks have consecutive numbers from `first` on.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct ChunkListV1 {
    pub first: u32,
    pub chunks: Vec<ChunkPlaceV1>,
}

/// The payload of the root chunk.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct CheckpointRootV1 {
    /// The lists that name the first chunks, if there are many chunks.
    pub lists: Vec<ChunkPlaceV1>,
    /// The chunks that follow those of the lists.
    pub rest: ChunkListV1,
    /// The sets that hold the checkpoint.
    pub own: Vec<SetV1>,
    /// The other sets of the shard, those of the log last. Those in chunks of [`KIND_SETS`] come
    /// before these.
    pub sets: Vec<SetV1>,
    /// The sets of the log, oldest first. Those in chunks of [`KIND_LOGS`] come before these. The
    /// replay starts in the last one.
    pub logs: Vec<LogPlaceV1>,
    /// Byte offset of the first batch after this checkpoint, in the last set of `logs`.
    pub replay_offset: u32,
    /// Sequence of that batch.
    pub replay_sequence: u64,
    /// The crc of the batch before it.
    pub replay_previous_crc: u32,
    /// Number of objects in the index.
    pub objects: u64,
    /// The id that the next bucket gets. Only the system shard uses it.
    pub next_bucket: u32,
}

impl CheckpointRootV1 {
    /// Returns the rkyv payload.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes what [`Self::encode`] returned.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Field`] when bytecheck refuses the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatDamage> {
        rkyv::from_bytes::<Self, RkyvError>(bytes).map_err(|_| FormatDamage::Field("checkpoint root"))
    }
}

impl ChunkListV1 {
    /// Returns the rkyv payload.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes what [`Self::encode`] returned.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Field`] when bytecheck refuses the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatDamage> {
        rkyv::from_bytes::<Self, RkyvError>(bytes).map_err(|_| FormatDamage::Field("list of chunks"))
    }

    /// Returns each chunk with its number.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, ChunkPlaceV1)> + '_ {
        (self.first..).zip(self.chunks.iter().copied())
    }
}

/// Encodes the payload of a chunk of sets.
pub fn encode_sets(sets: &Vec<SetV1>) -> Vec<u8> {
    encode(sets)
}

/// Decodes what [`encode_sets`] returned.
///
/// # Errors
/// Returns [`FormatDamage::Field`] when bytecheck refuses the bytes.
pub fn decode_sets(bytes: &[u8]) -> Result<Vec<SetV1>, FormatDamage> {
    rkyv::from_bytes::<Vec<SetV1>, RkyvError>(bytes).map_err(|_| FormatDamage::Field("sets"))
}

/// Encodes the payload of a chunk of sets of the log.
pub fn encode_logs(logs: &Vec<LogPlaceV1>) -> Vec<u8> {
    encode(logs)
}

/// Decodes what [`encode_logs`] returned.
///
/// # Errors
/// Returns [`FormatDamage::Field`] when bytecheck refuses the bytes.
pub fn decode_logs(bytes: &[u8]) -> Result<Vec<LogPlaceV1>, FormatDamage> {
    rkyv::from_bytes::<Vec<LogPlaceV1>, RkyvError>(bytes).map_err(|_| FormatDamage::Field("log extents"))
}

impl CheckpointChunkOnDisk {
    /// Writes a header in front of the payload `chunk[HEADER_BYTES..][..length]`. Returns the crc.
    pub fn seal_into(identity: ChunkIdentity, length: usize, chunk: &mut [u8]) -> u32 {
        let mut header = Self {
            magic: MAGIC,
            crc: Le32::new(0),
            length: Le32::new(length as u32),
            shard: Le16::new(identity.shard),
            kind: Le16::new(identity.kind),
            version: Le32::new(VERSION),
            sequence: Le64::new(identity.sequence),
            format: Le64::new(identity.format),
            number: Le32::new(identity.number),
            set: Le32::new(identity.set),
            birth: Le64::new(identity.birth),
            offset: Le32::new(identity.offset),
            key_id: Le32::new(0),
            tag: [0; 16],
        };
        chunk[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        let crc = crc32c::crc32c(&chunk[12..HEADER_BYTES + length]) ^ header.mark();
        header.crc = Le32::new(crc);
        chunk[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        crc
    }

    fn mark(&self) -> u32 {
        let owner = (self.format.get(), self.shard.get());
        mark(Structure::Chunk, owner, self.birth.get(), self.sequence.get(), self.offset.get())
    }

    /// Returns the identity and place that the header claims.
    pub fn identity(&self) -> ChunkIdentity {
        ChunkIdentity {
            format: self.format.get(),
            shard: self.shard.get(),
            sequence: self.sequence.get(),
            number: self.number.get(),
            kind: self.kind.get(),
            set: self.set.get(),
            birth: self.birth.get(),
            offset: self.offset.get(),
        }
    }

    /// Checks a chunk with the mark of the place that it claims, and returns its header and
    /// payload. The caller compares the claim, [`Self::identity`], with what it expects.
    ///
    /// # Errors
    /// Returns what is wrong with the chunk.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), FormatDamage> {
        let header = Self::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?.0;
        if header.magic != MAGIC {
            return Err(FormatDamage::Magic);
        }
        let end =
            HEADER_BYTES.checked_add(header.length.get() as usize).ok_or(FormatDamage::Field("length"))?;
        let covered = bytes.get(12..end).ok_or(FormatDamage::Short)?;
        if crc32c::crc32c(covered) ^ header.mark() != header.crc.get() {
            return Err(FormatDamage::Checksum);
        }
        if header.version.get() != VERSION {
            return Err(FormatDamage::Version(header.version.get()));
        }
        if header.key_id.get() != 0 || header.tag != [0; 16] {
            return Err(FormatDamage::Field("key_id or tag"));
        }
        Ok((header, &bytes[HEADER_BYTES..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::{KIND_CHECKPOINT, KIND_LOG, KIND_SLICES, MemberV1, SET_BYTES};
    use super::*;

    #[test]
    fn golden_bytes() {
        let mut chunk = vec![0; 4096];
        chunk[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(b"leaf");
        let identity = ChunkIdentity {
            format: 9,
            shard: 1,
            sequence: 6,
            number: 2,
            kind: KIND_LEAVES,
            set: 3,
            birth: 7,
            offset: 4096,
        };
        let crc = CheckpointChunkOnDisk::seal_into(identity, 4, &mut chunk);
        assert_eq!(crc32c::crc32c(&chunk), 0xef21_c816, "the golden chunk changed");
        let (header, payload) = CheckpointChunkOnDisk::parse(&chunk).expect("valid");
        assert_eq!((header.crc.get(), payload), (crc, b"leaf".as_slice()));
        assert_eq!(header.identity(), identity);
        for bit in 0..(HEADER_BYTES + 4) * 8 {
            let mut flipped = chunk.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(CheckpointChunkOnDisk::parse(&flipped).is_err(), "bit {bit} was not noticed");
        }
    }

    fn set(set: u32, kind: u8) -> SetV1 {
        let members = vec![MemberV1 { node: 0, drive: 0, extent: set + 10 }];
        SetV1 { set, kind, birth: u64::from(set) + 20, members }
    }

    #[test]
    fn root_golden_bytes() {
        let root = CheckpointRootV1 {
            lists: vec![ChunkPlaceV1 { set: 4, offset: 8192, length: 90, crc: 8, kind: KIND_LIST }],
            rest: ChunkListV1 {
                first: 5,
                chunks: vec![ChunkPlaceV1 { set: 3, offset: 4096, length: 100, crc: 7, kind: KIND_LEAVES }],
            },
            own: vec![set(3, KIND_CHECKPOINT)],
            sets: vec![set(2, KIND_SLICES), set(1, KIND_LOG)],
            logs: vec![LogPlaceV1 { set: 1, log_number: 2, written: 8192 }],
            replay_offset: 8192,
            replay_sequence: 44,
            replay_previous_crc: 5,
            objects: 10,
            next_bucket: 2,
        };
        let bytes = root.encode();
        assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (211, 0x2ee2_025b), "the golden root changed");
        assert_eq!(CheckpointRootV1::decode(&bytes), Ok(root));
        let sets = vec![set(7, KIND_LOG); 10];
        let bytes = encode_sets(&sets);
        assert_eq!((decode_sets(&bytes), bytes.len()), (Ok(sets), 8 + 10 * SET_BYTES));
    }
}
