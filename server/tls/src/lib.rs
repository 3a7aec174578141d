//! One end of a TLS connection, between plain bytes and records. It neither waits nor knows a socket: a
//! server and a client drive it over whatever they have.
//!
//! [`Session`] takes what came from the peer, gives the plain bytes in it to a closure, and makes the
//! records that are to be sent. It is rustls's unbuffered interface, whose rules it follows: records are
//! decrypted and made in buffers that its user lends, so that a connection that waits holds none.

mod roots;
mod session;

pub use self::roots::read_roots;
pub use self::session::{RECORD_BYTES_MAX, Sealer, Session, Side, TlsError};

#[cfg(test)]
mod tests;
