//! What multiplying by an element of the field needs, for the instructions that there are.

use super::field::product;

/// Multiplication by one element.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// The products with the 16 values of the lower and of the upper half of a byte.
    pub low: [u8; 16],
    pub high: [u8; 16],
    /// A matrix of bits: byte 7 - i has the bits of an input whose sum is bit i of the product.
    pub bits: u64,
}

impl Tables {
    pub fn of(element: u8) -> Self {
        let row = |bit: usize| {
            (0..8).fold(0u8, |row, input| row | (product(element, 1 << input) >> bit & 1) << input)
        };
        Self {
            low: std::array::from_fn(|half| product(element, half as u8)),
            high: std::array::from_fn(|half| product(element, (half as u8) << 4)),
            bits: u64::from_be_bytes(std::array::from_fn(row)),
        }
    }
}
