//! Taking over the accounts of `users.toml` behind its first one, whose key is the node's root key and
//! stays outside.
//!
//! Invariants:
//! - The records are durable before the file is changed, and the file is whole at every moment: what it
//!   was is in `users.toml.taken-over` before `users.toml` has the first account alone.
//! - The file is left as it is if one of its accounts could not be taken over, or if somebody changed it
//!   since it was read.
//! - An account that is known already is not taken over again. So a key that was removed does not come
//!   back because the file does.

use super::directory::Directory;
use super::record::{AccountRecord, KeyRecord, RecordName, encode, id_of};
use super::store::{Changes, Identity, IdentityError};
use crate::auth::{Account, AccountError, keep_first};
use ringbolt_engine::node::Core;
use std::path::{Path, PathBuf};

/// The longest name of a record of the node, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Accounts that one change takes over.
const AT_ONCE: usize = 100;

/// What was taken over.
#[derive(Debug, Default)]
pub struct TakenOver {
    pub taken: usize,
    /// The number of accounts that were known already, and stayed as they are.
    pub known: usize,
    /// The number of accounts that can not be taken over.
    pub refused: usize,
    /// Where the file is as it was.
    pub kept_as: Option<PathBuf>,
}

/// The reason why accounts were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    File(#[from] AccountError),
}

/// Takes over accounts, and leaves the first one alone in the file that they came from.
///
/// # Errors
/// Fails if the records can not be written, or the file can not be changed.
pub async fn take_over(
    identity: &Identity,
    core: &Core,
    data_dir: &Path,
    accounts: &[Account],
    now_ms: u64,
) -> Result<TakenOver, TakeOverError> {
    let mut done = TakenOver::default();
    if accounts.is_empty() {
        return Ok(done);
    }
    for group in accounts.chunks(AT_ONCE) {
        let make = |directory: &Directory| -> Result<(Changes, (usize, usize)), IdentityError> {
            let (mut changes, mut taken, mut refused) = (Vec::new(), 0, 0);
            for account in group {
                match records_of(directory, account, now_ms)? {
                    Some(records) => {
                        taken += usize::from(!records.is_empty());
                        changes.extend(records);
                    }
                    None => refused += 1,
                }
            }
            Ok((changes, (taken, refused)))
        };
        let (taken, refused) = identity.change(core, make).await?;
        (done.taken, done.refused) = (done.taken + taken, done.refused + refused);
    }
    done.known = accounts.len() - done.taken - done.refused;
    if done.refused > 0 {
        tracing::error!(
            accounts = done.refused,
            "users.toml stays as it is until its accounts can be taken over"
        );
        return Ok(done);
    }
    // The records are durable: what the file says does not matter any more, and the next start tries again.
    match keep_first(data_dir, accounts) {
        Ok(kept_as) => done.kept_as = kept_as,
        Err(error) => {
            tracing::error!(%error, "users.toml still has the secrets of accounts that were taken over: remove them");
        }
    }
    Ok(done)
}

/// Returns the records of an account and its key. There are none if it is known. Returns None if it can
/// not be taken over.
fn records_of(
    directory: &Directory,
    account: &Account,
    now_ms: u64,
) -> Result<Option<Changes>, IdentityError> {
    let id = id_of(&account.canonical_id);
    if directory.account(&account.canonical_id).is_some() {
        return Ok(Some(Vec::new()));
    }
    let names =
        (RecordName::Account(&account.canonical_id).text(), RecordName::Key(&account.access_key).text());
    if names.0.len().max(names.1.len()) > NAME_BYTES_MAX {
        tracing::error!(
            canonical_id = account.canonical_id,
            "an account of users.toml has a canonical id or an access key that is too long, and is not taken over"
        );
        return Ok(None);
    }
    if directory.account_named(Some(&id)).is_some() || directory.key(&account.access_key).is_some() {
        tracing::error!(
            canonical_id = account.canonical_id,
            access_key = account.access_key,
            "an account of users.toml has the id or the access key of another one, and is not taken over"
        );
        return Ok(None);
    }
    let Some(seal) = directory.seal() else { return Ok(None) };
    let holder = KeyRecord::holder(&account.access_key, &id, None);
    let record = AccountRecord {
        display_name: account.display_name.clone(),
        email: account.email.clone(),
        made_ms: now_ms,
    };
    let secret = hex::encode(seal.seal(account.secret_key.as_bytes(), &holder)?);
    let key = KeyRecord { account: id, user: None, made_ms: now_ms, used_s: 0, on: 1, secret };
    Ok(Some(vec![(names.0, Some(encode(&record))), (names.1, Some(encode(&key)))]))
}
