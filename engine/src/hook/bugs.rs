//! Deliberate bugs that the simulation must be able to catch.
//!
//! Invariants:
//! - Only a simulated node can be given a bug, and only in a build with the feature `planted-bugs`.
//!   Without it a [`Planted`] holds nothing and every question is answered at compile time.
//! - Each bug is one line at the place where the correct order is kept, so that it is a bug that
//!   somebody might write.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A batch counts as durable as soon as the drive has it in its cache.
    SkipFlush,
    /// The index changes and the client is answered while the batch is still being written.
    AcknowledgeBeforeCommit,
    /// The extents of the current checkpoint are free as soon as the next one begins, and readers'
    /// pins are ignored.
    ReuseSpaceEarly,
    /// The numbers of the current checkpoint's sets are free as soon as the next one begins.
    ReuseNumberEarly,
    /// The number of a set that the checkpoint being written names is free as soon as the set is
    /// given up.
    ReuseListedNumber,
    /// The checksums of slices are not verified.
    IgnoreCrc,
    /// Recovery writes the next batch over the last batch of the log.
    LoseTail,
    /// An object is put again at the new places of its slices before the copies are durable.
    MoveUnflushed,
    /// A put in a bucket with suspended versioning adds a null version and keeps the old one.
    KeepNullVersion,
    /// Delete markers are missing when a checkpoint is loaded.
    LoseMarkers,
    /// The cleaner's copy of a record of metadata counts although newer metadata came first.
    RollBackMetadata,
    /// An object's place among the versions of its key is decided when its slices are reserved.
    EarlyGeneration,
    /// The cleaner's copy of a record makes the index forget that its version is locked.
    MoveUnlocked,
    /// A change of metadata makes the index forget the retention of its version.
    LoseRetention,
    /// Retentions are judged by the wall clock, however far it steps.
    BelieveClock,
    /// A quota is judged by what is stored, without what is on its way.
    JudgeQuotaByUsage,
    /// A reader accepts a sound record whatever place and life it was written for.
    IgnoreMark,
    /// A life continues the log where the previous life ended.
    ContinueTornLog,
    /// What expires is not judged again once its key is locked.
    ExpireTwice,
    /// A checkpoint has none of the node's records.
    ForgetNodeRecords,
    /// A start leaves what was on its way to some of a shard's homes as it is.
    LeaveLogsUneven,
    /// A batch counts as durable as soon as one home has it.
    AcknowledgeBeforeLastCopy,
    /// What an older root names is let go when the new root is durable on one home.
    InstallRootOnOneHome,
    /// A start leaves the homes that have an older root with it.
    LeaveRootsUneven,
    /// A start writes its view without a promise before.
    StartWithoutPromise,
    /// A view without a drive that failed is used when the first of its drives has it.
    UseViewEarly,
    /// A drive that failed is left out, and no view says so.
    DropWithoutView,
    /// A drive that came back is a home again at once.
    BelieveReturned,
    /// A view that was begun is given up when one of its drives fails, and its number is used again.
    GiveUpView,
    /// A drive that came back is a home again before it has a root, by which a start would find its log.
    HomeWithoutRoot,
    /// What would be lost with the next drive is brought up to date when its turn comes by its name.
    HealInAnyOrder,
    /// A drive that came back is a home again before the bodies have ended that were not written to it.
    ForgetOldBodies,
    /// A damaged copy is written anew some time after the reader let its place go.
    MendLate,
    /// A drive is opened although writes of a dead process to it have not ended.
    OpenUnderOldWrites,
    /// The parity of whatever lay in a slot before is taken for that of a slice.
    OldParity,
    /// The last row of a striped slice gets no parity if it is short.
    ShortRowWithoutParity,
    /// Parity is made over what a buffer held where a body ends, and zeros are written there.
    ParityOverPadding,
    /// What another drive was asked for since one was late is written anew on the late one.
    MendLateDrive,
    /// A drive takes a seat while what was sent to it at another place is still on its way.
    SeatWhileBusy,
    /// A drive takes a seat, and no shard claims what it has there.
    SeatWithoutClaims,
    /// The extent of a member that has moved is used again, and only the next checkpoint says that it moved.
    FreeMemberEarly,
    /// Tails of objects are left on a drive that is emptied.
    DrainLeavesTail,
}

impl Bug {
    /// The bugs that random seeds find.
    pub const ALL: [Self; 14] = [
        Self::SkipFlush,
        Self::AcknowledgeBeforeCommit,
        Self::ReuseSpaceEarly,
        Self::IgnoreCrc,
        Self::LoseTail,
        Self::MoveUnflushed,
        Self::KeepNullVersion,
        Self::LoseMarkers,
        Self::RollBackMetadata,
        Self::EarlyGeneration,
        Self::MoveUnlocked,
        Self::LoseRetention,
        Self::BelieveClock,
        Self::ForgetNodeRecords,
    ];

    /// The bugs that random seeds find in worlds with several copies of everything.
    pub const MIRRORED: [Self; 3] =
        [Self::LeaveLogsUneven, Self::AcknowledgeBeforeLastCopy, Self::InstallRootOnOneHome];

    /// The bugs that need a coincidence that random seeds do not find. Tests of the engine arrange
    /// it.
    pub const AIMED: [Self; 25] = [
        Self::IgnoreMark,
        Self::ContinueTornLog,
        Self::ReuseNumberEarly,
        Self::ReuseListedNumber,
        Self::JudgeQuotaByUsage,
        Self::ExpireTwice,
        Self::LeaveRootsUneven,
        Self::StartWithoutPromise,
        Self::UseViewEarly,
        Self::DropWithoutView,
        Self::BelieveReturned,
        Self::GiveUpView,
        Self::HomeWithoutRoot,
        Self::HealInAnyOrder,
        Self::ForgetOldBodies,
        Self::MendLate,
        Self::OpenUnderOldWrites,
        Self::OldParity,
        Self::ShortRowWithoutParity,
        Self::ParityOverPadding,
        Self::MendLateDrive,
        Self::SeatWhileBusy,
        Self::SeatWithoutClaims,
        Self::FreeMemberEarly,
        Self::DrainLeavesTail,
    ];

    /// Returns the name that the command line and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::SkipFlush => "skip-flush",
            Self::AcknowledgeBeforeCommit => "acknowledge-before-commit",
            Self::ReuseSpaceEarly => "reuse-space-early",
            Self::ReuseNumberEarly => "reuse-number-early",
            Self::ReuseListedNumber => "reuse-listed-number",
            Self::IgnoreCrc => "ignore-crc",
            Self::LoseTail => "lose-tail",
            Self::MoveUnflushed => "move-unflushed",
            Self::KeepNullVersion => "keep-null-version",
            Self::LoseMarkers => "lose-markers",
            Self::RollBackMetadata => "roll-back-metadata",
            Self::EarlyGeneration => "early-generation",
            Self::MoveUnlocked => "move-unlocked",
            Self::LoseRetention => "lose-retention",
            Self::BelieveClock => "believe-clock",
            Self::JudgeQuotaByUsage => "judge-quota-by-usage",
            Self::IgnoreMark => "ignore-mark",
            Self::ContinueTornLog => "continue-torn-log",
            Self::ExpireTwice => "expire-twice",
            Self::ForgetNodeRecords => "forget-node-records",
            Self::LeaveLogsUneven => "leave-logs-uneven",
            Self::AcknowledgeBeforeLastCopy => "acknowledge-before-last-copy",
            Self::InstallRootOnOneHome => "install-root-on-one-home",
            Self::LeaveRootsUneven => "leave-roots-uneven",
            Self::StartWithoutPromise => "start-without-promise",
            Self::UseViewEarly => "use-view-early",
            Self::DropWithoutView => "drop-without-view",
            Self::BelieveReturned => "believe-returned",
            Self::GiveUpView => "give-up-view",
            Self::HomeWithoutRoot => "home-without-root",
            Self::HealInAnyOrder => "heal-in-any-order",
            Self::ForgetOldBodies => "forget-old-bodies",
            Self::MendLate => "mend-late",
            Self::OpenUnderOldWrites => "open-under-old-writes",
            Self::OldParity => "old-parity",
            Self::ShortRowWithoutParity => "short-row-without-parity",
            Self::ParityOverPadding => "parity-over-padding",
            Self::MendLateDrive => "mend-late-drive",
            Self::SeatWhileBusy => "seat-while-busy",
            Self::SeatWithoutClaims => "seat-without-claims",
            Self::FreeMemberEarly => "free-member-early",
            Self::DrainLeavesTail => "drain-leaves-tail",
        }
    }
}

/// The deliberate bug of a node, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Planted(#[cfg(feature = "planted-bugs")] Option<Bug>);

impl Planted {
    #[cfg(feature = "planted-bugs")]
    pub fn new(bug: Option<Bug>) -> Self {
        Self(bug)
    }

    /// Returns whether the node has this bug.
    #[cfg(feature = "planted-bugs")]
    pub fn is(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }

    /// Returns false, because this build has no deliberate bugs.
    #[cfg(not(feature = "planted-bugs"))]
    pub const fn is(self, _: Bug) -> bool {
        false
    }
}
