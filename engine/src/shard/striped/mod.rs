//! Slices of striped sets: their members are written and read in groups of pieces, one piece of each member.
//!
//! Invariants:
//! - A group covers the same bytes of the chunk of each member, so that its pieces are a code word of the set's code.
//! - Nobody waits for a buffer while holding another one of a group: all of a group come from buffers that are taken
//!   at once.

mod read;
mod source;
mod write;

pub use self::read::{Ended, GroupReads, Headers, MemberFlaw, choose_members};
pub use self::source::{CopyError, StripedSource};
pub use self::write::StripedWriter;

use crate::extent::{SetPlace, Shape, SlicePlace};
use crate::format::slice::{CRC_BLOCK_BYTES, ChunkCrcs, Membership, SliceHeaderOnDisk};
use crate::hook::Planted;
use crate::ring::arena::CHUNK_BYTES;
use crate::ring::{Buffer, Pool};

/// Bytes of a member's piece in a group when there are enough buffers.
pub(crate) const PIECE_BYTES_MAX: usize = 256 << 10;

/// A slice of a striped set, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct StripedSlice {
    pub shape: Shape,
    /// The format and the shard.
    pub owner: (u64, u16),
    pub place: SlicePlace,
    /// Where its set is.
    pub at: SetPlace,
    /// Generation of the slice's segment.
    pub generation: u64,
    /// The deliberate bug of the node.
    pub(crate) planted: Planted,
}

impl StripedSlice {
    /// Returns the bytes that each member has of it, behind its header.
    pub fn chunk_bytes(&self) -> usize {
        self.shape.chunk_bytes(self.place.length as usize)
    }

    /// Returns the header of a member, given the checksums of all members' chunks.
    fn header_by(&self, member: usize, crcs: &[Vec<u32>]) -> SliceHeaderOnDisk {
        let data = if member < self.shape.data() { &[] } else { &crcs[..self.shape.data()] };
        self.header_with(member, ChunkCrcs { own: &crcs[member], data })
    }

    /// Returns the header of a member with these checksums.
    fn header_with(&self, member: usize, crcs: ChunkCrcs<'_>) -> SliceHeaderOnDisk {
        let identity = self.place.identity(self.owner, self.at.birth, self.generation);
        SliceHeaderOnDisk::of_member(identity, self.place.length, self.membership(member), crcs)
    }

    /// Returns for which member a header is.
    pub fn membership(&self, member: usize) -> Membership {
        let (data_members, parity_members) = (self.shape.data() as u8, self.shape.parity() as u8);
        Membership { member: member as u8, data_members, parity_members }
    }
}

/// The buffers of a group: how long a piece is, and from how many buffers of which length the pieces are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBuffers {
    /// Bytes of a piece, of which a multiple of 64 KiB or all that is left is used.
    pub piece: usize,
    whole: usize,
    wholes: usize,
}

impl GroupBuffers {
    /// Returns the buffers of a group of `pieces` pieces where `left` bytes of each chunk are left. With `plenty` the
    /// pieces are long.
    pub fn new(pieces: usize, left: usize, plenty: bool) -> Self {
        let most = if plenty { PIECE_BYTES_MAX } else { CRC_BLOCK_BYTES };
        let piece = left.min(most);
        let class = Pool::capacity_for(piece);
        match pieces * class {
            all if all <= CHUNK_BYTES => Self { piece, whole: all, wholes: 1 },
            _ => Self { piece, whole: CHUNK_BYTES, wholes: pieces.div_ceil(CHUNK_BYTES / class) },
        }
    }

    /// Returns the length of the only buffer that it needs, or `None` if it needs several.
    pub fn only(&self) -> Option<usize> {
        (self.wholes == 1).then_some(self.whole)
    }

    /// Takes the buffers if all are free now.
    pub fn try_take(&self, pool: &Pool) -> Option<Vec<Buffer>> {
        let wholes = (0..self.wholes).map(|_| pool.try_take(self.whole)).collect::<Option<Vec<_>>>()?;
        Some(wholes.into_iter().flat_map(|whole| whole.divide(self.piece)).collect())
    }

    /// Divides the only buffer that it needs.
    pub fn pieces_of(&self, whole: Buffer) -> Vec<Buffer> {
        whole.divide(self.piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_piece_for_each_member() {
        let pool = Pool::new(8 << 20).expect("map");
        let before = pool.chunks();
        for (pieces, left, plenty) in [
            (6, 4 << 20, true),
            (6, 4 << 20, false),
            (16, 4 << 20, false),
            (6, 20 << 10, true),
            (2, 4096, false),
        ] {
            let buffers = GroupBuffers::new(pieces, left, plenty);
            let taken = buffers.try_take(&pool).expect("room");
            assert!(taken.len() >= pieces, "{buffers:?}");
            assert!(taken.iter().all(|buffer| buffer.capacity() >= buffers.piece));
            assert!(plenty || buffers.only().is_some(), "{buffers:?}");
        }
        assert_eq!(pool.chunks(), before);
        assert_eq!(
            GroupBuffers::new(6, 4 << 20, true),
            GroupBuffers { piece: 256 << 10, whole: 1 << 20, wholes: 2 }
        );
        assert_eq!(
            GroupBuffers::new(6, 20 << 10, true),
            GroupBuffers { piece: 20 << 10, whole: 192 << 10, wholes: 1 }
        );
    }
}
