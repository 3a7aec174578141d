//! This module generates the operations of a job, and the times when they are meant to start.
//!
//! Invariants:
//! - The sequence follows from the job's seed, the thread's number and the targets alone, unless a
//!   rate decides between directions or a mix deletes: what can be deleted depends on what has
//!   completed.
//! - Nothing here reads the clock: the caller passes the time, counted from the beginning of the
//!   job.

mod choice;
mod distribution;
mod own;
mod pace;
mod permutation;
mod sequence;
mod sizes;
mod source;
mod tiling;

pub use ringbolt_tool_common::random::Random;
pub use sequence::{Extent, Region};
pub use sizes::Sizes;
pub use source::{LoadError, Next, Source, Target, Work};
