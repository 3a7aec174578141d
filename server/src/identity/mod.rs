//! Who there is: accounts, users, groups, policies and access keys, as records of the node.
//!
//! The engine keeps the records ([`record`]) in its system shard. Each core has a [`Directory`] that
//! follows from them, by which requests are authenticated and judged, and which all cores share
//! ([`store`]). Secrets are sealed ([`seal`]) under the key in the node's [`key_file`]. What operators
//! change goes through [`change`].
//!
//! Deliberately absent: HTTP, and the judgement itself.

mod canned;
pub mod change;
mod directory;
mod key_file;
mod record;
mod seal;
mod store;
mod table;
mod take_over;

pub use self::directory::{AccessKey, Directory, Found, Group, KnownAccount, Managed, Signer, User};
pub use self::key_file::{FILE_NAME as KEY_FILE_NAME, KeyFileError, NodeKey};
pub use self::record::RecordName;
pub use self::seal::Seal;
pub use self::store::{Identity, IdentityError, Opened, Shared};
pub use self::take_over::{TakeOverError, TakenOver, take_over};
