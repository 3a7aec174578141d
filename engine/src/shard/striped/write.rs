//! Writing a slice of a striped set while its payload comes.

use std::rc::Rc;

use zerocopy::IntoBytes;

use super::{GroupBuffers, StripedSlice};
use crate::extent::{MemberWrite, SetWriter, Writes};
use crate::format::BLOCK_BYTES;
use crate::format::slice::CRC_BLOCK_BYTES;
use crate::hook::Bug;
use crate::ring::{Buffer, Pool};
use crate::stripe::{Codec, ReedSolomon};

/// A slice that is being written.
pub struct StripedWriter {
    slice: StripedSlice,
    codec: Rc<ReedSolomon>,
    /// Bytes of payload that it was given.
    given: usize,
    /// The checksums of each member's chunk so far.
    crcs: Vec<Vec<u32>>,
    group: Option<Group>,
}

/// The group that is being filled.
struct Group {
    /// A piece for each member.
    pieces: Vec<Buffer>,
    /// Room for the headers, if it is the last group.
    for_headers: Vec<Buffer>,
    /// Byte offset of the pieces in the chunks.
    start: usize,
    /// Bytes of each piece.
    length: usize,
}

impl StripedWriter {
    pub fn new(slice: StripedSlice, codec: Rc<ReedSolomon>) -> Self {
        let crcs = vec![Vec::new(); slice.shape.members()];
        Self { slice, codec, given: 0, crcs, group: None }
    }

    /// Returns the buffers of the next group, if it needs one before it can be given more. With `plenty` its pieces
    /// are long.
    pub fn wants(&self, plenty: bool) -> Option<GroupBuffers> {
        let (left, members) = (self.slice.chunk_bytes() - self.start(), self.slice.shape.members());
        let buffers = |pieces| GroupBuffers::new(pieces, left, plenty);
        // The last group has the headers too. Whoever holds a group waits for nothing.
        let piece = buffers(members).piece;
        let for_headers = (members * BLOCK_BYTES).div_ceil(Pool::capacity_for(piece));
        let pieces = members + if piece == left { for_headers } else { 0 };
        self.group.is_none().then(|| buffers(pieces))
    }

    /// Returns the byte offset in the chunks of the next group.
    fn start(&self) -> usize {
        self.crcs[0].len() * CRC_BLOCK_BYTES
    }

    /// Begins the group that [`Self::wants`] buffers for.
    ///
    /// # Panics
    /// Panics when there is no piece for a member.
    pub fn begin(&mut self, mut pieces: Vec<Buffer>, buffers: GroupBuffers) {
        let members = self.slice.shape.members();
        assert!(pieces.len() >= members && self.group.is_none(), "{} pieces", pieces.len());
        let for_headers = pieces.split_off(members);
        self.group = Some(Group { pieces, for_headers, start: self.start(), length: buffers.piece });
    }

    /// Takes the next bytes of the payload, as many as fit into the group, and returns how many.
    ///
    /// # Panics
    /// Panics when no group was begun.
    pub fn take(&mut self, mut bytes: &[u8]) -> usize {
        let payload = self.slice.place.length as usize;
        let Some(Group { pieces, start, length, .. }) = &mut self.group else { panic!("a group was begun") };
        let before = bytes.len();
        while !bytes.is_empty() && self.given < payload {
            let piece = self.slice.shape.piece_at(self.given, payload);
            if piece.at >= *start + *length {
                break;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(piece.length));
            let from = piece.at - *start;
            pieces[piece.member][from..from + now.len()].copy_from_slice(now);
            self.given += now.len();
            bytes = rest;
        }
        before - bytes.len()
    }

    /// Returns whether the group is full, so that it is to be sent.
    pub fn is_full(&self) -> bool {
        let payload = self.slice.place.length as usize;
        let end = self.group.as_ref().map_or(0, |group| group.start + group.length);
        self.given == payload || self.slice.shape.piece_at(self.given, payload).at >= end
    }

    /// Sends the group with its parity and, if it is the last one, the headers. Returns the writes, how many bytes
    /// they have of data members, and whether it was the last one.
    ///
    /// # Panics
    /// Panics when no group was begun.
    pub fn send(&mut self, writer: &SetWriter) -> (Writes, usize, bool) {
        let Some(mut group) = self.group.take() else { panic!("a group was begun") };
        let is_last = group.start + group.length == self.slice.chunk_bytes();
        let members = self.slice.shape.members();
        let for_headers = std::mem::take(&mut group.for_headers);
        let headers =
            for_headers.into_iter().filter(|_| is_last).flat_map(|buffer| buffer.divide(BLOCK_BYTES));
        let (offset, length) = (self.slice.place.offset + (BLOCK_BYTES + group.start) as u32, group.length);
        let pieces = self.completed(group);
        let data = (0..).zip(pieces).map(|(member, buffer)| MemberWrite { member, offset, length, buffer });
        let mut writes: Vec<MemberWrite> = data.collect();
        for (member, mut buffer) in (0..members).zip(headers) {
            buffer[..BLOCK_BYTES].copy_from_slice(self.slice.header_by(member, &self.crcs).as_bytes());
            writes.push(MemberWrite { member, offset: self.slice.place.offset, length: BLOCK_BYTES, buffer });
        }
        let of_data = writes.iter().filter(|write| write.member < self.slice.shape.data());
        let bytes = of_data.map(|write| write.length).sum();
        (writer.write_members(self.slice.at, writes), bytes, is_last)
    }

    /// Fills what the payload leaves free in the data members' pieces, and makes those of the parity members.
    fn completed(&mut self, Group { mut pieces, start, length, .. }: Group) -> Vec<Buffer> {
        let planted = self.slice.planted;
        if !planted.is(Bug::ParityOverPadding) {
            self.pad(&mut pieces, (start, length));
        }
        let (data, parity) = pieces.split_at_mut(self.slice.shape.data());
        let inputs: Vec<&[u8]> = data.iter().map(|piece| &piece[..length]).collect();
        let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(|piece| &mut piece[..length]).collect();
        self.codec.parity().apply(&inputs, &mut outputs);
        if planted.is(Bug::ShortRowWithoutParity) {
            let whole = length - length % CRC_BLOCK_BYTES;
            outputs.iter_mut().for_each(|piece| piece[whole..].fill(0));
        }
        if planted.is(Bug::ParityOverPadding) {
            self.pad(&mut pieces, (start, length));
        }
        for (crcs, piece) in self.crcs.iter_mut().zip(&pieces) {
            crcs.extend(piece[..length].chunks(CRC_BLOCK_BYTES).map(crc32c::crc32c));
        }
        pieces
    }

    /// Fills what the payload leaves free in the data members' pieces.
    fn pad(&self, pieces: &mut [Buffer], (start, length): (usize, usize)) {
        let (shape, payload) = (self.slice.shape, self.slice.place.length as usize);
        for (member, piece) in pieces.iter_mut().enumerate().take(shape.data()) {
            for at in (0..length).step_by(CRC_BLOCK_BYTES) {
                let (_, used) = shape.payload_of((member, start + at), payload);
                piece[at + used..length.min(at + CRC_BLOCK_BYTES)].fill(0);
            }
        }
    }
}
