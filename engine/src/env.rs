//! The engine's surroundings: clock, randomness and tasks. The simulator replaces all of them.
//!
//! Invariant: nothing in engine/ asks the operating system for any of these by itself.

use std::future::Future;
use std::pin::Pin;

/// A future that lives on one core.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T> + 'static>>;

/// A task that lives on one core.
pub type LocalTask = LocalFuture<()>;

/// What the engine needs from the owner of the thread.
pub trait Environment {
    /// Returns the Unix time in milliseconds.
    fn wall_clock_ms(&self) -> u64;
    /// Returns the microseconds since an arbitrary start. The value never goes back.
    fn monotonic_us(&self) -> u64;
    /// Returns a uniformly random number. Identities are made from it, so the sequence must not
    /// repeat after a restart.
    fn random_u64(&self) -> u64;
    /// Runs `task` on this core until it ends.
    fn spawn(&self, task: LocalTask);
    /// Resolves after `milliseconds`.
    fn sleep(&self, milliseconds: u64) -> LocalTask;
    /// Resolves after every task that is ready now has run. This is right for an executor that puts a
    /// task that wakes itself behind all others.
    fn yield_now(&self) -> LocalTask {
        Box::pin(crate::sync::yield_now())
    }
}
