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
    /// All of them in the order they came, names in lower case. None before the end of the body.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.get().into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Called once, when the body has ended and all that signs it was verified.
    pub fn fill(&self, entries: Vec<(String, String)>) {
        let first = self.0.set(entries).is_ok();
        debug_assert!(first, "a body ends once");
    }
}
