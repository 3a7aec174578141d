//! Rare paths: places in the engine that a long simulation must have been to, or it proved little.
//!
//! Invariants:
//! - A place is one line, `reached(Rare::…)`, and changes nothing. In a build without the feature `planted-bugs` it is
//!   nothing at all.
//! - Counts are of one thread: a simulated world never leaves the thread that runs it.

/// A place that is rarely reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rare {
    /// Compaction put an object anew at its slices' new places.
    SliceMoved,
    /// Compaction left an object alone, because somebody was changing it.
    MoveSkipped,
    /// The cleaner moved the record of a live object.
    RecordMoved,
    /// An overwrite or a delete came before the cleaner's copy of the old record.
    MoveLost,
    /// A queue between two cores was full.
    MailboxFull,
    /// A replay ended at a batch that is there in part: a torn tail.
    TornTail,
    /// A replay went on from one extent of the log to the next.
    ReplayRolled,
    /// The cleaner put the record of a loss in place of a damaged one.
    RecordLost,
    /// The log went on to another extent while the shard was open.
    LogRolled,
    /// A life began its log in another extent, because of its first record.
    LifeBegun,
    /// It did so on a full drive.
    LifeBegunShort,
    /// A replay found only the copy of the batch that began a life.
    BeginningCopied,
    /// A shard refused to open because a durable batch is damaged.
    DamageRefused,
    /// A body waited for a buffer.
    BufferWaited,
    /// A body waited for a buffer in vain.
    BufferRefused,
    /// Something new was refused at the cap of the index.
    IndexFull,
    /// A checkpoint was not taken, or not installed, because there was no room or the device failed.
    CheckpointFailed,
    /// Space of a replaced object was kept for a reader of it.
    ReaderKeptSpace,
    /// A put waited until a checkpoint, the cleaner or compaction gave space back.
    SpaceReclaimed,
    /// The scrub found something damaged.
    ScrubFinding,
    /// The scrub came to the end of a pass.
    ScrubPass,
    /// An upload was ended because of its age.
    UploadAged,
    /// A part was put again, and the one before was freed.
    PartReplaced,
    /// A completed upload freed parts that the object does not take.
    PartUnused,
    /// A writer waited until the deletion of its bucket was decided.
    BucketLeaving,
}

impl Rare {
    pub const COUNT: usize = 25;
    pub const ALL: [Self; Self::COUNT] = [
        Self::SliceMoved,
        Self::MoveSkipped,
        Self::RecordMoved,
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
    ];

    /// As reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SliceMoved => "slice-moved",
            Self::MoveSkipped => "move-skipped",
            Self::RecordMoved => "record-moved",
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
        }
    }
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static REACHED: std::cell::Cell<[u64; Rare::COUNT]> = const { std::cell::Cell::new([0; Rare::COUNT]) };
}

/// Notes that a place was reached.
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

/// How often each place was reached on this thread since the last call.
#[cfg(feature = "planted-bugs")]
pub fn take_reached() -> [u64; Rare::COUNT] {
    REACHED.with(|counts| counts.replace([0; Rare::COUNT]))
}
