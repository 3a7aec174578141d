//! This module verifies objects: puts get headers, gets are checked against them, and what was put
//! is read back.
//!
//! Invariant: an object is read back if its last put succeeded and this thread has not deleted it
//! since.

use super::check::Wrong;
use crate::engine::objects::ObjectSet;
use crate::engine::{EngineError, Operation, Verb};
use crate::load::Random;
use crate::spec::{Direction, Job, Verify};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Tracks the objects of one thread.
#[derive(Debug)]
pub struct ObjectCheck {
    pub settings: Verify,
    set: ObjectSet,
    versions: Random,
    deletes_own: bool,
    /// Holds the numbers of the objects that this thread has put.
    put: BTreeSet<u64>,
    /// This is the object that was read back last.
    last: Option<u64>,
}

impl ObjectCheck {
    /// Creates the check of a job; returns `None` when the job does not verify.
    ///
    /// # Errors
    /// Fails when the job does not say how many objects there are.
    pub fn new(job: &Job, thread: u32) -> Result<Option<Self>, EngineError> {
        let Some(settings) = job.verify else { return Ok(None) };
        let set = ObjectSet::of(job)?;
        let deletes_own = set.are_shared(Direction::Trim, Direction::Write);
        // The versions differ from those of earlier runs.
        let versions = Random::stream(fastrand::u64(..), u64::from(thread));
        Ok(Some(Self { settings, set, versions, deletes_own, put: BTreeSet::new(), last: None }))
    }

    /// Writes headers into the content of a put.
    pub fn stamp(&mut self, content: &mut [u8], operation: &Operation) {
        if matches!(operation.verb, Verb::Write | Verb::Multipart) {
            self.set.stamp(Direction::Write, operation.number, self.versions.next_u64(), content);
        }
    }

    /// Records that an operation ended. After a failed put, the content of the object is unknown.
    pub fn ended(&mut self, operation: &Operation, succeeded: bool) {
        match operation.verb {
            Verb::Write | Verb::Multipart if succeeded => _ = self.put.insert(operation.number),
            Verb::Write | Verb::Multipart => _ = self.put.remove(&operation.number),
            Verb::Trim if self.deletes_own => _ = self.put.remove(&operation.number),
            _ => {}
        }
    }

    /// Checks the content of a read.
    pub fn check(&self, content: &[u8], operation: &Operation) -> Option<Wrong> {
        let (of, offset) = match operation.verb {
            Verb::Read => (Direction::Read, operation.offset),
            Verb::ReadBack => (Direction::Write, 0),
            _ => return None,
        };
        let found = self.set.check(of, operation.number, offset, content);
        let first = found.first()?;
        let key = self.set.key(of, operation.number);
        let key = String::from_utf8_lossy(&key);
        let text = format!("verify: object {key}, offset {}: {}", first.offset, first.wrong);
        Some(Wrong { pieces: found.len() as u64, text })
    }

    /// Starts reading back from the beginning.
    pub fn rewind(&mut self) {
        self.last = None;
    }

    /// Returns the next read of an object that was put; `None` at the end.
    pub fn next_read(&mut self) -> Option<Operation> {
        let from = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let number = *self.put.range((from, Bound::Unbounded)).next()?;
        self.last = Some(number);
        let length = self.set.size_bytes(Direction::Write, number);
        Some(Operation { verb: Verb::ReadBack, file: 0, offset: 0, length, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{job, operation};
    use crate::spec::ObjectOp;

    #[test]
    fn what_was_put_and_is_there_is_read_back() {
        let mut job = job("h:1", 1);
        job.verify = Some(Verify { read_back: true, fatal: false, by_pattern: false });
        job.objects.ops = Some(vec![(ObjectOp::Put, 1), (ObjectOp::Delete, 1)]);
        let mut check = ObjectCheck::new(&job, 0).unwrap().unwrap();
        for number in 0..5 {
            check.ended(&operation(Verb::Write, number), number != 2);
        }
        check.ended(&operation(Verb::Trim, 3), true);
        check.ended(&operation(Verb::Read, 9), true);
        let read = |check: &mut ObjectCheck| -> Vec<u64> {
            std::iter::from_fn(|| check.next_read()).map(|read| read.number).collect()
        };
        assert_eq!(read(&mut check), [0, 1, 4]);
        assert_eq!(check.next_read().map(|read| read.number), None);
        check.rewind();
        assert_eq!(read(&mut check), [0, 1, 4]);
    }

    #[test]
    fn a_wrong_piece_is_named() {
        let mut job = job("h:1", 1);
        job.verify = Some(Verify { read_back: true, fatal: false, by_pattern: false });
        let mut check = ObjectCheck::new(&job, 0).unwrap().unwrap();
        let mut content = vec![0; 4096];
        check.stamp(&mut content, &operation(Verb::Write, 7));
        let read = Operation { verb: Verb::ReadBack, ..operation(Verb::Read, 7) };
        assert!(check.check(&content, &read).is_none());
        content[100] ^= 1;
        let text = check.check(&content, &read).unwrap().text;
        assert!(text.contains("object crc32c-4096/") && text.contains("7, offset 0: its checksum"), "{text}");
    }
}
