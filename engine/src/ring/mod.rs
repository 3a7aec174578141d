//! A core's io_uring: buffers, submission, completion, and the mailboxes between cores.
//!
//! Invariants:
//! - A buffer that was given to the kernel stays in the ring's table until its completion arrives,
//!   even if the future that waits for it was dropped.
//! - A ring is used only by the thread that made it. Cores share the [`mailbox`], and the
//!   descriptors of each other's rings to wake them; no lock.
//! - `unsafe` is confined to `arena.rs` (memory), `uring.rs` and `submission.rs` (queue entries)
//!   and, for the benchmark, `blocks.rs` (both) and `mapped.rs` (files in memory).

pub mod arena;
pub mod blocks;
pub mod driver;
pub mod mailbox;
pub mod mapped;
#[cfg(test)]
mod model;
mod submission;
#[cfg(test)]
mod tests;
pub mod uring;

pub use arena::{Buffer, Pool};
pub use uring::{Operation, Ring, RingError};
