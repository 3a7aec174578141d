//! The header of a slice, or of what a member of a striped set has of one: identity and checksums of up to 4 MiB of a
//! large object.
//!
//! Invariants:
//! - The header is the slice's first block. The payload follows, padded to whole blocks with zeros.
//! - `block_crcs[i]` is the crc32c of the 64 KiB of payload from byte `i * 64 KiB` on. The last
//!   block may be shorter.
//! - A header is accepted only with the generation and slice number that the object's record names,
//!   in the set and at the offset that it names. After a lost or misdirected write, or a misdirected
//!   read, the header is another one, and this is noticed.
//! - Data blocks carry no mark: the checksums of an accepted header prove them.
//! - In a striped set each member has a header of its own before its chunk: the length is that of the whole slice,
//!   and the checksums are those of the chunk, with the padding of its last block. A parity member's header also has
//!   the checksums of all data members, so that what is made from parity is verified too.
//! - Elsewhere the room for those is zero, as key id and tag are.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::mark::{Structure, mark};
use super::{BLOCK_BYTES, FormatDamage, Le16, Le32, Le64};
use crate::stripe::{DATA_MAX, PARITY_MAX};

pub const MAGIC: [u8; 8] = *b"RBSLICE3";
/// Bytes of payload of a full slice.
pub const SLICE_BYTES: usize = 4 << 20;
/// Bytes of payload under one checksum.
pub const CRC_BLOCK_BYTES: usize = 64 << 10;
/// The unit of allocation in bytes.
pub const UNIT_BYTES: usize = 16 << 10;
/// Units of a full slice with its header.
pub const UNITS_PER_SLOT: u32 = ((SLICE_BYTES + UNIT_BYTES) / UNIT_BYTES) as u32;
const CRC_BLOCKS: usize = SLICE_BYTES / CRC_BLOCK_BYTES;

/// The most data members of a set of slices, so that a parity member's header can hold the checksums
/// of all.
pub const DATA_MEMBERS_MAX: usize = DATA_MAX;
/// Bytes of a slice's payload that lie next to each other in one data member of its set.
pub const ROW_BYTES: u32 = CRC_BLOCK_BYTES as u32;
/// The most members of a set of slices, so that 64 KiB of each, and their headers, fit into 1 MiB together.
pub const MEMBERS_OF_SLICES_MAX: usize = 15;
/// The version of the header.
const VERSION: u16 = 3;

/// The first block of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SliceHeaderOnDisk {
    pub magic: [u8; 8],
    /// The crc32c of the block behind this field, XOR the mark.
    pub crc: Le32,
    pub version: Le16,
    pub shard: Le16,
    /// Generation of the segment. It is never used twice in the shard.
    pub generation: Le64,
    /// Number of the slice within the segment, from 0.
    pub number: Le32,
    /// Bytes of payload of the slice, from 1 to [`SLICE_BYTES`] for each data member.
    pub length: Le32,
    /// The first half of the UUID of the format.
    pub format: Le64,
    /// Birth of the set in which the slice was written.
    pub birth: Le64,
    /// Number of that set.
    pub set: Le32,
    /// Byte offset of this block in the set.
    pub offset: Le32,
    /// Number of the member for which the block was written, from 0; data members come first. All
    /// members of a set with one data member hold the same bytes, with number 0.
    pub member: u8,
    pub data_members: u8,
    pub parity_members: u8,
    pub reserved: u8,
    /// Bytes of one member in a row of the set.
    pub row_bytes: Le32,
    /// Number of the key with which the slice is encrypted; 0 for none.
    pub key_id: Le32,
    pub reserved_key: [u8; 4],
    /// The tag of an authenticated encryption.
    pub tag: [u8; 16],
    pub reserved_tail: [u8; 168],
    /// The crc32c of each 64 KiB of the payload.
    pub block_crcs: [Le32; CRC_BLOCKS],
    /// In the header of a parity member, the checksums of each data member; otherwise zero.
    pub data_crcs: [[Le32; CRC_BLOCKS]; DATA_MEMBERS_MAX],
}

/// The member of a set for which a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Number of the member, from 0; data members come first.
    pub member: u8,
    pub data_members: u8,
    pub parity_members: u8,
}

impl Membership {
    /// That of each member of a set whose members are alike.
    pub const ALIKE: Self = Self { member: 0, data_members: 1, parity_members: 0 };

    fn is_parity(self) -> bool {
        self.member >= self.data_members
    }

    fn is_possible(self) -> bool {
        let Self { member, data_members, parity_members } = self;
        let is_striped = (2..=DATA_MEMBERS_MAX).contains(&usize::from(data_members))
            && (1..=PARITY_MAX).contains(&usize::from(parity_members))
            && usize::from(data_members + parity_members) <= MEMBERS_OF_SLICES_MAX
            && member < data_members + parity_members;
        self == Self::ALIKE || is_striped
    }

    /// Returns the most bytes of payload of a slice of such a set.
    fn slice_bytes_max(self) -> u32 {
        u32::from(self.data_members) * SLICE_BYTES as u32
    }
}

/// The checksums that a header has.
#[derive(Clone, Copy, Debug)]
pub struct ChunkCrcs<'a> {
    /// The crc32c of each 64 KiB of the member's chunk.
    pub own: &'a [u32],
    /// Those of all data members, in the header of a parity member; else none.
    pub data: &'a [Vec<u32>],
}

/// The identity of a slice and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceIdentity {
    /// The first half of the UUID of the format.
    pub format: u64,
    pub shard: u16,
    /// Generation of the segment.
    pub generation: u64,
    /// Number of the slice within the segment, from 0.
    pub number: u32,
    pub set: u32,
    pub birth: u64,
    /// Byte offset of the header in the set.
    pub offset: u32,
}

const _: () = {
    assert!(size_of::<SliceHeaderOnDisk>() == BLOCK_BYTES);
    assert!(offset_of!(SliceHeaderOnDisk, generation) == 16);
    assert!(offset_of!(SliceHeaderOnDisk, member) == 56);
    assert!(offset_of!(SliceHeaderOnDisk, tag) == 72);
    assert!(offset_of!(SliceHeaderOnDisk, block_crcs) == 256);
    assert!(offset_of!(SliceHeaderOnDisk, data_crcs) == 512);
    assert!(UNITS_PER_SLOT == 257);
};

impl SliceHeaderOnDisk {
    /// Returns the header, with its checksum, of a slice of `length` bytes whose members are alike.
    pub fn new(identity: SliceIdentity, length: u32, crcs: &[u32]) -> Self {
        assert_eq!(crcs.len(), (length as usize).div_ceil(CRC_BLOCK_BYTES), "a crc for each 64 KiB");
        Self::of_member(identity, length, Membership::ALIKE, ChunkCrcs { own: crcs, data: &[] })
    }

    /// Returns a member's header, with its checksum, of a slice of `length` bytes.
    ///
    /// # Panics
    /// Panics when there are more checksums than a chunk can have, or no such member.
    pub fn of_member(identity: SliceIdentity, length: u32, of: Membership, crcs: ChunkCrcs<'_>) -> Self {
        assert!(of.is_possible(), "a header of {of:?}");
        assert!(
            crcs.data.len() == if of.is_parity() { usize::from(of.data_members) } else { 0 },
            "checksums"
        );
        let on_disk = |crcs: &[u32]| {
            let mut all = [Le32::new(0); CRC_BLOCKS];
            assert!(crcs.len() <= CRC_BLOCKS, "{} checksums of a chunk", crcs.len());
            all.iter_mut().zip(crcs).for_each(|(slot, crc)| *slot = Le32::new(*crc));
            all
        };
        let mut data_crcs = [[Le32::new(0); CRC_BLOCKS]; DATA_MEMBERS_MAX];
        data_crcs.iter_mut().zip(crcs.data).for_each(|(slot, crcs)| *slot = on_disk(crcs));
        let mut header = Self {
            magic: MAGIC,
            crc: Le32::new(0),
            version: Le16::new(VERSION),
            shard: Le16::new(identity.shard),
            generation: Le64::new(identity.generation),
            number: Le32::new(identity.number),
            length: Le32::new(length),
            format: Le64::new(identity.format),
            birth: Le64::new(identity.birth),
            set: Le32::new(identity.set),
            offset: Le32::new(identity.offset),
            member: of.member,
            data_members: of.data_members,
            parity_members: of.parity_members,
            reserved: 0,
            row_bytes: Le32::new(ROW_BYTES),
            key_id: Le32::new(0),
            reserved_key: [0; 4],
            tag: [0; 16],
            reserved_tail: [0; 168],
            block_crcs: on_disk(crcs.own),
            data_crcs,
        };
        header.seal();
        header
    }

    /// Returns the header of the same slice at another place, with a new checksum.
    pub fn moved_to(mut self, (set, birth): (u32, u64), offset: u32) -> Self {
        (self.set, self.birth, self.offset) = (Le32::new(set), Le64::new(birth), Le32::new(offset));
        self.seal();
        self
    }

    /// Computes the checksum and stores it.
    pub fn seal(&mut self) {
        self.crc = Le32::new(self.checksum());
    }

    fn checksum(&self) -> u32 {
        let owner = (self.format.get(), self.shard.get());
        let life = self.generation.get();
        let mark = mark(Structure::Slice, owner, self.birth.get(), life, self.offset.get());
        crc32c::crc32c(&self.as_bytes()[12..]) ^ mark
    }

    /// Returns the identity and place that the header claims.
    pub fn identity(&self) -> SliceIdentity {
        SliceIdentity {
            format: self.format.get(),
            shard: self.shard.get(),
            generation: self.generation.get(),
            number: self.number.get(),
            set: self.set.get(),
            birth: self.birth.get(),
            offset: self.offset.get(),
        }
    }

    /// Returns for which member the header claims to be.
    pub fn membership(&self) -> Membership {
        let Self { member, data_members, parity_members, .. } = *self;
        Membership { member, data_members, parity_members }
    }

    /// Returns the crc32c of the 64 KiB from byte `offset` on of a data member's chunk, as a parity member's header
    /// has it.
    pub fn data_crc(&self, member: usize, offset: usize) -> u32 {
        self.data_crcs[member][offset / CRC_BLOCK_BYTES].get()
    }

    /// Returns the crc32c of the 64 KiB from byte `offset` on of the member's own chunk.
    pub fn own_crc(&self, offset: usize) -> u32 {
        self.block_crcs[offset / CRC_BLOCK_BYTES].get()
    }

    /// Checks a header with the mark of the place that it claims. The caller compares the claim,
    /// [`Self::identity`], with what it expects.
    ///
    /// # Errors
    /// Returns what is wrong with the header.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatDamage> {
        let header = Self::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?.0;
        if header.magic != MAGIC {
            return Err(FormatDamage::Magic);
        }
        if header.checksum() != header.crc.get() {
            return Err(FormatDamage::Checksum);
        }
        if header.version.get() != VERSION {
            return Err(FormatDamage::Version(u32::from(header.version.get())));
        }
        let of = header.membership();
        if !of.is_possible() || header.row_bytes.get() != ROW_BYTES {
            return Err(FormatDamage::Field("members of a set"));
        }
        if !(1..=of.slice_bytes_max()).contains(&header.length.get()) {
            return Err(FormatDamage::Field("length"));
        }
        if header.key_id.get() != 0 || header.tag != [0; 16] {
            return Err(FormatDamage::Field("key_id or tag"));
        }
        Ok(header)
    }

    /// Returns whether `payload`, which starts at byte `offset` (a multiple of 64 KiB) of this
    /// slice's payload, is what was written.
    pub fn verifies(&self, offset: usize, payload: &[u8]) -> bool {
        assert!(offset.is_multiple_of(CRC_BLOCK_BYTES), "verification starts on a checksum's block");
        let first = offset / CRC_BLOCK_BYTES;
        payload
            .chunks(CRC_BLOCK_BYTES)
            .enumerate()
            .all(|(at, block)| crc32c::crc32c(block) == self.block_crcs[first + at].get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: SliceIdentity =
        SliceIdentity { format: 9, shard: 2, generation: 77, number: 1, set: 3, birth: 8, offset: 16 << 10 };

    #[test]
    fn golden_bytes() {
        let header = SliceHeaderOnDisk::new(IDENTITY, 70_000, &[11, 12]);
        let bytes = header.as_bytes();
        assert_eq!(&bytes[..8], b"RBSLICE3");
        assert_eq!(&bytes[12..32], &[3, 0, 2, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x70, 0x11, 1, 0]);
        assert_eq!(crc32c::crc32c(bytes), 0x23f0_e6ea, "the golden slice header changed");
        assert_eq!(SliceHeaderOnDisk::parse(bytes), Ok(header));
        assert_eq!(header.identity(), IDENTITY);
        let moved = header.moved_to((4, 9), 0);
        assert_eq!(SliceHeaderOnDisk::parse(moved.as_bytes()), Ok(moved));
        assert_eq!(moved.identity(), SliceIdentity { set: 4, birth: 9, offset: 0, ..IDENTITY });
        assert_eq!(moved.block_crcs, header.block_crcs);
    }

    #[test]
    fn a_shape_that_this_program_does_not_know_is_refused() {
        type Change = fn(&mut SliceHeaderOnDisk);
        let changes: [(Change, &str); 6] = [
            (|header| header.member = 1, "members of a set"),
            (|header| header.data_members = 15, "members of a set"),
            (|header| header.parity_members = 1, "members of a set"),
            (|header| header.row_bytes = Le32::new(4096), "members of a set"),
            (|header| header.key_id = Le32::new(1), "key_id or tag"),
            (|header| header.tag[0] = 1, "key_id or tag"),
        ];
        for (change, field) in changes {
            let mut header = SliceHeaderOnDisk::new(IDENTITY, 70_000, &[11, 12]);
            change(&mut header);
            header.seal();
            assert_eq!(SliceHeaderOnDisk::parse(header.as_bytes()), Err(FormatDamage::Field(field)));
        }
    }

    #[test]
    fn golden_bytes_of_a_parity_member() {
        let of = Membership { member: 3, data_members: 2, parity_members: 2 };
        let crcs = ChunkCrcs { own: &[5, 6], data: &[vec![11, 12], vec![21, 22]] };
        let header = SliceHeaderOnDisk::of_member(IDENTITY, 200_000, of, crcs);
        let bytes = header.as_bytes();
        assert_eq!(&bytes[56..64], &[3, 2, 2, 0, 0, 0, 1, 0]);
        assert_eq!((bytes[256], bytes[260], bytes[512], bytes[768]), (5, 6, 11, 21));
        assert_eq!(crc32c::crc32c(bytes), 0xe6b1_8b81, "the golden header of a parity member changed");
        assert_eq!(SliceHeaderOnDisk::parse(bytes), Ok(header));
        assert_eq!(
            (header.data_crc(1, CRC_BLOCK_BYTES), header.own_crc(0), header.membership()),
            (22, 5, of)
        );
        for (member, data_members, parity_members) in [(4, 2, 2), (0, 0, 0), (0, 1, 1), (0, 2, 5), (1, 1, 0)]
        {
            let mut other = header;
            (other.member, other.data_members, other.parity_members) = (member, data_members, parity_members);
            other.seal();
            let damage = FormatDamage::Field("members of a set");
            assert_eq!(SliceHeaderOnDisk::parse(other.as_bytes()), Err(damage));
        }
        let mut long = header;
        long.length = Le32::new(2 * SLICE_BYTES as u32 + 1);
        long.seal();
        assert_eq!(SliceHeaderOnDisk::parse(long.as_bytes()), Err(FormatDamage::Field("length")));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let header = SliceHeaderOnDisk::new(IDENTITY, 70_000, &[11, 12]);
        for bit in 0..BLOCK_BYTES * 8 {
            let mut flipped = header.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SliceHeaderOnDisk::parse(&flipped).is_err(), "bit {bit} was not noticed");
        }
    }

    #[test]
    fn payload_is_verified_block_by_block() {
        let payload: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
        let crcs: Vec<u32> = payload.chunks(CRC_BLOCK_BYTES).map(crc32c::crc32c).collect();
        let header = SliceHeaderOnDisk::new(IDENTITY, payload.len() as u32, &crcs);
        assert!(header.verifies(0, &payload));
        assert!(header.verifies(CRC_BLOCK_BYTES, &payload[CRC_BLOCK_BYTES..]));
        let mut rotten = payload.clone();
        rotten[99_999] ^= 4;
        assert!(!header.verifies(CRC_BLOCK_BYTES, &rotten[CRC_BLOCK_BYTES..]));
    }
}
