//! A node: its drives, its cores, and the public interface through which a thread works with both.
//!
//! Invariant: the core with the connection moves the data ([`ObjectReader`] and [`ObjectWriter`]
//! read and write on their own ring). The owner core decides: lookups, reservations and commits go
//! to it as messages.

mod barrier;
mod bodies;
mod bucket_map;
mod buckets;
pub(crate) mod cache;
mod catch_up;
mod chunk;
mod clock;
mod core;
mod drain;
mod drives;
mod durability;
mod empty;
mod error;
#[expect(
    clippy::disallowed_methods,
    reason = "making a drive happens before there is a node, and is not simulated"
)]
pub(crate) mod format;
mod hedge;
mod inspect;
pub(crate) mod layout;
mod ledger;
mod lifecycle;
pub mod memory;
mod mend;
mod message;
mod metrics;
mod moves;
pub(crate) mod new_drive;
mod node_records;
mod offline;
pub(crate) mod open;
mod open_shard;
mod opening;
mod progress;
mod quota;
pub(crate) mod read;
mod receipt;
#[expect(
    clippy::disallowed_methods,
    reason = "making a drive happens beside a node, and only its superblock is simulated"
)]
pub(crate) mod replace;
mod report;
pub(crate) mod scrub;
mod seats;
mod serve;
pub mod sizing;
mod slice_reader;
mod spread;
pub(crate) mod state;
mod striped;
mod surroundings;
mod view_change;
mod views;
mod write;

pub use self::chunk::Chunk;
pub use self::core::Core;
pub use self::drives::{DriveReport, DriveState, DrivesReport};
pub use self::empty::DrainError;
pub use self::error::OpenError;
pub use self::format::{
    FormatError, FormatOptions, FormatReport, Redundancy, format_drive, is_drive, parse_uuid, uuid_text,
};
pub use self::inspect::{InspectReport, inspect_drive};
pub use self::lifecycle::LifecycleOptions;
pub use self::metrics::{NodeMetrics, ScrubMetrics, ShardMetrics};
pub use self::new_drive::NewDrive;
pub use self::offline::OfflineError;
pub use self::open::{CoreSeed, NodeOptions, NodePlan};
pub use self::opening::{Opening, OpeningProgress};
pub use self::progress::CatchUpProgress;
pub use self::read::{ObjectReader, Opened};
pub use self::receipt::{Durability, Receipt};
pub use self::replace::{
    Purpose, ReplaceError, ReplaceOptions, ReplaceReport, make_replacement, uuid_of_drive,
};
pub use self::report::{Counters, SpaceReport};
pub use self::scrub::ScrubOptions;
pub use self::seats::OnlineError;
pub use self::spread::SpreadError;
pub use self::state::NodeWatch;
pub use self::write::ObjectWriter;
pub use crate::env::{Environment, LocalFuture, LocalTask};
pub use crate::ring::driver::Driver;
