//! What can change while the server runs, and how all cores hear of it.
//!
//! Invariant: a core reads the options only when its bell rings, so that no request looks at anything that
//! cores share.

use super::bell::Bells;
use super::options::LiveOptions;
use std::sync::{Mutex, PoisonError};

/// The options as they are now, and the bells of those that have to know of changes.
pub struct Live {
    current: Mutex<LiveOptions>,
    bells: Bells,
}

impl Live {
    /// Begins with what the server starts with.
    pub fn new(options: LiveOptions, bells: Bells) -> Self {
        Self { current: Mutex::new(options), bells }
    }

    /// Returns the options as they are now.
    pub fn get(&self) -> LiveOptions {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets other options, and tells all cores.
    pub fn set(&self, options: LiveOptions) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = options;
        self.bells.ring();
    }
}
