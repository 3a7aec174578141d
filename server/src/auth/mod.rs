//! Authentication: accounts, signatures, and the verification of bodies.
//!
//! Invariants:
//! - A request with a bad signature never reaches a handler.
//! - The bytes of a body that does not match what was signed end in an error before the last of
//!   them is handed on.
//! - The handlers see no header or query parameter of a signature, and a body of plain bytes and a
//!   known length.

mod account;
mod authenticator;
mod error;
pub mod hash;
mod md5;
pub mod payload;
pub mod signature;
mod wrong_keys;

pub use account::{
    Account, AccountError, Accounts, FirstStart, RootCredentials, account_id, keep_first, random_access_key,
    random_canonical_id, random_secret_key, random_user_id,
};
pub use authenticator::{Authenticated, Authenticator, RequestContext, Trailers, anonymous};
pub use error::AuthError;
pub(crate) use wrong_keys::network_of;
pub use wrong_keys::{WrongKey, WrongKeys};
