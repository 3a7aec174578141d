//! The system shard's records of the node: names with values, in which the door above keeps what belongs
//! to no bucket, as its users and their keys. The table itself is in
//! [`node_table`](super::node_table).
//!
//! Invariant: a change is one record of the log, however many names it puts and removes. So it is there
//! after a crash with all of them, or with none.

use std::rc::Rc;
use std::sync::Arc;

use super::commit::check_length;
use super::instance::Shard;
use super::node_table::NODE_RECORDS_BYTES_MAX;
use crate::error::{EngineError, Result};
use crate::extent::allocator::Class;
use crate::format::record::{EncodedRecord, Mutation, NodeRecordV1, NodeRecordsV1};
use crate::hook::Bug;
use crate::types::{NodeChange, NodeRecords};

impl Shard {
    /// Changes records of the node, durable before the answer; each name is put with a value, or removed.
    /// Names that occur twice get the last value. The caller holds the node's lock of records.
    ///
    /// # Errors
    /// Returns [`EngineError::NodeRecordsChanged`] when `only_at` is not the revision, the error of a
    /// bound, or an error when there is no space, the index is full, or the device fails.
    pub async fn change_node_records(
        self: &Rc<Self>,
        change: Vec<(String, Option<Vec<u8>>)>,
        only_at: Option<u64>,
    ) -> Result<NodeChange> {
        let (revision, grows) = {
            let table = &self.state.borrow().node;
            if only_at.is_some_and(|only_at| only_at != table.revision) {
                return Err(EngineError::NodeRecordsChanged { revision: table.revision });
            }
            (table.revision + 1, table.check(&change, NODE_RECORDS_BYTES_MAX)?)
        };
        if grows {
            self.check_index_room()?;
        }
        let told = change.iter().map(|(name, value)| (name.as_str().into(), value.as_deref().map(Arc::from)));
        let told = NodeChange { revision, changes: told.collect() };
        let records = change.into_iter().map(|(name, value)| NodeRecordV1 { name, value }).collect();
        let mutation = Mutation::NodeRecords(NodeRecordsV1 { revision, records });
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        check_length(&record)?;
        // What removes names alone is accepted on a full drive too: a key can always be revoked.
        if grows {
            self.admit(record.length(), Class::User).await?;
        }
        self.append(Some((mutation, record)), None).await?;
        Ok(told)
    }

    /// Returns the records of the node whose names begin with `prefix`; it is for the system shard only.
    pub fn node_records(&self, prefix: &str) -> NodeRecords {
        self.state.borrow().node.with_prefix(prefix)
    }

    /// Returns the next piece of the records for a checkpoint.
    pub(super) fn node_piece_after(&self, after: Option<&str>, bytes: u64) -> Option<NodeRecordsV1> {
        if self.geometry.planted.is(Bug::ForgetNodeRecords) {
            return None;
        }
        self.state.borrow().node.piece_after(after, bytes)
    }
}
