//! What the front of the server learned about a request, for the handlers behind it.
//!
//! Invariant: travels in the request's `http::Extensions`, so it is `Clone + Send + Sync`.

use super::Account;
use std::sync::{Arc, OnceLock};

/// Who asks, and under which id the request is logged and answered.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub request_id: String,
    /// None: an anonymous request. A bad signature never gets this far.
    pub account: Option<Arc<Account>>,
    pub trailers: Trailers,
}

/// The trailers of an aws-chunked body. Empty until the body was read to its end.
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<OnceLock<Vec<(String, String)>>>);

impl Trailers {
    /// The value of a trailer, by its lower-case name. None before the end of the body.
    pub fn get(&self, name: &str) -> Option<String> {
        let entries = self.0.get()?;
        entries.iter().find(|(entry, _)| entry == name).map(|(_, value)| value.clone())
    }

    /// Called once, when the body has ended and all that signs it was verified.
    pub fn fill(&self, entries: Vec<(String, String)>) {
        let first = self.0.set(entries).is_ok();
        debug_assert!(first, "a body ends once");
    }
}
