//! Bytes of a response's body that leave in one system call.
//!
//! Each send of a large body wakes its client: where the pieces of a body come one by one but at the same time, as the
//! rows of a striped object do, a send for each of them costs more than reading them.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Frames of a body that are there at the same time go to the socket together until they are this many bytes.
const GATHERED_BYTES: usize = 1 << 20;
/// So many pieces leave in one system call.
const GATHERED_PIECES: usize = 32;

/// Bytes of a body that leave together: those of a striped object come in pieces of a row.
#[derive(Default)]
pub struct Gathered {
    first: Bytes,
    /// The pieces behind the first one.
    others: VecDeque<Bytes>,
    /// How many bytes are left in them.
    others_bytes: usize,
}

impl Gathered {
    /// Adds a piece behind the others.
    pub fn add(&mut self, piece: Bytes) {
        if self.first.is_empty() && self.others.is_empty() {
            self.first = piece;
        } else {
            self.others_bytes += piece.len();
            self.others.push_back(piece);
        }
    }

    /// Returns whether it is to leave.
    pub fn is_full(&self) -> bool {
        self.remaining() >= GATHERED_BYTES || self.others.len() + 1 >= GATHERED_PIECES
    }
}

impl Buf for Gathered {
    fn remaining(&self) -> usize {
        self.first.len() + self.others_bytes
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = std::iter::once(&self.first).chain(&self.others).filter(|piece| !piece.is_empty());
        let filled = slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "{count} bytes of {}", self.remaining());
        loop {
            let taken = count.min(self.first.len());
            self.first.advance(taken);
            count -= taken;
            if !self.first.is_empty() {
                return;
            }
            let Some(next) = self.others.pop_front() else { return };
            self.others_bytes -= next.len();
            self.first = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&'static str]) -> Gathered {
        let mut all = Gathered::default();
        pieces.iter().for_each(|piece| all.add(Bytes::from_static(piece.as_bytes())));
        all
    }

    fn vectored(gathered: &Gathered, most: usize) -> Vec<String> {
        let mut slices = vec![IoSlice::new(&[]); most];
        let count = gathered.chunks_vectored(&mut slices);
        slices[..count].iter().map(|slice| String::from_utf8_lossy(slice).into_owned()).collect()
    }

    #[test]
    fn pieces_are_one_sequence_of_bytes() {
        let mut all = of(&["one", "two", "", "three"]);
        assert_eq!((all.remaining(), all.chunk()), (11, &b"one"[..]));
        assert_eq!(vectored(&all, 8), ["one", "two", "three"]);
        assert_eq!(vectored(&all, 2), ["one", "two"]);
        all.advance(2);
        assert_eq!((all.remaining(), all.chunk()), (9, &b"e"[..]));
        all.advance(4);
        assert_eq!((all.remaining(), all.chunk()), (5, &b"three"[..]), "an empty piece is passed over");
        all.advance(5);
        assert!(!all.has_remaining() && vectored(&all, 2).is_empty());
        all.add(Bytes::from_static(b"again"));
        assert_eq!(all.copy_to_bytes(5), "again");
    }

    #[test]
    fn it_is_full_by_bytes_and_by_pieces() {
        let mut few = Gathered::default();
        few.add(Bytes::from(vec![0; GATHERED_BYTES - 1]));
        assert!(!few.is_full());
        few.add(Bytes::from_static(b"x"));
        assert!(few.is_full());
        assert!(of(&["x"; GATHERED_PIECES]).is_full() && !of(&["x"; GATHERED_PIECES - 1]).is_full());
    }
}
