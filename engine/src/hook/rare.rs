//! Rare paths: places in the engine that a long simulation must reach, because otherwise it has
//! proved little.
//!
//! Invariants:
//! - A place is marked by one line, `reached(Rare::…)`, which changes nothing. In a build without
//!   the feature `planted-bugs` it compiles to nothing.
//! - Counts belong to one thread: a simulated world never leaves the thread that runs it.

/// A place that is rarely reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rare {
    /// Compaction put an object again at the new places of its slices.
    SliceMoved,
    /// Compaction left an object alone, because another task was changing it.
    MoveSkipped,
    /// The cleaner moved the record of a live object.
    RecordMoved,
    /// The cleaner moved the record of a version's metadata.
    MetaMoved,
    /// An overwrite or a delete was applied before the cleaner's copy of the old record.
    MoveLost,
    /// A queue between two cores was full.
    MailboxFull,
    /// A replay ended at a batch of which only a part is on the drive: a torn tail.
    TornTail,
    /// A replay continued from one extent of the log to the next.
    ReplayRolled,
    /// The cleaner replaced a damaged record with the record of a loss.
    RecordLost,
    /// The log continued in another extent while the shard was open.
    LogRolled,
    /// The first record of a life made it begin its log in another extent.
    LifeBegun,
    /// A life began its log in an extent that was held back, because the drive was full.
    LifeBegunShort,
    /// A replay found only the copy of the batch that began a life.
    BeginningCopied,
    /// A shard refused to open because a durable batch is damaged.
    DamageRefused,
    /// A body waited for a buffer.
    BufferWaited,
    /// A body waited for a buffer and was refused.
    BufferRefused,
    /// A new key or upload was refused because the index had reached its memory limit.
    IndexFull,
    /// A checkpoint was not taken, or not installed, because there was no room or the device
    /// failed.
    CheckpointFailed,
    /// The space of a replaced object was kept because a reader still used it.
    ReaderKeptSpace,
    /// A put waited until a checkpoint, the cleaner or compaction had freed space.
    SpaceReclaimed,
    /// The scrub found damage.
    ScrubFinding,
    /// The scrub finished a pass.
    ScrubPass,
    /// An upload was ended because of its age.
    UploadAged,
    /// A part was put again, and the previous one was freed.
    PartReplaced,
    /// A completed upload freed parts that are not in the object.
    PartUnused,
    /// A writer waited until the deletion of its bucket was decided.
    BucketLeaving,
    /// The number of a set was given to another set.
    SetNumberReused,
    /// The wall clock was too far ahead to be believed.
    ClockAhead,
    /// A replay went on with a batch that only another home has.
    LogOfAnotherHome,
    /// A start wrote what one home's log had to another home.
    LogMadeAlike,
    /// A reader wrote a damaged copy anew from another one.
    CopyMended,
    /// A piece of a striped slice was made from other members for a reader.
    SliceDecoded,
    /// A read was asked of another drive too, because the first one was late.
    ReadHedged,
    /// A body in a striped set went on with short pieces, since too few buffers were free.
    GroupShortened,
    /// A drive that failed left the view while the node ran.
    DriveDropped,
    /// A drive was dropped because it did not answer.
    DriveSilent,
    /// A drive that was out of the view was brought up to date, and is a home again.
    DriveBack,
    /// What would be lost with the next drive was brought up to date on a core.
    UrgentHealed,
    /// A drive came while the node ran.
    DriveSeated,
    /// A shard got another home while the node ran.
    HomeMoved,
    /// A member of a striped set moved to another drive.
    MemberMoved,
    /// A drive has got its share of old stripes.
    StripesSpread,
    /// A drive was emptied.
    DriveEmptied,
}

impl Rare {
    pub const COUNT: usize = 43;
    pub const ALL: [Self; Self::COUNT] = [
        Self::SliceMoved,
        Self::MoveSkipped,
        Self::RecordMoved,
        Self::MetaMoved,
        Self::MoveLost,
        Self::MailboxFull,
        Self::TornTail,
        Self::ReplayRolled,
        Self::RecordLost,
        Self::LogRolled,
        Self::LifeBegun,
        Self::LifeBegunShort,
        Self::BeginningCopied,
        Self::DamageRefused,
        Self::BufferWaited,
        Self::BufferRefused,
        Self::IndexFull,
        Self::CheckpointFailed,
        Self::ReaderKeptSpace,
        Self::SpaceReclaimed,
        Self::ScrubFinding,
        Self::ScrubPass,
        Self::UploadAged,
        Self::PartReplaced,
        Self::PartUnused,
        Self::BucketLeaving,
        Self::SetNumberReused,
        Self::ClockAhead,
        Self::LogOfAnotherHome,
        Self::LogMadeAlike,
        Self::CopyMended,
        Self::SliceDecoded,
        Self::ReadHedged,
        Self::GroupShortened,
        Self::DriveDropped,
        Self::DriveSilent,
        Self::DriveBack,
        Self::UrgentHealed,
        Self::DriveSeated,
        Self::HomeMoved,
        Self::MemberMoved,
        Self::StripesSpread,
        Self::DriveEmptied,
    ];

    /// Returns the name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::SliceMoved => "slice-moved",
            Self::MoveSkipped => "move-skipped",
            Self::RecordMoved => "record-moved",
            Self::MetaMoved => "meta-moved",
            Self::MoveLost => "move-lost",
            Self::MailboxFull => "mailbox-full",
            Self::TornTail => "torn-tail",
            Self::ReplayRolled => "replay-rolled",
            Self::RecordLost => "record-lost",
            Self::LogRolled => "log-rolled",
            Self::LifeBegun => "life-begun",
            Self::LifeBegunShort => "life-begun-short",
            Self::BeginningCopied => "beginning-copied",
            Self::DamageRefused => "damage-refused",
            Self::BufferWaited => "buffer-waited",
            Self::BufferRefused => "buffer-refused",
            Self::IndexFull => "index-full",
            Self::CheckpointFailed => "checkpoint-failed",
            Self::ReaderKeptSpace => "reader-kept-space",
            Self::SpaceReclaimed => "space-reclaimed",
            Self::ScrubFinding => "scrub-finding",
            Self::ScrubPass => "scrub-pass",
            Self::UploadAged => "upload-aged",
            Self::PartReplaced => "part-replaced",
            Self::PartUnused => "part-unused",
            Self::BucketLeaving => "bucket-leaving",
            Self::SetNumberReused => "set-number-reused",
            Self::ClockAhead => "clock-ahead",
            Self::LogOfAnotherHome => "log-of-another-home",
            Self::LogMadeAlike => "log-made-alike",
            Self::CopyMended => "copy-mended",
            Self::SliceDecoded => "slice-decoded",
            Self::ReadHedged => "read-hedged",
            Self::GroupShortened => "group-shortened",
            Self::DriveDropped => "drive-dropped",
            Self::DriveSilent => "drive-silent",
            Self::DriveBack => "drive-back",
            Self::UrgentHealed => "urgent-healed",
            Self::DriveSeated => "drive-seated",
            Self::HomeMoved => "home-moved",
            Self::MemberMoved => "member-moved",
            Self::StripesSpread => "stripes-spread",
            Self::DriveEmptied => "drive-emptied",
        }
    }
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static REACHED: std::cell::Cell<[u64; Rare::COUNT]> = const { std::cell::Cell::new([0; Rare::COUNT]) };
}

/// Counts that a place was reached.
#[cfg(feature = "planted-bugs")]
pub(crate) fn reached(place: Rare) {
    REACHED.with(|counts| {
        let mut now = counts.get();
        now[place as usize] += 1;
        counts.set(now);
    });
}

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn reached(_: Rare) {}

/// Returns how often each place was reached on this thread since the last call.
#[cfg(feature = "planted-bugs")]
pub fn take_reached() -> [u64; Rare::COUNT] {
    REACHED.with(|counts| counts.replace([0; Rare::COUNT]))
}
