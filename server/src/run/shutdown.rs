//! The end of a node: no core leaves before all have closed, since the others may still need its answers.

use super::bell::{Bell, Bells, bells};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A barrier that no core leaves before all have closed.
pub struct ShutdownBarrier {
    left: AtomicUsize,
    all: Bells,
}

impl ShutdownBarrier {
    /// Makes a barrier for `cores`, and the bells that ring when all have arrived.
    pub fn new(cores: usize) -> io::Result<(Arc<Self>, Vec<Bell>)> {
        let (all, bells) = bells(cores)?;
        Ok((Arc::new(Self { left: AtomicUsize::new(cores), all }), bells))
    }

    /// Notes that this core has closed. The last one lets all go on.
    pub fn arrive(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.ring();
        }
    }
}
