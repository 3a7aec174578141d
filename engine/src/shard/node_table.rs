//! The records of the node as of the log: a table from names to values, and its bounds. What changes it is
//! in [`node_records`](super::node_records).
//!
//! Invariants:
//! - The revision grows with every change and is never used again. It is in the log and in every
//!   checkpoint, also where no name is left.
//! - What a name, a value, a change and all records together may take is bounded, and judged before
//!   anything is written.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::error::{EngineError, Result};
use crate::format::record::{NodeRecordV1, NodeRecordsV1};
use crate::types::{NodeRecord, NodeRecords};

/// Longest name of a record, bytes.
pub const NODE_NAME_BYTES_MAX: usize = 256;
/// Longest value of a record, bytes.
pub const NODE_VALUE_BYTES_MAX: usize = 64 << 10;
/// Longest change, names and values together, bytes. Its record fits into a batch.
pub const NODE_CHANGE_BYTES_MAX: usize = 512 << 10;
/// Most memory of all records together, as [`record_bytes`] counts them.
pub const NODE_RECORDS_BYTES_MAX: u64 = 256 << 20;

/// Memory of a record beside its texts, bytes: its place in a tree, two shared allocations, and the
/// allocator's overhead.
const RECORD_BYTES: u64 = 160;

/// Returns the memory that counts for a record.
fn record_bytes(name: &str, value: &[u8]) -> u64 {
    RECORD_BYTES + (name.len() + value.len()) as u64
}

/// The records of the node, as of the log.
#[derive(Default)]
pub struct NodeTable {
    records: BTreeMap<Arc<str>, Arc<[u8]>>,
    pub(super) revision: u64,
    bytes: u64,
}

impl NodeTable {
    /// Returns the memory of all records, bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    /// Applies a change, or loads a piece of a checkpoint.
    pub fn apply(&mut self, change: &NodeRecordsV1) {
        self.revision = self.revision.max(change.revision);
        for NodeRecordV1 { name, value } in &change.records {
            if let Some((name, old)) = self.records.remove_entry(name.as_str()) {
                self.bytes -= record_bytes(&name, &old);
            }
            if let Some(value) = value {
                self.bytes += record_bytes(name, value);
                self.records.insert(name.as_str().into(), value.as_slice().into());
            }
        }
    }

    /// Returns the records whose names begin with `prefix`, ascending.
    pub(super) fn with_prefix(&self, prefix: &str) -> NodeRecords {
        let from = self.records.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let records = from
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, value)| NodeRecord { name: name.clone(), value: value.clone() })
            .collect();
        NodeRecords { revision: self.revision, records }
    }

    /// Returns the next records behind `after`, about `bytes` of them, for a chunk of a checkpoint.
    /// Returns `None` when there are no more. Without a name, the first piece has the revision alone.
    pub(super) fn piece_after(&self, after: Option<&str>, bytes: u64) -> Option<NodeRecordsV1> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut records, mut taken) = (Vec::new(), 0);
        for (name, value) in self.records.range::<str, _>((start, Bound::Unbounded)) {
            taken += record_bytes(name, value);
            records.push(NodeRecordV1 { name: name.to_string(), value: Some(value.to_vec()) });
            if taken >= bytes {
                break;
            }
        }
        let is_there = !records.is_empty() || after.is_none() && self.revision > 0;
        is_there.then_some(NodeRecordsV1 { revision: self.revision, records })
    }

    /// Checks a change against the bounds, and returns whether it needs more memory than before.
    ///
    /// # Errors
    /// Returns the error that names the bound.
    pub(super) fn check(&self, change: &[(String, Option<Vec<u8>>)], limit_bytes: u64) -> Result<bool> {
        let (mut length, mut before, mut after) = (0, 0, 0);
        for (name, value) in change {
            if name.is_empty() || name.len() > NODE_NAME_BYTES_MAX {
                return Err(EngineError::NodeNameLength { length: name.len(), limit: NODE_NAME_BYTES_MAX });
            }
            let value_length = value.as_ref().map_or(0, Vec::len);
            if value_length > NODE_VALUE_BYTES_MAX {
                let (name, limit) = (name.clone(), NODE_VALUE_BYTES_MAX);
                return Err(EngineError::NodeValueTooLong { name, length: value_length, limit });
            }
            length += name.len() + value_length;
            before += self.records.get(name.as_str()).map_or(0, |old| record_bytes(name, old));
            after += value.as_ref().map_or(0, |value| record_bytes(name, value));
        }
        if length > NODE_CHANGE_BYTES_MAX {
            return Err(EngineError::NodeChangeTooLarge { length, limit: NODE_CHANGE_BYTES_MAX });
        }
        let bytes = self.bytes - before + after;
        if after > before && bytes > limit_bytes {
            return Err(EngineError::NodeRecordsFull { bytes, limit_bytes });
        }
        Ok(after > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &str, value: &[u8]) -> (String, Option<Vec<u8>>) {
        (name.to_owned(), Some(value.to_vec()))
    }

    fn change(revision: u64, records: Vec<(String, Option<Vec<u8>>)>) -> NodeRecordsV1 {
        let records = records.into_iter().map(|(name, value)| NodeRecordV1 { name, value }).collect();
        NodeRecordsV1 { revision, records }
    }

    #[test]
    fn names_are_found_by_prefix_and_counted() {
        let mut table = NodeTable::default();
        table.apply(&change(1, vec![put("b/1", b"x"), put("a/2", b"yy"), put("b/0", b"z"), put("c", b"")]));
        let found = table.with_prefix("b/");
        let names: Vec<&str> = found.records.iter().map(|record| &*record.name).collect();
        assert_eq!((names, found.revision), (vec!["b/0", "b/1"], 1));
        assert_eq!(table.memory_bytes(), 4 * RECORD_BYTES + 10 + 4);
        table.apply(&change(
            2,
            vec![put("b/1", b"longer"), ("a/2".to_owned(), None), ("no".to_owned(), None)],
        ));
        assert_eq!(table.memory_bytes(), 3 * RECORD_BYTES + 7 + 7);
        assert_eq!(table.with_prefix("").records.len(), 3);
        let all = ["b/0", "b/1", "c"].map(|name| (name.to_owned(), None));
        table.apply(&change(3, all.into()));
        assert_eq!((table.memory_bytes(), table.with_prefix("").revision), (0, 3));
    }

    #[test]
    fn pieces_hold_every_record_once_and_the_revision_outlives_them() {
        let mut table = NodeTable::default();
        assert_eq!(table.piece_after(None, 1000), None);
        let names: Vec<String> = (0..100).map(|number| format!("name-{number:03}")).collect();
        table.apply(&change(7, names.iter().map(|name| put(name, &[7; 50])).collect()));
        let (mut copy, mut after, mut pieces) = (NodeTable::default(), None, 0);
        while let Some(piece) = table.piece_after(after.as_deref(), 1000) {
            assert!(piece.records.len() <= 5, "a piece is about 1000 bytes");
            after = piece.records.last().map(|record| record.name.clone());
            copy.apply(&piece);
            pieces += 1;
        }
        assert_eq!((pieces, copy.records.len(), copy.revision, copy.bytes), (20, 100, 7, table.bytes));
        table.apply(&change(8, names.into_iter().map(|name| (name, None)).collect()));
        let last = table.piece_after(None, 1000).expect("the revision alone");
        assert_eq!((last.revision, last.records.len()), (8, 0));
    }

    #[test]
    fn every_bound_has_its_error() {
        let mut table = NodeTable::default();
        let check = |table: &NodeTable, change: Vec<_>| table.check(&change, 1000);
        for length in [0, 257] {
            let refused = check(&table, vec![put(&"n".repeat(length), b"")]);
            assert_eq!(refused, Err(EngineError::NodeNameLength { length, limit: 256 }));
        }
        let refused = check(&table, vec![put("n", &vec![0; (64 << 10) + 1])]);
        let (length, limit) = ((64 << 10) + 1, 64 << 10);
        assert_eq!(refused, Err(EngineError::NodeValueTooLong { name: "n".to_owned(), length, limit }));
        let many = (0..9).map(|number| put(&format!("n{number}"), &vec![0; 64 << 10]));
        let refused = table.check(&many.collect::<Vec<_>>(), u64::MAX);
        assert!(matches!(refused, Err(EngineError::NodeChangeTooLarge { .. })), "{refused:?}");
        table.apply(&change(1, vec![put("a", &[0; 700])]));
        let refused = check(&table, vec![put("b", &[0; 100])]);
        let bytes = 2 * RECORD_BYTES + 2 + 800;
        assert_eq!(refused, Err(EngineError::NodeRecordsFull { bytes, limit_bytes: 1000 }));
        assert_eq!(check(&table, vec![put("a", &[0; 600])]), Ok(false), "what shrinks is never refused");
        assert_eq!(check(&table, vec![("a".to_owned(), None), put("b", &[0; 690])]), Ok(false));
        assert_eq!(table.check(&[put("a", &[0; 701])], 2000), Ok(true));
    }
}
