//! Combinations by instructions of x86-64 that not every processor has.
//!
//! Each way reads a step of every input once, and keeps the sums of up to four outputs in registers meanwhile.
//!
//! Invariant: what runs them has seen that the machine has them, and that all pieces are of one length.

use std::arch::x86_64::{
    __m256i, __m512i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_gf2p8affine_epi64_epi8, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256,
    _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_xor_si512,
};

use super::tables::Tables;

/// Instructions beyond those that all processors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// Shuffles of bytes, 32 at once.
    Avx2,
    /// Multiplications by a matrix of bits, 32 bytes at once.
    Gfni,
    /// The same with 64 bytes.
    Gfni512,
}

/// Outputs that are computed together.
const TOGETHER: usize = 4;
/// Registers of each output, so that the additions of one do not wait for each other.
const WIDTH: usize = 2;

impl Instructions {
    /// Returns whether the machine has them.
    pub fn are_there(self) -> bool {
        match self {
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Gfni => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("gfni"),
            Self::Gfni512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("gfni"),
        }
    }

    /// Computes as many bytes of the outputs as whole steps have, and returns their number.
    ///
    /// # Panics
    /// Panics when the machine does not have the instructions, or the pieces are not of one length.
    pub fn run(self, tables: &[Tables], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> usize {
        assert!(self.are_there(), "{self:?}");
        let bytes = inputs.first().map_or(0, |input| input.len());
        let lengths = inputs.iter().map(|input| input.len()).chain(outputs.iter().map(|output| output.len()));
        lengths.for_each(|length| assert_eq!(length, bytes, "pieces of one length"));
        assert_eq!(tables.len(), inputs.len() * outputs.len(), "a table for each input of each output");
        let step = WIDTH * if self == Self::Gfni512 { 64 } else { 32 };
        let length = bytes / step * step;
        let groups = tables.chunks(TOGETHER * inputs.len().max(1)).zip(outputs.chunks_mut(TOGETHER));
        for (tables, outputs) in groups {
            // SAFETY: the machine has the instructions, and all pieces have `bytes` bytes.
            unsafe {
                match outputs.len() {
                    1 => group::<1>(self, tables, inputs, outputs, length),
                    2 => group::<2>(self, tables, inputs, outputs, length),
                    3 => group::<3>(self, tables, inputs, outputs, length),
                    _ => group::<TOGETHER>(self, tables, inputs, outputs, length),
                }
            }
        }
        length
    }
}

/// # Safety
/// The machine must have the instructions, and all pieces at least `length` bytes.
unsafe fn group<const OUTPUTS: usize>(
    instructions: Instructions,
    tables: &[Tables],
    inputs: &[&[u8]],
    outputs: &mut [&mut [u8]],
    length: usize,
) {
    let targets: [*mut u8; OUTPUTS] = std::array::from_fn(|output| outputs[output].as_mut_ptr());
    // SAFETY: as this function asks.
    unsafe {
        match instructions {
            Instructions::Gfni512 => gfni_512(tables, inputs, targets, length),
            Instructions::Gfni => gfni(tables, inputs, targets, length),
            Instructions::Avx2 => avx2(tables, inputs, targets, length),
        }
    }
}

/// # Safety
/// The machine must have the instructions, and all pieces at least `length` bytes, a multiple of a step.
#[target_feature(enable = "avx512f,gfni")]
unsafe fn gfni_512<const OUTPUTS: usize>(
    tables: &[Tables],
    inputs: &[&[u8]],
    targets: [*mut u8; OUTPUTS],
    length: usize,
) {
    for at in (0..length).step_by(64 * WIDTH) {
        let mut sums = [[_mm512_setzero_si512(); WIDTH]; OUTPUTS];
        for (number, input) in inputs.iter().enumerate() {
            // SAFETY: the step lies within the input.
            let bytes: [__m512i; WIDTH] = std::array::from_fn(|part| unsafe {
                _mm512_loadu_si512(input.as_ptr().add(at + 64 * part).cast())
            });
            for (output, sums) in sums.iter_mut().enumerate() {
                let matrix = _mm512_set1_epi64(tables[output * inputs.len() + number].bits as i64);
                for (sum, bytes) in sums.iter_mut().zip(bytes) {
                    *sum = _mm512_xor_si512(*sum, _mm512_gf2p8affine_epi64_epi8::<0>(bytes, matrix));
                }
            }
        }
        for (target, sums) in targets.into_iter().zip(sums) {
            for (part, sum) in sums.into_iter().enumerate() {
                // SAFETY: the step lies within the output.
                unsafe { _mm512_storeu_si512(target.add(at + 64 * part).cast(), sum) };
            }
        }
    }
}

/// # Safety
/// The machine must have the instructions, and all pieces at least `length` bytes, a multiple of a step.
#[target_feature(enable = "avx2,gfni")]
unsafe fn gfni<const OUTPUTS: usize>(
    tables: &[Tables],
    inputs: &[&[u8]],
    targets: [*mut u8; OUTPUTS],
    length: usize,
) {
    for at in (0..length).step_by(32 * WIDTH) {
        let mut sums = [[_mm256_setzero_si256(); WIDTH]; OUTPUTS];
        for (number, input) in inputs.iter().enumerate() {
            // SAFETY: the step lies within the input.
            let bytes = unsafe { load(input, at) };
            for (output, sums) in sums.iter_mut().enumerate() {
                let matrix = _mm256_set1_epi64x(tables[output * inputs.len() + number].bits as i64);
                for (sum, bytes) in sums.iter_mut().zip(bytes) {
                    *sum = _mm256_xor_si256(*sum, _mm256_gf2p8affine_epi64_epi8::<0>(bytes, matrix));
                }
            }
        }
        // SAFETY: the step lies within the outputs.
        unsafe { store(targets, at, sums) };
    }
}

/// # Safety
/// The machine must have the instructions, and all pieces at least `length` bytes, a multiple of a step.
#[target_feature(enable = "avx2")]
unsafe fn avx2<const OUTPUTS: usize>(
    tables: &[Tables],
    inputs: &[&[u8]],
    targets: [*mut u8; OUTPUTS],
    length: usize,
) {
    let half = _mm256_set1_epi8(0x0f);
    for at in (0..length).step_by(32 * WIDTH) {
        let mut sums = [[_mm256_setzero_si256(); WIDTH]; OUTPUTS];
        for (number, input) in inputs.iter().enumerate() {
            // SAFETY: the step lies within the input.
            let bytes = unsafe { load(input, at) };
            let low = bytes.map(|bytes| _mm256_and_si256(bytes, half));
            let high = bytes.map(|bytes| _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), half));
            for (output, sums) in sums.iter_mut().enumerate() {
                let tables = &tables[output * inputs.len() + number];
                // SAFETY: a table has 16 bytes.
                let products = [&tables.low, &tables.high].map(|table| unsafe {
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()))
                });
                for (part, sum) in sums.iter_mut().enumerate() {
                    let low = _mm256_shuffle_epi8(products[0], low[part]);
                    let high = _mm256_shuffle_epi8(products[1], high[part]);
                    *sum = _mm256_xor_si256(*sum, _mm256_xor_si256(low, high));
                }
            }
        }
        // SAFETY: the step lies within the outputs.
        unsafe { store(targets, at, sums) };
    }
}

/// # Safety
/// `input` must have a step from `at` on.
#[target_feature(enable = "avx2")]
unsafe fn load(input: &[u8], at: usize) -> [__m256i; WIDTH] {
    // SAFETY: as this function asks.
    std::array::from_fn(|part| unsafe { _mm256_loadu_si256(input.as_ptr().add(at + 32 * part).cast()) })
}

/// # Safety
/// Each of the targets must have a step from `at` on.
#[target_feature(enable = "avx2")]
unsafe fn store<const OUTPUTS: usize>(
    targets: [*mut u8; OUTPUTS],
    at: usize,
    sums: [[__m256i; WIDTH]; OUTPUTS],
) {
    for (target, sums) in targets.into_iter().zip(sums) {
        for (part, sum) in sums.into_iter().enumerate() {
            // SAFETY: as this function asks.
            unsafe { _mm256_storeu_si256(target.add(at + 32 * part).cast(), sum) };
        }
    }
}
