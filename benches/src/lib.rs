//! This crate holds what the measurements share. The measurements themselves are the programs in
//! `bin/`; docs/bench.md says how to run them and what the results are.
//!
//! Invariant of every comparison: both sides run in one process run, taking turns, at least five
//! times each; the medians are compared, never the best or the last values.

pub mod engine_load;
pub mod fio;
pub mod http;
#[cfg(feature = "isal")]
pub mod isal;
pub mod place;
pub mod stats;
pub mod steady;
pub mod usage;
pub mod verdict;

pub use ringbolt_tool_common::executor;
