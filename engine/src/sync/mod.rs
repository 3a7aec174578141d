//! Waiting on one core: single-threaded, executor-agnostic pieces.

pub mod calls;
pub mod locks;
pub mod oneshot;
pub mod signal;
pub mod turn;
