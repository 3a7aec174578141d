//! The findings of a check: what each kind means, and what can be done about it.

use std::path::PathBuf;

use super::Medium;

/// The kinds of findings. Their names are part of the JSON output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SuperblockCopy,
    Superblock,
    SuperblockParent,
    InterruptedUpdate,
    ShardRoot,
    Checkpoint,
    Log,
    LostBatches,
    LostRecord,
    TornTail,
    Record,
    Slice,
    Copy,
    Drive,
    SharedSpace,
    Owner,
    Accounting,
    Unreadable,
}

impl Kind {
    /// Returns the name of the kind for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::SuperblockCopy => "superblock-copy",
            Self::Superblock => "superblock",
            Self::SuperblockParent => "superblock-parent",
            Self::InterruptedUpdate => "interrupted-update",
            Self::ShardRoot => "shard-root",
            Self::Checkpoint => "checkpoint",
            Self::Log => "log",
            Self::LostBatches => "lost-batches",
            Self::LostRecord => "lost-record",
            Self::TornTail => "torn-tail",
            Self::Record => "record",
            Self::Slice => "slice",
            Self::Copy => "copy",
            Self::Drive => "drive",
            Self::SharedSpace => "shared-space",
            Self::Owner => "owner",
            Self::Accounting => "accounting",
            Self::Unreadable => "unreadable",
        }
    }

    /// Returns what the finding means for whoever runs the node.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::SuperblockCopy => {
                "one of the four copies is not what the others are; the others are enough"
            }
            Self::Superblock => {
                "no two copies agree, so a server refuses the drive; the newest whole copy may be old"
            }
            Self::SuperblockParent => {
                "a copy does not follow from the one before it: the drive lost or mixed up writes"
            }
            Self::InterruptedUpdate => {
                "the last update of the superblock was cut off; normal after a kill or power cut"
            }
            Self::ShardRoot => "where the shard begins is not known any more: a server refuses the drive",
            Self::Checkpoint => "a part of the shard's index is lost: a server refuses the drive",
            Self::Log => "acknowledged changes are damaged: a server refuses the drive",
            Self::LostBatches => {
                "the changes in it can not be named; objects written, replaced or deleted by them are as they were before"
            }
            Self::LostRecord => "this change is lost: the object, if there is one, is as it was before",
            Self::TornTail => {
                "the last write of the log was cut off before it was acknowledged; nothing is lost"
            }
            Self::Record => "the object can not be read: a GET answers 500",
            Self::Slice => "at least a part of the object can not be read: a GET answers 500 or breaks off",
            Self::Copy => {
                "it survives one drive less than it should; the server writes the copy anew when it reads it, as its \
                 scrub does"
            }
            Self::Drive => "the set has fewer copies than it was formatted for; the others are looked at",
            Self::SharedSpace => "two objects claim the same space, so one of them is not what it was",
            Self::Owner => "an extent belongs to nobody it should, or to two: a server refuses the drive",
            Self::Accounting => "the sums of the shard do not add up; a bug or damage that no checksum shows",
            Self::Unreadable => {
                "the drive itself reports errors: replace it soon; what it held is reported by itself"
            }
        }
    }
}

/// The remedy for a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing has to be done.
    None,
    /// `--repair` mends it, and nothing is lost by that.
    Lossless,
    /// `--repair --accept-loss` goes on without what is damaged.
    Loss,
    /// No repair can mend it.
    Beyond,
}

impl Remedy {
    /// Returns the name of the remedy for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lossless => "repair",
            Self::Loss => "repair-with-loss",
            Self::Beyond => "beyond-repair",
        }
    }

    /// Returns the advice for whoever runs the node.
    pub fn advice(self) -> &'static str {
        match self {
            Self::None => "nothing has to be done",
            Self::Lossless => "`--repair` mends it without loss",
            Self::Loss => "restore it from a copy, or go on without it: `--repair --accept-loss`",
            Self::Beyond => "restore the drive from a copy, or format it anew and its objects from elsewhere",
        }
    }
}

/// A place on a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub extent: u32,
    /// Offset from the extent's start, bytes.
    pub offset: u32,
}

/// The name of an object, or of the object that an upload was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    pub bucket: u32,
    /// The bucket's name; `None` when the bucket's own record is lost.
    pub bucket_name: Option<String>,
    pub key: Vec<u8>,
    /// The id by which clients know the version that the finding concerns; `None` when it concerns no
    /// version, or when it is not known which.
    pub version_id: Option<String>,
}

/// One thing on a drive that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub drive: PathBuf,
    pub kind: Kind,
    pub remedy: Remedy,
    pub shard: Option<u16>,
    pub place: Option<Place>,
    pub object: Option<ObjectName>,
    /// A description of what was found, with the values.
    pub text: String,
}

impl Finding {
    pub(super) fn new(medium: &Medium, kind: Kind, remedy: Remedy, text: String) -> Self {
        let drive = medium.path.clone();
        Self { drive, kind, remedy, shard: None, place: None, object: None, text }
    }

    /// Adds the place of the finding.
    pub(super) fn at(mut self, extent: u32, offset: u32) -> Self {
        self.place = Some(Place { extent, offset });
        self
    }

    /// Adds the object that the finding concerns.
    pub(super) fn of(mut self, object: Option<ObjectName>) -> Self {
        self.object = object;
        self
    }
}
