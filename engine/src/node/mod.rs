//! A node: its drives, its cores, and the door through which a thread works with both.
//!
//! Invariant: the core with the connection moves the data ([`ObjectReader`], [`ObjectWriter`] read and write on their
//! own ring); the owner core decides (lookups, reservations and commits go to it as messages).

mod buckets;
pub(crate) mod cache;
mod core;
#[expect(
    clippy::disallowed_methods,
    reason = "making a drive happens before there is a node, and is not simulated"
)]
pub(crate) mod format;
mod gate;
mod inspect;
pub mod memory;
mod metrics;
pub(crate) mod open;
mod open_shard;
pub(crate) mod read;
mod report;
pub(crate) mod scrub;
mod serve;
pub mod sizing;
pub(crate) mod state;
mod surroundings;
mod write;

pub use self::core::Core;
pub use self::format::{FormatError, FormatOptions, FormatReport, format_drive};
pub use self::inspect::{InspectReport, inspect_drive};
pub use self::metrics::{NodeMetrics, ScrubMetrics, ShardMetrics};
pub use self::open::{CoreSeed, NodeOptions, NodePlan, OpenError};
pub use self::read::{Chunk, ObjectReader};
pub use self::report::{Counters, SpaceReport};
pub use self::scrub::ScrubOptions;
pub use self::write::{GROWING_BYTES_MAX, ObjectWriter};
pub use crate::ring::driver::Driver;
