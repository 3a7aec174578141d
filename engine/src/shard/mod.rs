//! A shard is the owner of a part of all keys. It lives on one core.
//!
//! [`Shard`] is assembled in `instance.rs`. The files hold:
//!
//! | file | what it holds |
//! |---|---|
//! | `put.rs`, `get.rs`, `list.rs`, `delete.rs`, `metadata.rs` | the operations on objects and their versions |
//! | `multipart.rs`, `buckets.rs` | the operations on uploads and buckets |
//! | `commit.rs` | the way of a commit with its key locked: judge, admit, queue; its end once it is durable |
//! | `instance.rs`, `settings.rs` | what a shard is made of, and what it is told when it opens |
//! | `growth.rs`, `quota.rs` | what changes add to buckets, and how those with a quota hear of it |
//! | `request.rs` | what crosses to the owner of a shard, and what comes back |
//! | `lifecycle.rs` | the walk over versions that rules are judged by, and what is due, under the key's lock |
//! | `lock_clock.rs`, `lock_time.rs` | the time by which retentions are judged |
//! | `entry.rs`, `info.rs` | what the index holds of an object; what a record says of it |
//! | `state.rs` | what the shard knows, and how each record changes it |
//! | `accounts.rs`, `space.rs` | where the bytes are; how space is allocated and freed |
//! | `checkpoint.rs`, `clean.rs`, `compact.rs` | maintenance |
//! | `maintenance.rs` | the bookkeeping of maintenance |
//! | `recover.rs`, `verify.rs`, `slice_verifier.rs` | opening a shard, and reading all of it |
//! | `catch_up.rs` | bringing a drive up to date that came back |
//! | `surroundings.rs` | what the node does for a shard |

pub(crate) mod accounts;
mod buckets;
mod catch_up;
pub(crate) mod checkpoint;
mod clean;
mod commit;
mod compact;
mod delete;
pub mod entry;
mod get;
mod growth;
mod info;
mod instance;
mod lifecycle;
mod list;
mod lock_clock;
mod lock_time;
mod maintenance;
mod metadata;
mod moves;
mod multipart;
mod node_records;
mod node_table;
mod put;
mod quota;
pub(crate) mod recover;
mod request;
mod settings;
mod slice_verifier;
pub(crate) mod space;
mod state;
mod striped;
mod surroundings;
mod verify;

pub use self::accounts::{Leftovers, ShardSpace};
pub(crate) use self::buckets::versioning_value;
pub use self::get::{Found, FoundEntry, Pins};
pub(crate) use self::growth::{Growth, LedgerId};
pub use self::info::{info_of, part_info};
pub(crate) use self::instance::ShardParts;
pub use self::instance::{Shard, ShardCounters};
pub(crate) use self::lifecycle::{DueVersion, STEP_ENTRIES, Seen, SeenUpload, UploadWalk, Walk};
pub use self::lock_clock::{ClockReading, NOTED_EVERY_MS};
pub use self::multipart::{CompleteCommit, PartCommit, PartsTable};
pub use self::put::{Body, PutCommit};
pub use self::recover::{
    ChunkCopies, HomeRoot, Owner, RecoverError, Recovered, RecoveryStep, Salvage, Source,
};
pub(crate) use self::recover::{age_of, for_each_entry, load_leaves};
pub(crate) use self::request::{PreviewRequest, Reservation, ShardReply, ShardRequest};
pub use self::settings::{CheckpointCut, Settings};
pub use self::slice_verifier::SliceFlaw;
pub use self::space::{Reserved, TOO_FEW_DRIVES};
pub use self::state::{State, UploadKey};
pub(crate) use self::striped::PIECE_BYTES_MAX;
pub use self::striped::{
    Ended, GroupBuffers, GroupReads, Headers, MemberFlaw, StripedSlice, StripedWriter, choose_members,
};
pub(crate) use self::surroundings::{BucketRules, Surroundings, TakenExtents};
pub use self::verify::{Flaw, Flaws, Reading};
