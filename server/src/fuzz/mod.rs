//! The functions that the fuzz targets of `fuzz/` call, and the test that replays their corpus.
//! Each takes bytes and must not panic, wait without end, or take memory without bound. Nothing
//! else uses them.

#[cfg(feature = "internals")]
mod connection;
mod parsers;
#[cfg(feature = "internals")]
mod tls;

#[cfg(feature = "internals")]
pub use self::connection::http;
pub use self::parsers::{acl, chunked, document, form, policy, proxy_header};
#[cfg(feature = "internals")]
pub use self::tls::tls;
