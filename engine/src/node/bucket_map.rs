//! A core's copy of all buckets, and the permits of writers to them.
//!
//! Invariant: a client's request that writes to a bucket holds a [`WritePermit`] on the core that
//! owns the key, from before the key's lock is taken until the write has ended.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::layout::SYSTEM_SHARD;
use crate::error::{EngineError, Result};
use crate::shard::{BucketRules, LedgerId};
use crate::sync::signal::Signal;
use crate::types::{Bucket, BucketId, Versioning};

/// This core's copy of all buckets, by name and by id.
#[derive(Default)]
pub struct BucketMap {
    by_name: BTreeMap<String, Rc<Bucket>>,
    by_id: BTreeMap<u32, Known>,
}

/// What a core knows of a bucket.
struct Known {
    bucket: Rc<Bucket>,
    writes: Rc<BucketWrites>,
    /// The ledger of the bucket's quota, if it has one.
    ledger: Option<LedgerId>,
}

impl BucketMap {
    pub fn add(&mut self, bucket: Bucket) {
        let bucket = Rc::new(bucket);
        let known = Known { bucket: bucket.clone(), writes: Rc::default(), ledger: None };
        self.by_id.insert(bucket.id.0, known);
        self.by_name.insert(bucket.name.clone(), bucket);
    }

    /// Replaces a bucket by what it is after a change of its configuration. Those who write to it are
    /// not disturbed.
    pub fn update(&mut self, bucket: Bucket) {
        let bucket = Rc::new(bucket);
        if let Some(known) = self.by_id.get_mut(&bucket.id.0) {
            known.bucket = bucket.clone();
            self.by_name.insert(bucket.name.clone(), bucket);
        }
    }

    /// Returns the state of a bucket's versioning, or `None` when there is no such bucket.
    pub fn versioning(&self, bucket: BucketId) -> Option<Versioning> {
        self.by_id.get(&bucket.0).map(|known| known.bucket.versioning)
    }

    /// Returns what a bucket wants of changes in it, or `None` when there is no such bucket.
    pub(super) fn rules(&self, bucket: BucketId) -> Option<BucketRules> {
        let Known { bucket, ledger, .. } = self.by_id.get(&bucket.0)?;
        Some(BucketRules { versioning: bucket.versioning, lock: bucket.lock, ledger: *ledger })
    }

    /// Sets the ledger that judges what is added to a bucket.
    pub(super) fn set_ledger(&mut self, bucket: BucketId, ledger: Option<LedgerId>) {
        if let Some(known) = self.by_id.get_mut(&bucket.0) {
            known.ledger = ledger;
        }
    }

    pub fn remove(&mut self, bucket: BucketId) {
        if let Some(Known { bucket, writes, .. }) = self.by_id.remove(&bucket.0) {
            if self.by_name.get(&bucket.name).is_some_and(|named| named.id == bucket.id) {
                self.by_name.remove(&bucket.name);
            }
            writes.wake();
        }
    }

    /// Returns the writers of a bucket on this core.
    pub(super) fn writes_of(&self, bucket: BucketId) -> Option<Rc<BucketWrites>> {
        self.by_id.get(&bucket.0).map(|known| known.writes.clone())
    }

    pub fn by_id(&self, bucket: BucketId) -> Option<Rc<Bucket>> {
        self.by_id.get(&bucket.0).map(|known| known.bucket.clone())
    }

    pub fn get(&self, name: &str) -> Option<Rc<Bucket>> {
        self.by_name.get(name).cloned()
    }

    pub fn name_of(&self, bucket: u32) -> Option<String> {
        self.by_id.get(&bucket).map(|known| known.bucket.name.clone())
    }

    pub fn contains(&self, bucket: BucketId) -> bool {
        self.by_id.contains_key(&bucket.0)
    }

    /// Returns all buckets, ascending by name.
    pub fn all(&self) -> Vec<Rc<Bucket>> {
        self.by_name.values().cloned().collect()
    }
}

/// The rule that a bucket's writers follow on one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Open,
    /// The bucket's deletion is being decided, or what it holds is being counted; new writers wait.
    Held,
    /// The record that removes the bucket may or may not have reached the drive, and only a restart
    /// can tell. Nothing more can be acknowledged.
    Unknown,
}

/// The writers of one bucket on one core.
#[derive(Default)]
pub struct BucketWrites {
    mode: Cell<Mode>,
    running: Cell<usize>,
    /// A signal that is raised when the mode changes and when the last writer ends.
    pub(super) changed: Signal,
}

/// The right to write to a bucket. While it is held, the bucket is not removed.
pub struct WritePermit(Rc<BucketWrites>);

impl WritePermit {
    fn new(writes: Rc<BucketWrites>) -> Self {
        writes.running.set(writes.running.get() + 1);
        Self(writes)
    }
}

impl Drop for WritePermit {
    fn drop(&mut self) {
        let left = self.0.running.get() - 1;
        self.0.running.set(left);
        if left == 0 && self.0.mode.get() != Mode::Open {
            self.0.changed.raise();
        }
    }
}

impl BucketWrites {
    /// Wakes everybody who waits for this bucket.
    pub(super) fn wake(&self) {
        self.changed.raise();
    }

    /// Sets the mode, unless it is [`Mode::Unknown`], which lasts until a restart.
    pub(super) fn set_mode(&self, mode: Mode) {
        if self.mode.get() != Mode::Unknown {
            self.mode.set(mode);
        }
        self.changed.raise();
    }

    /// Makes new writers wait, and returns once none is running.
    pub(super) async fn hold(&self) {
        self.set_mode(Mode::Held);
        loop {
            let mark = self.changed.mark();
            if self.running.get() == 0 {
                return;
            }
            self.changed.after(mark).await;
        }
    }

    /// Returns the right to write, or `None` while new writers wait.
    ///
    /// # Errors
    /// Returns [`EngineError::WritesStopped`] when only a restart can tell whether the bucket
    /// exists.
    pub(super) fn permit(self: &Rc<Self>) -> Result<Option<WritePermit>> {
        match self.mode.get() {
            Mode::Open => Ok(Some(WritePermit::new(self.clone()))),
            Mode::Held => Ok(None),
            Mode::Unknown => Err(EngineError::WritesStopped { shard: SYSTEM_SHARD }),
        }
    }
}
