//! What a reader gives, and how much of it a core has buffers for.

use std::ops::Range;
use std::rc::Rc;

use super::cache::CachedObject;
use crate::ring::{Buffer, Pool};

/// Verified bytes of an object. A buffer goes back to the core's pool when it is dropped.
pub struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) range: Range<usize>,
}

pub(super) enum Bytes {
    Read(Buffer),
    Cached(Rc<CachedObject>),
    /// So many bytes of a drive were verified, for whoever wants no more than that.
    Judged(usize),
}

impl Chunk {
    /// Makes it of the bytes at a range of a buffer.
    pub(super) fn read(buffer: Buffer, range: Range<usize>) -> Self {
        Self { bytes: Bytes::Read(buffer), range }
    }

    /// Makes it of `payload` bytes of an object for which `read` bytes of a drive were verified.
    pub(super) fn judged(payload: usize, read: usize) -> Self {
        Self { bytes: Bytes::Judged(read), range: 0..payload }
    }

    /// Returns the number of bytes that were verified for it.
    pub(super) fn verified_bytes(&self) -> u64 {
        match self.bytes {
            Bytes::Judged(read) => read as u64,
            _ => self.range.len() as u64,
        }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Read(buffer) => &buffer[self.range.clone()],
            Bytes::Cached(object) => &object.data[self.range.clone()],
            Bytes::Judged(_) => &[],
        }
    }
}

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
