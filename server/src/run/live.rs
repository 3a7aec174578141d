//! What can change while the server runs, and how all cores hear of it.
//!
//! Invariant: a core reads the options only when its bell rings, so that no request looks at anything that
//! cores share.

use super::bell::Bells;
use super::options::LiveOptions;
use crate::throttle::Throttle;
use std::sync::{Arc, Mutex, PoisonError};

/// The options as they are now, and the bells of those that have to know of changes.
pub struct Live {
    current: Mutex<LiveOptions>,
    bells: Bells,
    throttle: Arc<Throttle>,
}

impl Live {
    /// Begins with what the server starts with.
    pub fn new(options: LiveOptions, bells: Bells, throttle: Arc<Throttle>) -> Self {
        Self { current: Mutex::new(options), bells, throttle }
    }

    /// Returns the options as they are now.
    pub fn get(&self) -> LiveOptions {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets other options, and tells all cores.
    pub fn set(&self, options: LiveOptions) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = current.throttle != options.throttle
            || current.handshakes_per_address != options.handshakes_per_address;
        *current = options;
        drop(current);
        self.bells.ring();
        // What was done under other limits would count as if these had held.
        if is_other {
            self.throttle.forget();
        }
    }
}
