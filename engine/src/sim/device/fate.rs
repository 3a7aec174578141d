//! What happens to a simulated drive, and to what was not durable when its power goes.

/// Bytes that are written together or not at all.
pub(super) const SECTOR: usize = 512;

/// What becomes of one write that was not durable when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Lost,
    /// The first sectors are there, the others are not.
    Torn {
        sectors: usize,
    },
    /// Sector `n` is there if bit `n % 64` is set.
    Scattered {
        mask: u64,
    },
}

/// What the drive does wrong from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub fail_reads: bool,
    pub fail_writes: bool,
    pub fail_flushes: bool,
    /// Flushes answer well and do nothing: what a test of the tests plants.
    pub lie_about_flushes: bool,
}
