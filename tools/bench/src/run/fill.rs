//! This module generates the data that a job writes.
//!
//! Invariant: unless the job asks for zeros or for a pattern, no two writes have the same 512
//! bytes, so that a drive that deduplicates finds no duplicates.

use crate::load::Random;
use crate::spec::Job;

/// Each block of this many bytes gets a word that makes it unique.
const STAMP_BYTES: usize = 512;
/// Compressible data consist of chunks of this many bytes, each of which ends with its share of
/// zeros.
const CHUNK_BYTES: usize = 4096;

/// Fills the buffers of one thread's writes.
#[derive(Debug)]
pub struct Filler {
    random: Random,
    zeros: bool,
    refill: bool,
    compress_percent: usize,
    /// Says that reads of the job use the same buffers.
    reads: bool,
    /// This is repeated in place of random bytes, unless it is empty.
    pattern: Vec<u8>,
}

impl Filler {
    pub fn new(job: &Job, thread: u32) -> Self {
        Self {
            random: Random::stream(!job.seed, u64::from(thread)),
            zeros: job.zero_buffers,
            refill: job.refill_buffers,
            compress_percent: job.compress_percent.min(100) as usize,
            reads: job.pattern.reads || job.objects.ops.is_some(),
            pattern: job.byte_pattern.clone(),
        }
    }

    /// Fills a buffer with the content it has before the first write.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        if self.zeros {
            return buffer.fill(0);
        }
        if !self.pattern.is_empty() {
            return repeat(&self.pattern, buffer);
        }
        for chunk in buffer.chunks_mut(CHUNK_BYTES) {
            let incompressible = chunk.len() - chunk.len() * self.compress_percent / 100;
            self.random.fill(&mut chunk[..incompressible]);
            chunk[incompressible..].fill(0);
        }
    }

    /// Changes the content of a buffer, so that it differs from that of the last write.
    #[inline]
    pub fn renew(&mut self, buffer: &mut [u8]) {
        let has_shape = self.zeros || !self.pattern.is_empty() || self.compress_percent > 0;
        // A read may have overwritten the buffer.
        if self.refill || (self.reads && has_shape) {
            return self.fill(buffer);
        }
        if self.zeros || !self.pattern.is_empty() {
            return;
        }
        // The zeros of a compressible chunk stay zeros.
        let step = if self.compress_percent > 0 { CHUNK_BYTES } else { STAMP_BYTES };
        if self.compress_percent == 100 {
            return;
        }
        let mut word = self.random.next_u64();
        for piece in buffer.chunks_mut(step) {
            let length = piece.len().min(8);
            piece[..length].copy_from_slice(&word.to_le_bytes()[..length]);
            word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
    }
}

/// Fills `buffer` with repetitions of `pattern`.
pub fn repeat(pattern: &[u8], buffer: &mut [u8]) {
    buffer.chunks_mut(pattern.len()).for_each(|piece| piece.copy_from_slice(&pattern[..piece.len()]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use std::collections::HashSet;

    #[test]
    fn a_pattern_is_written_over_and_over() {
        let mut filler = filler(|job| job.byte_pattern = b"abc".to_vec());
        let mut buffer = vec![0; 4096];
        filler.fill(&mut buffer);
        filler.renew(&mut buffer);
        assert!(buffer.iter().enumerate().all(|(at, byte)| *byte == b"abc"[at % 3]));
    }

    fn filler(change: impl FnOnce(&mut Job)) -> Filler {
        let mut job = sample::job("fill", 0, false, true);
        change(&mut job);
        Filler::new(&job, 0)
    }

    #[test]
    fn no_piece_is_written_twice() {
        let mut filler = filler(|_| {});
        let mut buffer = vec![0; 65_536];
        filler.fill(&mut buffer);
        let mut seen = HashSet::new();
        for _ in 0..20 {
            filler.renew(&mut buffer);
            buffer.chunks(512).for_each(|piece| assert!(seen.insert(piece.to_vec())));
        }
    }

    #[test]
    fn a_share_of_a_buffer_is_zeros_before_and_after() {
        for refill in [false, true] {
            let mut filler = filler(|job| {
                job.compress_percent = 60;
                job.refill_buffers = refill;
            });
            let mut buffer = vec![1; 65_536];
            filler.fill(&mut buffer);
            filler.renew(&mut buffer);
            for chunk in buffer.chunks(4096) {
                let zeros = chunk.iter().rev().take_while(|byte| **byte == 0).count();
                assert!((2457..2470).contains(&zeros), "{zeros} of 4096");
                let kinds: HashSet<u8> = chunk[..1639].iter().copied().collect();
                assert!(kinds.len() > 240, "{} different bytes", kinds.len());
            }
        }
    }

    /// Regression: writes of a mixed load contained the data of the read before them instead of
    /// zeros.
    #[test]
    fn what_a_read_has_brought_is_not_written() {
        for change in [
            (|job: &mut Job| job.zero_buffers = true) as fn(&mut Job),
            |job| job.byte_pattern = vec![0xfe],
            |job| job.compress_percent = 100,
        ] {
            let mut filler = filler(|job| {
                change(job);
                job.pattern.reads = true;
            });
            let mut wanted = vec![0; 4096];
            filler.fill(&mut wanted);
            let mut buffer = vec![7; 4096];
            filler.renew(&mut buffer);
            assert_eq!(buffer, wanted);
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let mut filler = filler(|job| job.zero_buffers = true);
        let mut buffer = vec![1; 4096];
        filler.fill(&mut buffer);
        filler.renew(&mut buffer);
        assert!(buffer.iter().all(|byte| *byte == 0));
    }
}
