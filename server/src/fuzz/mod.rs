//! What the fuzz targets of `fuzz/` and the test that replays their corpus call: bytes in, no panic, no wait without
//! end, no memory without bound. Not for use by anything else.

mod connection;
mod pieces;

pub use self::connection::http;
pub use self::pieces::{chunked, document, form};
