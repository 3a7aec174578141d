//! The settings that a shard gets when it opens, beside the geometry of its drive.

use std::hash::Hasher;

use crate::format::checkpoint::HEADER_BYTES;
use crate::format::mark::mix;
use crate::types::{BucketId, VersionId};

/// The limits and the hash key of a shard, fixed while the node is open.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub hash_key: [u64; 2],
    /// Largest body that is stored inline, bytes. Larger bodies are stored in slices.
    pub inline_bytes_max: u32,
    /// Limit for the memory of this shard's index, bytes.
    pub index_bytes_max: u64,
    /// Dead bytes that the log may always hold before it is cleaned. It is cleaned when more are
    /// dead than this and more are dead than live.
    pub dead_log_bytes_max: u64,
    /// Log bytes after which a checkpoint is written. With [`u64::MAX`], a checkpoint is written
    /// only when a caller asks or waits for one.
    pub checkpoint_after_bytes: u64,
    pub checkpoint_cut: CheckpointCut,
    /// How far the wall clock may be ahead of what was noted of the time, and of what has passed
    /// since, for retentions to be judged by it, milliseconds.
    pub clock_step_max_ms: u64,
    /// Number of shards on this drive.
    pub drive_shards: u32,
    /// Number of free extents, beside those held back, below which the cleaners work.
    pub few_extents: u32,
}

/// The sizes of the pieces that a checkpoint is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointCut {
    /// Payload of a chunk, bytes. A chunk is longer when a single leaf is longer.
    pub payload_bytes: usize,
    /// Most chunks or log extents that a list or the root names.
    pub names: usize,
}

impl Default for CheckpointCut {
    fn default() -> Self {
        Self { payload_bytes: (256 << 10) - HEADER_BYTES, names: 8192 }
    }
}

impl Settings {
    /// Returns the hash of a key. It is keyed so that nobody can aim keys at one shard or one
    /// bucket of the table. The function is SipHash-1-3 (Aumasson and Bernstein, 2012).
    pub fn hash(&self, bucket: BucketId, key: &[u8]) -> u64 {
        keyed_hash((self.hash_key[0], self.hash_key[1]), bucket, key)
    }

    /// Returns the id by which clients know a version of a key.
    pub fn version_id(&self, bucket: BucketId, key: &[u8], generation: u64) -> VersionId {
        VersionId { generation, check: self.version_check(bucket, key, generation) }
    }

    /// Returns the check in the id of a version. It tells nothing of the hash of the key.
    pub fn version_check(&self, bucket: BucketId, key: &[u8], generation: u64) -> u64 {
        // The generation is part of the key of the hash, and no shard's hash has such a key.
        keyed_hash((mix(self.hash_key[1] ^ generation), !self.hash_key[0]), bucket, key)
    }
}

fn keyed_hash(key_of_hash: (u64, u64), bucket: BucketId, key: &[u8]) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new_with_keys(key_of_hash.0, key_of_hash.1);
    hasher.write_u32(bucket.0.to_le());
    hasher.write(key);
    hasher.finish()
}
