//! Reads a slice piece by piece and verifies it, for `ringbolt check` and compaction.
//!
//! Invariant: a piece is given only after the header proved whose slice it is, and when checksums
//! cover every byte.

use crate::device::DeviceError;
use crate::extent::{Drives, Geometry, SetPlace, SlicePlace};
use crate::format::slice::{CRC_BLOCK_BYTES, Membership, SliceHeaderOnDisk};
use crate::format::{BLOCK_BYTES, blocks_up};
use crate::ring::arena::CHUNK_BYTES;
use crate::ring::{Buffer, Pool};

/// Payload that is read in one operation with the header, bytes.
const FIRST_PAYLOAD_BYTES: usize = CHUNK_BYTES - CRC_BLOCK_BYTES;

/// The reason why a piece is not given.
#[derive(Debug)]
pub enum SliceFlaw {
    /// The part of the slice that is damaged.
    Damaged(&'static str),
    Device(DeviceError),
}

/// A reader of one slice that verifies what it gives.
pub(super) struct SliceVerifier<'a> {
    shard: u16,
    geometry: &'a Geometry,
    drives: &'a Drives,
    /// The drive whose copy is read.
    home: usize,
    pool: &'a Pool,
    place: SlicePlace,
    /// Where the slice's set is.
    at: SetPlace,
    /// The generation of the slice's segment.
    generation: u64,
    header: Option<Box<SliceHeaderOnDisk>>,
    /// Payload bytes given so far.
    given: usize,
}

/// Whole blocks of a slice, including header and padding.
pub(super) struct SlicePiece {
    /// Offset within the slice, bytes.
    pub offset: u32,
    /// Length of the blocks, bytes.
    pub length: usize,
    pub buffer: Buffer,
}

impl<'a> SliceVerifier<'a> {
    pub fn new(
        (shard, geometry): (u16, &'a Geometry),
        (drives, home, pool): (&'a Drives, usize, &'a Pool),
        (place, at): (SlicePlace, SetPlace),
        generation: u64,
    ) -> Self {
        Self { shard, geometry, drives, home, pool, place, at, generation, header: None, given: 0 }
    }

    /// Returns the next piece, or `None` at the end.
    ///
    /// # Errors
    /// Returns what is damaged, or the device's error.
    pub async fn next(&mut self) -> Result<Option<SlicePiece>, SliceFlaw> {
        let left = self.place.length as usize - self.given;
        let (offset, payload) = match &self.header {
            None => (0, left.min(FIRST_PAYLOAD_BYTES)),
            Some(_) => (BLOCK_BYTES + self.given, left.min(CHUNK_BYTES)),
        };
        if left == 0 {
            return Ok(None);
        }
        let start = if offset == 0 { BLOCK_BYTES } else { 0 };
        let length = blocks_up(start + payload);
        let copy = self.drives.copy(self.at, self.home);
        let read = copy.read_step(self.pool, self.place.offset + offset as u32, length).await;
        let buffer = read.map_err(SliceFlaw::Device)?;
        let header = match self.header.take() {
            Some(header) => header,
            None => self.judge_header(&buffer)?,
        };
        if !header.verifies(self.given, &buffer[start..start + payload]) {
            return Err(SliceFlaw::Damaged("slice data"));
        }
        self.header = Some(header);
        self.given += payload;
        Ok(Some(SlicePiece { offset: offset as u32, length, buffer }))
    }

    /// Returns the slice's header once the first piece was given.
    pub fn header(&self) -> Option<&SliceHeaderOnDisk> {
        self.header.as_deref()
    }

    fn judge_header(&self, block: &[u8]) -> Result<Box<SliceHeaderOnDisk>, SliceFlaw> {
        let header = SliceHeaderOnDisk::parse(block).map_err(|_| SliceFlaw::Damaged("slice header"))?;
        let owner = (self.geometry.format_id, self.shard);
        let life = (self.at.birth, self.generation);
        if self.place.is_headed_by(&header, owner, life, Membership::ALIKE) {
            Ok(Box::new(header))
        } else {
            Err(SliceFlaw::Damaged("slice identity"))
        }
    }
}
