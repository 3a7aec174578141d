//! The simulator: the engine in a world of one thread, virtual time and drives in memory, where a
//! seed decides everything.
//!
//! Invariants:
//! - The same seed and the same calls make the same run. The trace of a [`Simulator`] tells which
//!   task ran when.
//! - Nothing here asks the operating system for time, randomness or threads. The engine runs
//!   unchanged.
//!
//! A [`SimNode`] is a whole node on one thread. Each of its cores has its own state and its own
//! mailbox. The drives are [`SimDevice`](crate::sim::device::SimDevice)s that the cores share as
//! they share a real drive.

pub mod device;
mod node;

pub use self::node::{
    HeldBuffers, Leftovers, SimNode, SimOptions, format_sim_drives, format_sim_set, format_striped_sim_set,
    make_sim_drive, make_sim_replacement,
};
pub use crate::executor::{Odds, Random, Simulator, TraceStep};
#[cfg(feature = "planted-bugs")]
pub use crate::hook::take_reached;
pub use crate::hook::{Bug, Rare};
