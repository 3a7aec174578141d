//! The ways of computing a combination. Each gives the same bytes; a machine has some of them.

use super::tables::Tables;
#[cfg(target_arch = "x86_64")]
use super::x86;

/// A way of computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Byte by byte, from the tables of the field.
    Plain,
    /// 32 bytes at once, by two tables of 16 products each.
    Avx2,
    /// 32 bytes at once, by an instruction that multiplies by a matrix of bits.
    Gfni,
    /// The same with 64 bytes.
    Gfni512,
}

impl Kernel {
    /// All ways, the fastest last.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Avx2, Self::Gfni, Self::Gfni512];

    /// Returns whether this machine has it.
    pub fn is_there(self) -> bool {
        self.instructions().is_none_or(Instructions::are_there)
    }

    /// Returns the fastest way of this machine.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|kernel| kernel.is_there()).unwrap_or(Self::Plain)
    }

    fn instructions(self) -> Option<Instructions> {
        match self {
            Self::Plain => None,
            Self::Avx2 => Some(Instructions::Avx2),
            Self::Gfni => Some(Instructions::Gfni),
            Self::Gfni512 => Some(Instructions::Gfni512),
        }
    }

    /// Computes the first bytes of all outputs, as many as whole steps have, and returns how many. Those behind
    /// are left to the caller.
    ///
    /// # Panics
    /// Panics when the pieces are not of one length, or the machine does not have the way.
    pub fn run(self, tables: &[Tables], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> usize {
        self.instructions().map_or(0, |instructions| instructions.run(tables, inputs, outputs))
    }
}

#[cfg(target_arch = "x86_64")]
use x86::Instructions;

/// No other instructions than those of the language are used on other machines.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy)]
enum Instructions {
    Avx2,
    Gfni,
    Gfni512,
}

#[cfg(not(target_arch = "x86_64"))]
impl Instructions {
    fn are_there(self) -> bool {
        false
    }

    fn run(self, _: &[Tables], _: &[&[u8]], _: &mut [&mut [u8]]) -> usize {
        0
    }
}
