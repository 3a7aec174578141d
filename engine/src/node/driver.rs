//! The engine's ring, for whoever owns the thread.

use crate::ring::Ring;

/// The loop is: when [`Driver::pending`] resolves, [`Driver::submit`]; when the descriptor polls readable,
/// [`Driver::reap`] and only then poll again (reap first, arm after).
#[derive(Clone)]
pub struct Driver {
    ring: Ring,
}

impl Driver {
    pub(super) fn new(ring: Ring) -> Self {
        Self { ring }
    }

    /// Readable (POLLIN) when completions or messages from other cores wait to be reaped.
    pub fn raw_fd(&self) -> i32 {
        self.ring.raw_fd()
    }

    /// The same, as a descriptor of one's own.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn duplicate_fd(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.ring.duplicate_fd()
    }

    /// Resolves when operations wait to be submitted. For one waiting task.
    pub async fn pending(&self) {
        self.ring.pending().await;
    }

    /// Hands what is queued to the kernel; does not wait.
    pub fn submit(&self) {
        self.ring.submit();
    }

    /// Takes completions and wakes their tasks; returns how many. No system call.
    pub fn reap(&self) -> usize {
        self.ring.reap()
    }

    /// Submits, then blocks until there is at least one completion (for loops that own the thread alone).
    pub fn submit_and_wait(&self) {
        self.ring.submit_and_wait();
    }

    /// Operations the kernel has not answered yet.
    pub fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }
}
