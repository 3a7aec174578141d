//! Parity over several drives: K pieces of data get M pieces of parity, and any K of the K + M give all others.
//!
//! The parity of row r is the sum of the data pieces c, each multiplied by (K + c) / (K + r + c), where + is
//! exclusive or of the numbers and the division is that of [`field`]. That is a Cauchy matrix whose columns are
//! divided by their first elements, so that the first row is the plain exclusive or of the data. The matrix is part
//! of the format on the drive.
//!
//! What multiplies and adds is a [`Combination`]: of data for parity, and of whatever is left for what is lost.

pub mod combination;
pub mod field;
mod kernel;
mod tables;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use self::combination::Combination;
pub use self::kernel::Kernel;

use self::field::{inverse, product};

/// The most pieces of data: a header has room for the checksums of so many.
pub const DATA_MAX: usize = 14;
/// The most pieces of parity.
pub const PARITY_MAX: usize = 4;

/// Makes parity, and whatever is lost from what is left.
pub trait Codec {
    /// Returns the number of pieces of data, and of pieces of parity.
    fn shape(&self) -> (usize, usize);

    /// Returns what makes the pieces of parity from those of data, in their order.
    fn parity(&self) -> &Combination;

    /// Returns what makes the pieces `wanted` from the pieces `left`, by their numbers: data from 0 on, parity behind.
    /// It needs as many that are left as there are pieces of data, and takes them in the order in which they are named.
    ///
    /// # Errors
    /// Returns [`Unusable`] if these pieces can not be told from those.
    fn recovery(&self, left: &[usize], wanted: &[usize]) -> Result<Combination, Unusable>;
}

/// The reason why pieces can not be made from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// More or fewer are given than there are pieces of data, or one twice, or one that there is not.
    Left,
    /// A piece is wanted that there is not.
    Wanted,
}

/// The code of this format.
#[derive(Clone, Debug)]
pub struct ReedSolomon {
    data: usize,
    parity: Combination,
}

impl ReedSolomon {
    /// Returns the code of `data` pieces of data and `parity` pieces of parity, or `None` when the format has none.
    pub fn new(data: usize, parity: usize) -> Option<Self> {
        let possible = (1..=DATA_MAX).contains(&data) && (1..=PARITY_MAX).contains(&parity);
        let row = |row| (0..data).map(move |column| coefficient(data, row, column));
        let rows = || (0..parity).flat_map(row).collect();
        possible.then(|| Self { data, parity: Combination::new(data, rows()) })
    }

    /// Returns by what each piece of data is multiplied in a piece.
    fn row(&self, piece: usize) -> Vec<u8> {
        match piece.checked_sub(self.data) {
            None => (0..self.data).map(|column| u8::from(column == piece)).collect(),
            Some(row) => (0..self.data).map(|column| coefficient(self.data, row, column)).collect(),
        }
    }
}

/// Returns by what a piece of data is multiplied in a row of parity.
fn coefficient(data: usize, row: usize, column: usize) -> u8 {
    product((data ^ column) as u8, inverse(((data + row) ^ column) as u8))
}

impl Codec for ReedSolomon {
    fn shape(&self) -> (usize, usize) {
        (self.data, self.parity.outputs())
    }

    fn parity(&self) -> &Combination {
        &self.parity
    }

    fn recovery(&self, left: &[usize], wanted: &[usize]) -> Result<Combination, Unusable> {
        let pieces = self.data + self.parity.outputs();
        let distinct = (1..left.len()).all(|at| !left[..at].contains(&left[at]));
        if left.len() != self.data || !distinct || left.iter().any(|piece| *piece >= pieces) {
            return Err(Unusable::Left);
        }
        if wanted.iter().any(|piece| *piece >= pieces) {
            return Err(Unusable::Wanted);
        }
        let rows = left.iter().map(|piece| self.row(*piece)).collect();
        let inverted = inverted(rows).ok_or(Unusable::Left)?;
        let mut coefficients = Vec::with_capacity(wanted.len() * self.data);
        for piece in wanted {
            let row = self.row(*piece);
            for column in 0..self.data {
                let parts = row.iter().zip(&inverted).map(|(factor, line)| product(*factor, line[column]));
                coefficients.push(parts.fold(0, |sum, part| sum ^ part));
            }
        }
        Ok(Combination::new(self.data, coefficients))
    }
}

/// Returns the inverse of a square matrix by Gauss and Jordan, or `None` when there is none.
fn inverted(mut rows: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let size = rows.len();
    let mut inverse_rows: Vec<Vec<u8>> =
        (0..size).map(|row| (0..size).map(|column| u8::from(row == column)).collect()).collect();
    for at in 0..size {
        let pivot = (at..size).find(|row| rows[*row][at] != 0)?;
        rows.swap(at, pivot);
        inverse_rows.swap(at, pivot);
        let factor = inverse(rows[at][at]);
        for value in rows[at].iter_mut().chain(&mut inverse_rows[at]) {
            *value = product(*value, factor);
        }
        for other in (0..size).filter(|other| *other != at) {
            let factor = rows[other][at];
            for column in 0..size {
                let (one, two) =
                    (product(rows[at][column], factor), product(inverse_rows[at][column], factor));
                rows[other][column] ^= one;
                inverse_rows[other][column] ^= two;
            }
        }
    }
    Some(inverse_rows)
}
