//! The engine in a world of its own: one thread, virtual time, drives in memory, everything decided by a seed.
//!
//! Invariants:
//! - Same seed and same calls, same run: the trace of a [`Simulator`] says which task ran when.
//! - Nothing here asks the operating system for time, randomness or threads; the engine runs unchanged.
//!
//! A [`SimNode`] is a whole node on one thread: each of its cores has its own state and its own mailbox, and the
//! drives are [`SimDevice`](crate::sim::device::SimDevice)s that the cores share as they share a real drive.

pub mod device;
mod node;

pub use self::node::{HeldBuffers, Leftovers, SimNode, SimOptions, format_sim_drives};
pub use crate::executor::{Odds, Random, Simulator, TraceStep};
#[cfg(feature = "planted-bugs")]
pub use crate::hook::take_reached;
pub use crate::hook::{Bug, Rare};
