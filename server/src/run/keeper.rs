//! The core that loads the identities at start, and makes the last uses of access keys durable.

use crate::auth::Account;
use crate::identity::{Identity, IdentityError, KEY_FILE_NAME, TakeOverError, take_over};
use crate::unix_time::now_ms;
use ringbolt_engine::EngineError;
use ringbolt_engine::node::Core;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often the last uses of keys are made durable.
const NOTED_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long that may take at the end.
const LAST_TIME: Duration = Duration::from_secs(10);

/// What loading the identities needs.
pub struct Keeper {
    pub data_dir: PathBuf,
    /// The accounts of users.toml behind the first one.
    pub accounts: Arc<[Account]>,
    /// Removes the access keys that no key file opens.
    pub new_node_key: bool,
}

impl Keeper {
    /// Loads all identities, and takes over those of users.toml.
    ///
    /// # Errors
    /// Fails if the secrets of access keys can not be opened, or records can not be written.
    pub async fn load(&self, identity: &Identity, core: &Core) -> Result<(), TakeOverError> {
        let opened = Identity::open_seal(core, &self.data_dir, self.new_node_key).await?;
        let path = self.data_dir.join(KEY_FILE_NAME);
        if opened.is_new {
            tracing::warn!(
                path = %path.display(),
                "made the node's key file; keep a copy of it in a safe place: without it access keys are lost"
            );
        }
        if opened.removed > 0 {
            tracing::warn!(
                keys = opened.removed,
                "removed the access keys whose secrets nothing opens any more"
            );
        }
        identity.load(core, opened.seal).await;
        let taken = match take_over(identity, core, &self.data_dir, &self.accounts, now_ms()).await {
            Err(TakeOverError::Identity(IdentityError::Engine(
                error @ (EngineError::NoSpace { .. } | EngineError::IndexFull { .. }),
            ))) => {
                tracing::error!(%error, "the accounts of users.toml were not taken over; the next start tries again");
                return Ok(());
            }
            taken => taken?,
        };
        if let Some(kept_as) = &taken.kept_as {
            tracing::warn!(
                accounts = taken.taken,
                known_before = taken.known,
                kept_as = %kept_as.display(),
                "took the accounts of users.toml behind the first one over; it has the first one alone now, and the \
                 file as it was holds their secrets: remove it once you need it no more"
            );
        }
        Ok(())
    }
}

/// Makes the last uses of keys durable, for as long as the node runs.
pub async fn note_now_and_then(identity: Rc<Identity>, core: Core) {
    loop {
        monoio::time::sleep(NOTED_EVERY).await;
        if let Err(error) = identity.note_uses(&core).await {
            tracing::warn!(%error, "the last uses of access keys were not noted; the next try is in an hour");
        }
    }
}

/// Makes the last uses of keys durable before the node closes.
pub async fn note_at_the_end(identity: &Identity, core: &Core) {
    match monoio::time::timeout(LAST_TIME, identity.note_uses(core)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the last uses of access keys were not noted"),
        Err(_) => tracing::warn!("noting the last uses of access keys took too long"),
    }
}
