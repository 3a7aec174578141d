//! Waiting on one core: single-threaded, executor-agnostic pieces; and the words that cores share.

pub mod calls;
pub mod locks;
pub mod oneshot;
pub mod shared;
pub mod signal;
mod yield_now;

pub use self::yield_now::yield_now;
