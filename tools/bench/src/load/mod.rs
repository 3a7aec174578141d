//! Which operation comes next, and when it is meant to start.
//!
//! Invariants:
//! - The sequence follows from the job's seed, the thread's number and the targets alone, as long as no rate decides
//!   between directions, and no mix deletes: what can be deleted follows from what has completed.
//! - Nothing here looks at the clock: the caller says what time it is, counted from the beginning of the job.

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
