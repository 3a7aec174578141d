//! The node's records, as the cores see them.
//!
//! Invariants:
//! - The records are in the system shard. A core keeps no copy of its own: it is told of each change
//!   ([`Core::watch_node_records`]), and what it makes of that is its own.
//! - Changes are made one after the other. Each is told to all cores, in the order of their revisions,
//!   before it is answered and before the next begins.

use super::core::Core;
use super::layout::SYSTEM_SHARD;
use super::state::NodeWatch;
use crate::error::{EngineError, Result};
use crate::types::{NodeRecord, NodeRecords};

/// Key of the lock that is held while the node's records change. That of buckets has another.
const NODE_LOCK: u64 = 1;

impl Core {
    /// Puts names with their values, and removes those without, all at once. Returns the revision of the
    /// change, once that is durable and every core was told of it. With `only_at`, nothing is changed
    /// unless that is the revision.
    ///
    /// # Errors
    /// Returns [`EngineError::NodeRecordsChanged`] when `only_at` is not the revision; the error of a
    /// bound: a name has 1 to 256 bytes, a value at most 64 KiB, a change 512 KiB, and all records
    /// together 256 MiB; or an error when there is no space, the device fails, or the node is closing.
    pub async fn change_node_records(
        &self,
        change: Vec<(String, Option<Vec<u8>>)>,
        only_at: Option<u64>,
    ) -> Result<u64> {
        if self.state().closing.get() {
            return Err(EngineError::ShuttingDown);
        }
        self.on_system(move |core| async move {
            let _guard = core.bucket_locks.lock(NODE_LOCK).await;
            let change = core.shard(SYSTEM_SHARD).change_node_records(change, only_at).await?;
            let revision = change.revision;
            core.on_every_core(move |core| {
                // The watch may be exchanged by what it does.
                let watch = core.node_watch.borrow().clone();
                if let Some(watch) = watch {
                    watch(&change);
                }
            })
            .await;
            Ok(revision)
        })
        .await
    }

    /// Returns the records whose names begin with `prefix`, ascending by name.
    pub async fn node_records(&self, prefix: &str) -> NodeRecords {
        let prefix = prefix.to_owned();
        let owner = self.state().layout.core_of(SYSTEM_SHARD);
        self.state().call(owner, |core| async move { core.shard(SYSTEM_SHARD).node_records(&prefix) }).await
    }

    /// Returns the record of this name.
    pub async fn node_record(&self, name: &str) -> Option<NodeRecord> {
        // If there is such a name, it is the first of those that begin with it.
        let found = self.node_records(name).await.records.into_iter().next();
        found.filter(|record| *record.name == *name)
    }

    /// Sets what is told, on this core, of every change of the node's records. It runs before the change
    /// is answered, and must not wait. A core that is to miss none sets it before it asks for the records.
    pub fn watch_node_records(&self, watch: NodeWatch) {
        *self.state().node_watch.borrow_mut() = Some(watch);
    }
}
