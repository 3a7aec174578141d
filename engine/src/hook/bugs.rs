//! Bugs on purpose: what the simulation must be able to catch.
//!
//! Invariants:
//! - Only a simulated node can be given one, and only in a build with the feature `planted-bugs`. Without it a
//!   [`Planted`] holds nothing and every question is answered at compile time.
//! - Each is one line at the place where the real order is kept, so that it is the bug that somebody might write.

/// A kind of bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A batch counts as durable as soon as the drive has it in its cache.
    SkipFlush,
    /// The index changes and the client hears of it while the batch is still being written.
    AcknowledgeBeforeCommit,
    /// The extents of the checkpoint in force are free as soon as the next one begins; readers' pins mean nothing.
    ReuseSpaceEarly,
    /// The checksums of slices are not looked at.
    IgnoreCrc,
    /// Recovery takes the last batch of the log for the place where the next one goes.
    LoseTail,
    /// An object is put anew at its slices' new places before the copies are durable.
    MoveUnflushed,
    /// A reader believes a sound record, whatever place and life it was written for.
    IgnoreMark,
    /// A life writes its records where the last one ended.
    ContinueTornLog,
}

impl Bug {
    pub const ALL: [Self; 6] = [
        Self::SkipFlush,
        Self::AcknowledgeBeforeCommit,
        Self::ReuseSpaceEarly,
        Self::IgnoreCrc,
        Self::LoseTail,
        Self::MoveUnflushed,
    ];

    /// Those that take a coincidence which seeds do not find: tests of the engine arrange it.
    pub const AIMED: [Self; 2] = [Self::IgnoreMark, Self::ContinueTornLog];

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SkipFlush => "skip-flush",
            Self::AcknowledgeBeforeCommit => "acknowledge-before-commit",
            Self::ReuseSpaceEarly => "reuse-space-early",
            Self::IgnoreCrc => "ignore-crc",
            Self::LoseTail => "lose-tail",
            Self::MoveUnflushed => "move-unflushed",
            Self::IgnoreMark => "ignore-mark",
            Self::ContinueTornLog => "continue-torn-log",
        }
    }
}

/// The bug of a node, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Planted(#[cfg(feature = "planted-bugs")] Option<Bug>);

impl Planted {
    #[cfg(feature = "planted-bugs")]
    pub fn new(bug: Option<Bug>) -> Self {
        Self(bug)
    }

    #[cfg(feature = "planted-bugs")]
    pub fn is(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }

    #[cfg(not(feature = "planted-bugs"))]
    pub const fn is(self, _: Bug) -> bool {
        false
    }
}
