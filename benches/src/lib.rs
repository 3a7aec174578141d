//! What the measurements share. The measurements themselves are the programs in `bin/`; docs/bench.md says how
//! to run them and what they gave.
//!
//! Invariant of every comparison: both sides run in one process run, taking turns, at least five times each;
//! the medians are compared, never the best or the last.

pub mod engine_load;
pub mod fio;
pub mod http;
pub mod stats;
pub mod usage;
pub mod verdict;

pub use ringbolt_tool_common::executor;
