//! This module verifies files. With `verify=crc32c`, each block says what it is, and is read back;
//! with `verify=pattern`, each block has the same bytes.
//!
//! Invariants:
//! - Every unit of a write, which is the smallest block that the job writes, begins with a header:
//!   its place, the pass in which it was written, and a checksum over the whole unit.
//! - [`Verifier`] knows the pass in which each unit was last written, in one byte each; between
//!   passes nothing is in flight, so that a unit has one content.

use super::check::Wrong;
use super::fill::repeat;
use crate::engine::{Operation, Verb};
use crate::load::{Region, Sizes};
use crate::spec::{Job, Verify};

/// The smallest block has room for a header and some data to check.
pub const BLOCK_BYTES_MIN: u64 = 64;
/// At most 1 GiB of memory tracks what was written.
const UNITS_MAX: u64 = 1 << 30;
const MAGIC: u64 = u64::from_le_bytes(*b"RBverify");
const CRC_AT: usize = 32;
const HEADER_BYTES: usize = 40;

/// Says what is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("no block of a verify job is there")]
    NoHeader,
    #[error("the block of offset {0} is there")]
    WrongPlace(u64),
    #[error("it was written in blocks of {0} bytes; verify with the same bs")]
    WrongLength(u32),
    #[error("its checksum is {found:#010x}, the content's {computed:#010x}")]
    WrongChecksum { found: u32, computed: u32 },
    #[error("byte {at} of it is {found:#04x}, not {expected:#04x} as the pattern has it")]
    WrongPattern { at: usize, found: u8, expected: u8 },
    #[error("an older version is there, of pass {found}; pass {expected} was written")]
    Stale { found: u32, expected: u32 },
}

/// Holds a mismatch and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub file: u32,
    pub offset: u64,
    pub mismatch: Mismatch,
}

/// Stamps and verifies the blocks of one thread's files.
#[derive(Debug)]
pub struct Verifier {
    pub settings: Verify,
    /// This is repeated in each block with `verify=pattern`.
    pattern: Vec<u8>,
    /// Says that the job writes, so that its reads may meet blocks that are being written.
    pub writes: bool,
    unit: u64,
    read_most: u64,
    seed: u64,
    /// This is never 0.
    pass: u8,
    regions: Vec<Region>,
    /// Holds, for each file and unit, the pass of its last write; 0 means that it is not known.
    written: Vec<Vec<u8>>,
    cursor: (usize, u64),
}

impl Verifier {
    /// Creates the verifier of a job; returns `None` when the job does not verify.
    ///
    /// # Errors
    /// Fails when blocks are too small, or when there are too many.
    pub fn new(job: &Job, regions: &[Region]) -> Result<Option<Self>, String> {
        let Some(settings) = job.verify else { return Ok(None) };
        let block = if job.pattern.writes { &job.block.write } else { &job.block.read };
        let sizes = Sizes::new(block);
        if sizes.unit() < BLOCK_BYTES_MIN {
            return Err(format!(
                "verify needs blocks of at least {BLOCK_BYTES_MIN} bytes, not {}",
                sizes.unit()
            ));
        }
        let units = |region: &Region| region.length / sizes.unit();
        let total: u64 = regions.iter().map(units).sum();
        if total > UNITS_MAX {
            return Err(format!(
                "verify can follow {UNITS_MAX} blocks, not {total}; give a larger bs or a smaller size"
            ));
        }
        let tracked =
            |region: &Region| if job.pattern.writes { vec![0; units(region) as usize] } else { Vec::new() };
        Ok(Some(Self {
            settings,
            pattern: job.byte_pattern.clone(),
            writes: job.pattern.writes,
            unit: sizes.unit(),
            read_most: sizes.most(),
            seed: job.seed,
            pass: 1,
            regions: regions.to_vec(),
            written: regions.iter().map(tracked).collect(),
            cursor: (0, 0),
        }))
    }

    /// Begins another pass of writes. Nothing may be in flight.
    pub fn next_pass(&mut self) {
        self.pass = if self.pass == u8::MAX { 1 } else { self.pass + 1 };
    }

    /// Writes the headers into the content of a write, or starts the pattern anew in each block.
    pub fn stamp(&self, content: &mut [u8], operation: &Operation) {
        if self.settings.by_pattern {
            let blocks = content.chunks_exact_mut(self.unit as usize);
            return blocks.for_each(|block| repeat(&self.pattern, block));
        }
        let mut offset = operation.offset;
        for block in content.chunks_exact_mut(self.unit as usize) {
            block[..8].copy_from_slice(&MAGIC.to_le_bytes());
            block[8..16].copy_from_slice(&offset.to_le_bytes());
            block[16..24].copy_from_slice(&self.seed.to_le_bytes());
            block[24..28].copy_from_slice(&u32::from(self.pass).to_le_bytes());
            block[28..32].copy_from_slice(&(self.unit as u32).to_le_bytes());
            block[CRC_AT..HEADER_BYTES].fill(0);
            let crc = crc32c::crc32c(block);
            block[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
            offset += self.unit;
        }
    }

    /// Records that a write ended: the content is known only if the write succeeded in full.
    pub fn wrote(&mut self, operation: &Operation, succeeded: bool) {
        let file = operation.file as usize;
        let first = (operation.offset - self.regions[file].start) / self.unit;
        let units = first as usize..(first + operation.length / self.unit) as usize;
        self.written[file][units].fill(if succeeded { self.pass } else { 0 });
    }

    /// Returns the wrong blocks of a read. With `own`, it also checks that they are the ones this
    /// job wrote.
    pub fn check(&self, content: &[u8], operation: &Operation, own: bool) -> Vec<Found> {
        let start = self.regions[operation.file as usize].start;
        let mut found = Vec::new();
        for (at, block) in content.chunks_exact(self.unit as usize).enumerate() {
            let offset = operation.offset + at as u64 * self.unit;
            let index = ((offset - start) / self.unit) as usize;
            let expected = own.then(|| self.written[operation.file as usize][index]);
            let checked = match self.settings.by_pattern {
                true => check_pattern(&self.pattern, block),
                false => check_block(block, offset, expected),
            };
            if let Err(mismatch) = checked {
                found.push(Found { file: operation.file, offset, mismatch });
            }
        }
        found
    }

    /// Checks the content of a read. `is_own` says that it reads back what this job wrote; a job
    /// that also writes checks only such reads.
    pub fn look_at(&self, content: &[u8], operation: &Operation, is_own: bool) -> Option<Wrong> {
        if operation.verb != Verb::Read || (self.writes && !is_own) {
            return None;
        }
        let wrong = self.check(content, operation, is_own);
        let first = wrong.first()?;
        let text = format!("verify: file {}, offset {}: {}", first.file, first.offset, first.mismatch);
        Some(Wrong { pieces: wrong.len() as u64, text })
    }

    /// Starts reading back from the beginning.
    pub fn rewind(&mut self) {
        self.cursor = (0, 0);
    }

    /// Returns the next read of what was written; `None` at the end.
    pub fn next_read(&mut self) -> Option<Operation> {
        loop {
            let written = self.written.get(self.cursor.0)?;
            let from = self.cursor.1 as usize;
            let Some(skip) = written[from..].iter().position(|pass| *pass != 0) else {
                self.cursor = (self.cursor.0 + 1, 0);
                continue;
            };
            let first = from + skip;
            let most = (self.read_most / self.unit) as usize;
            let count = written[first..].iter().take(most).take_while(|pass| **pass != 0).count();
            let file = self.cursor.0 as u32;
            self.cursor.1 = (first + count) as u64;
            let offset = self.regions[self.cursor.0].start + first as u64 * self.unit;
            return Some(Operation {
                verb: Verb::Read,
                file,
                offset,
                length: count as u64 * self.unit,
                number: 0,
            });
        }
    }
}

fn check_pattern(pattern: &[u8], block: &[u8]) -> Result<(), Mismatch> {
    // Whole pieces are compared at once; single bytes only in a piece that is wrong.
    let is_whole = |(_, piece): &(usize, &[u8])| **piece == pattern[..piece.len()];
    let wrong = block.chunks(pattern.len()).enumerate().find(|piece| !is_whole(piece));
    let Some((number, piece)) = wrong else { return Ok(()) };
    let bytes = piece.iter().zip(pattern).enumerate();
    let first = bytes
        .map(|(at, (found, expected))| (at, *found, *expected))
        .find(|(_, found, expected)| found != expected);
    let (at, found, expected) = first.unwrap_or_else(|| panic!("the piece differs from the pattern"));
    Err(Mismatch::WrongPattern { at: number * pattern.len() + at, found, expected })
}

fn check_block(block: &[u8], offset: u64, expected_pass: Option<u8>) -> Result<(), Mismatch> {
    let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap_or_default());
    let half = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap_or_default());
    if word(0) != MAGIC {
        return Err(Mismatch::NoHeader);
    }
    if half(28) as usize != block.len() {
        return Err(Mismatch::WrongLength(half(28)));
    }
    let crc = crc32c::crc32c(&block[..CRC_AT]);
    let crc = crc32c::crc32c_append(crc, &[0; HEADER_BYTES - CRC_AT]);
    let computed = crc32c::crc32c_append(crc, &block[HEADER_BYTES..]);
    let found = half(CRC_AT);
    if found != computed {
        return Err(Mismatch::WrongChecksum { found, computed });
    }
    if word(8) != offset {
        return Err(Mismatch::WrongPlace(word(8)));
    }
    match expected_pass.map(u32::from) {
        Some(expected) if expected != half(24) => Err(Mismatch::Stale { found: half(24), expected }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    const REGION: Region = Region { start: 4096, length: 10 * 4096 };

    fn verifier() -> Verifier {
        let mut job = sample::job("verify", 0, false, true);
        job.verify = Some(Verify { read_back: true, fatal: false, by_pattern: false });
        Verifier::new(&job, &[REGION]).unwrap().unwrap()
    }

    fn write(offset: u64, blocks: u64) -> Operation {
        Operation { verb: Verb::Write, file: 0, offset, length: blocks * 4096, number: 0 }
    }

    #[test]
    fn every_kind_of_damage_is_found() {
        let mut verifier = verifier();
        let operation = write(8192, 2);
        let mut content = vec![7; 8192];
        verifier.stamp(&mut content, &operation);
        verifier.wrote(&operation, true);
        assert_eq!(verifier.check(&content, &operation, true), []);
        for at in [40, 4095, 4096 + 100, 20] {
            let mut damaged = content.clone();
            damaged[at] ^= 1;
            let found = verifier.check(&damaged, &operation, true);
            assert_eq!(found.len(), 1, "byte {at}");
            assert_eq!(found[0].offset, 8192 + at as u64 / 4096 * 4096);
        }
        let elsewhere = verifier.check(&content[..4096], &write(4096, 1), false);
        assert_eq!(elsewhere[0].mismatch, Mismatch::WrongPlace(8192));
        assert_eq!(verifier.check(&[0; 4096], &write(4096, 1), false)[0].mismatch, Mismatch::NoHeader);
    }

    #[test]
    fn a_write_that_did_not_arrive_is_stale() {
        let mut verifier = verifier();
        let operation = write(8192, 1);
        let mut old = vec![7; 4096];
        verifier.stamp(&mut old, &operation);
        verifier.wrote(&operation, true);
        verifier.next_pass();
        verifier.wrote(&operation, true);
        let found = verifier.check(&old, &operation, true);
        assert_eq!(found[0].mismatch, Mismatch::Stale { found: 1, expected: 2 });
    }

    #[test]
    fn what_was_written_and_only_that_is_read_back() {
        let mut verifier = verifier();
        verifier.wrote(&write(4096, 1), true);
        verifier.wrote(&write(12_288, 2), true);
        verifier.wrote(&write(16_384, 1), false);
        verifier.read_most = 8192;
        let reads: Vec<(u64, u64)> =
            std::iter::from_fn(|| verifier.next_read()).map(|read| (read.offset, read.length)).collect();
        assert_eq!(reads, [(4096, 4096), (12_288, 4096)]);
    }
}
