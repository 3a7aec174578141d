//! The world outside the engine: clock, randomness, tasks. The simulator replaces it whole.
//!
//! Invariant: nothing in engine/ asks the operating system for any of these by itself.

use std::future::Future;
use std::pin::Pin;

/// A future that lives on one core.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T> + 'static>>;

/// A task that lives on one core.
pub type LocalTask = LocalFuture<()>;

/// What the engine needs from whoever owns the thread.
pub trait Environment {
    /// Unix time in milliseconds.
    fn wall_clock_ms(&self) -> u64;
    /// Microseconds from an arbitrary start, never going back.
    fn monotonic_us(&self) -> u64;
    /// Uniformly random; identities are made from it, so it must not repeat across restarts.
    fn random_u64(&self) -> u64;
    /// Runs `task` on this core until it ends.
    fn spawn(&self, task: LocalTask);
    /// Resolves after `milliseconds`.
    fn sleep(&self, milliseconds: u64) -> LocalTask;
}
