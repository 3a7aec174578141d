//! Ringbolt's storage engine: shards pinned to cores, objects in O_DIRECT extents, durable before the reply.
//!
//! The way in is [`node`]: [`node::format_drive`] makes a drive, [`node::NodePlan::open`] opens a set of drives
//! and gives one [`node::CoreSeed`] per core, and [`node::Core`] is what a thread then works with.
//! The engine depends on no async runtime: see [`node::Environment`] and [`node::Core::driver`].
//! [`check`] looks over drives that no node has open, and mends them.

// The rooms behind the door. The feature `internals` shows them to the benchmark, the tests and the fuzz targets,
// which look into them. Whoever builds the server alone does so without it, as `.ci/run` does: a server that looked
// behind the door would not build. What only the others use is unused there.
#![cfg_attr(not(feature = "internals"), allow(dead_code, unused_imports))]

pub mod check;
pub mod error;
mod executor;
mod hook;
pub mod lifecycle;
pub mod node;
pub mod types;

#[cfg(not(feature = "internals"))]
mod device;
#[cfg(feature = "internals")]
pub mod device;
#[cfg(not(feature = "internals"))]
mod env;
#[cfg(feature = "internals")]
pub mod env;
#[cfg(not(feature = "internals"))]
mod extent;
#[cfg(feature = "internals")]
pub mod extent;
#[cfg(not(feature = "internals"))]
mod format;
#[cfg(feature = "internals")]
pub mod format;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod fuzz;
#[cfg(not(feature = "internals"))]
mod index;
#[cfg(feature = "internals")]
pub mod index;
#[cfg(not(feature = "internals"))]
mod log;
#[cfg(feature = "internals")]
pub mod log;
#[cfg(not(feature = "internals"))]
mod ring;
#[cfg(feature = "internals")]
pub mod ring;
#[cfg(not(feature = "internals"))]
mod shard;
#[cfg(feature = "internals")]
pub mod shard;
#[cfg(feature = "internals")]
pub mod sim;
#[cfg(not(feature = "internals"))]
mod stripe;
#[cfg(feature = "internals")]
pub mod stripe;
#[cfg(not(feature = "internals"))]
mod sync;
#[cfg(feature = "internals")]
pub mod sync;
#[cfg(not(feature = "internals"))]
mod view;
#[cfg(feature = "internals")]
pub mod view;

pub use error::{EngineError, Result};
