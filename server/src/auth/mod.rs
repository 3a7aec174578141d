//! Who asks: accounts, signatures, and the verification of bodies.
//!
//! Invariants: a request with a bad signature never leaves this room, and the bytes of a body that does
//! not match what was signed end in an error before the last of them is handed on. Behind this room no
//! header or query parameter of a signature is left, and the body is plain bytes of a known length.

mod account;
mod context;
mod error;
mod gate;
pub mod hash;
mod md5;
pub mod payload;
pub mod signature;

pub use account::{Account, AccountError, Accounts, FirstStart, RootCredentials};
pub use context::{RequestContext, Trailers};
pub use error::AuthError;
pub use gate::{Admitted, Gate};
