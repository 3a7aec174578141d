//! The faults that a test gives a simulated drive, and the fate of writes that were not durable at
//! a power cut.

/// Bytes that are written together or not at all.
pub(super) const SECTOR: usize = 512;

/// The fate of one write that was not durable when the power was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Lost,
    /// The first sectors are written, the others are not.
    Torn {
        sectors: usize,
    },
    /// Sector `n` is written if bit `n % 64` is set.
    Scattered {
        mask: u64,
    },
}

/// The faults that a drive has from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub fail_reads: bool,
    pub fail_writes: bool,
    pub fail_flushes: bool,
    /// Set to make flushes succeed without doing anything. It is a planted fault that the tests
    /// must find.
    pub lie_about_flushes: bool,
}
