//! Synchronisation: primitives for tasks of one core that depend on no executor, and the atomic
//! words that cores share.

pub mod calls;
pub mod locks;
pub mod oneshot;
pub mod shared;
pub mod signal;
mod yield_now;

pub use self::yield_now::yield_now;
