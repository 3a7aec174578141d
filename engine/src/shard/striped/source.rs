//! Reading a slice of a striped set piece by piece, for `ringbolt check` and compaction: with buffers that are held for
//! one step, and what was read in memory of its own.

use std::cell::RefCell;

use super::{GroupReads, Headers, MemberFlaw, StripedSlice, choose_members};
use crate::device::DeviceError;
use crate::extent::{Drives, MemberWrite, SetPlace, SetWriter, SlicePlace};
use crate::format::BLOCK_BYTES;
use crate::format::slice::CRC_BLOCK_BYTES;
use crate::ring::{Buffer, Pool};
use crate::shard::slice_verifier::SliceFlaw;
use crate::stripe::{Codec, ReedSolomon};
use zerocopy::IntoBytes;

/// A slice that is read from the beginning.
pub struct StripedSource<'a> {
    pub slice: StripedSlice,
    drives: &'a Drives,
    pool: &'a Pool,
    codec: &'a ReedSolomon,
    headers: RefCell<Headers>,
}

impl<'a> StripedSource<'a> {
    pub fn new(slice: StripedSlice, drives: &'a Drives, (pool, codec): (&'a Pool, &'a ReedSolomon)) -> Self {
        Self { slice, drives, pool, codec, headers: Headers::of(&slice) }
    }

    /// Returns the byte offsets in the chunks at which rows begin, each with the bytes that a member has of the row.
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let chunk = self.slice.chunk_bytes();
        (0..chunk).step_by(CRC_BLOCK_BYTES).map(move |start| (start, CRC_BLOCK_BYTES.min(chunk - start)))
    }

    async fn read(
        &self,
        members: &[usize],
        made: usize,
        row: (usize, usize),
    ) -> (GroupReads, Vec<MemberFlaw>) {
        let buffers = GroupReads::buffers(&self.headers.borrow(), members, made, row.1);
        let Some(length) = buffers.only() else { panic!("{buffers:?} are one buffer") };
        let pieces = buffers.pieces_of(self.pool.take_for_step(length).await);
        let mut reads = {
            let headers = &mut self.headers.borrow_mut();
            GroupReads::start(&self.slice, self.drives, headers, members, row, pieces)
        };
        let flaws = reads.finish(&self.slice, &self.headers).await;
        (reads, flaws)
    }

    /// Returns what all data members have of a row, made from parity where that is needed.
    ///
    /// # Errors
    /// Returns what is wrong with the last member, when too few are whole.
    pub async fn columns(&self, row: (usize, usize)) -> Result<Vec<Vec<u8>>, SliceFlaw> {
        let columns = 0..self.slice.shape.data();
        let (mut bad, mut last) = (self.headers.borrow().bad.clone(), None);
        loop {
            let Some(members) = choose_members(&self.slice, self.drives, columns.clone(), &bad) else {
                return Err(last.unwrap_or(SliceFlaw::Damaged("slice: too few of its drives are here")));
            };
            let made = columns.clone().filter(|member| !members.contains(member)).count();
            let (reads, flaws) = self.read(&members, made, row).await;
            if flaws.is_empty() {
                let pieces = reads.pieces(&self.slice, self.codec, &self.headers, columns)?;
                return Ok(pieces.iter().map(|piece| piece[..row.1].to_vec()).collect());
            }
            for MemberFlaw { member, of_header, flaw } in flaws {
                last = Some(flaw);
                bad.push(member);
                if of_header {
                    self.headers.borrow_mut().bad.push(member);
                }
            }
            self.headers.borrow_mut().ask_again();
        }
    }

    /// Reads what a member has of a row. Returns what is wrong with it, or `None` when its drive is not here.
    pub async fn judge(&self, member: usize, row: (usize, usize)) -> Option<Result<(), SliceFlaw>> {
        self.slice.copy(self.drives, member)?;
        let (_, flaws) = self.read(&[member], 0, row).await;
        Some(flaws.into_iter().next().map_or(Ok(()), |flaw| Err(flaw.flaw)))
    }

    /// Writes the slice at another place, with parity that is made anew. Returns how many bytes were written.
    ///
    /// # Errors
    /// Returns what is wrong with the slice, or the error of a write.
    pub async fn copy_to(
        &self,
        place: SlicePlace,
        at: SetPlace,
        writer: &SetWriter,
    ) -> Result<u64, CopyError> {
        let (shape, moved) = (self.slice.shape, StripedSlice { place, at, ..self.slice });
        let mut crcs = vec![Vec::new(); shape.members()];
        let mut written = 0;
        for row in self.rows() {
            let mut pieces = self.columns(row).await.map_err(CopyError::Source)?;
            let mut parity = vec![vec![0; row.1]; shape.parity()];
            let inputs: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
            self.codec.parity().apply(&inputs, &mut outputs);
            pieces.append(&mut parity);
            crcs.iter_mut().zip(&pieces).for_each(|(crcs, piece)| crcs.push(crc32c::crc32c(piece)));
            let offset = place.offset + (BLOCK_BYTES + row.0) as u32;
            written += self.write(at, writer, (offset, &pieces)).await?;
        }
        let header = |member: usize| moved.header_by(member, &crcs).as_bytes().to_vec();
        let headers: Vec<Vec<u8>> = (0..shape.members()).map(header).collect();
        written += self.write(at, writer, (place.offset, &headers)).await?;
        Ok(written)
    }

    /// Writes a piece of each member at an offset of a set.
    async fn write(
        &self,
        at: SetPlace,
        writer: &SetWriter,
        (offset, pieces): (u32, &[Vec<u8>]),
    ) -> Result<u64, CopyError> {
        let length = pieces[0].len();
        let whole = self.pool.take_for_step(pieces.len() * Pool::capacity_for(length)).await;
        let of_member = |((member, piece), mut buffer): ((usize, &Vec<u8>), Buffer)| {
            buffer[..length].copy_from_slice(piece);
            MemberWrite { member, offset, length, buffer }
        };
        let writes = pieces.iter().enumerate().zip(whole.divide(length)).map(of_member).collect();
        writer.write_members(at, writes).done().await.map_err(CopyError::Target)?;
        Ok((pieces.len() * length) as u64)
    }
}

/// The reason why a slice was not written at another place.
#[derive(Debug)]
pub enum CopyError {
    Source(SliceFlaw),
    Target(DeviceError),
}
