//! Ringbolt's storage engine: shards pinned to cores, objects in O_DIRECT extents, durable before the reply.
//!
//! The way in is [`node`]: [`node::format_drive`] makes a drive, [`node::NodePlan::open`] opens a set of drives
//! and gives one [`node::CoreSeed`] per core, and [`node::Core`] is what a thread then works with.
//! The engine depends on no async runtime: see [`env::Environment`] and [`node::Core::driver`].

pub mod check;
pub mod device;
pub mod env;
pub mod error;
mod executor;
pub mod extent;
pub mod format;
#[doc(hidden)]
pub mod fuzz;
mod hook;
pub mod index;
pub mod log;
pub mod node;
pub mod ring;
pub mod shard;
pub mod sim;
pub mod sync;
pub mod types;

pub use error::{EngineError, Result};
