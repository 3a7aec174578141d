//! This module models buckets as the clients know them, and the calls that create and delete them.
//! All clients share all buckets.
//!
//! Invariants:
//! - A bucket is an id; a name may belong to several of them one after the other, and never to two
//!   at the same time.
//! - A bucket that any client saw exists until a call that deletes it begins. It is gone, for every
//!   operation that begins later, once such a call has succeeded.

use std::collections::BTreeMap;

use ringbolt_engine::EngineError;
use ringbolt_engine::types::{Bucket, BucketCreated, BucketId};

use super::client::Client;
use super::context::Outcome;
use super::model::{Key, Model};

/// This is the bucket that always exists: nobody deletes it.
pub const SHARED_BUCKET: &str = "shared";

/// These are the names of buckets that are created and deleted.
const NAMES: [&str; 3] = ["passing-1", "passing-2", "passing-3"];

/// Holds names of buckets whose creation began and was not answered.
pub type Creating = Vec<String>;

/// This is a call that deletes a bucket.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    begun: u64,
    /// This is the tick by which it was refused without effect; `None` means that it may have
    /// happened, or may still.
    refused: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct BucketModel {
    pub name: String,
    /// Says that a response announced it as new, which happens only once for an id.
    announced: bool,
    pub deletions: Vec<Deletion>,
    /// This is the tick by which it was gone.
    pub gone: Option<u64>,
    pub keys: BTreeMap<Vec<u8>, Key>,
}

impl BucketModel {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            announced: false,
            deletions: Vec::new(),
            gone: None,
            keys: BTreeMap::new(),
        }
    }

    /// Returns whether it may be gone, now or at any later time.
    pub fn may_be_gone(&self) -> bool {
        self.gone.is_some() || self.deletions.iter().any(|deletion| deletion.refused.is_none())
    }

    /// Returns whether an operation between `from` and now may have been told that there is no such
    /// bucket.
    pub fn may_be_missed(&self, from: u64) -> bool {
        let hides = |deletion: &Deletion| deletion.refused.is_none_or(|tick| tick > from);
        self.gone.is_some() || self.deletions.iter().any(hides)
    }

    /// Returns whether an operation that begins at `from` cannot find it.
    pub fn was_gone(&self, from: u64) -> bool {
        self.gone.is_some_and(|tick| tick < from)
    }

    /// Returns whether it may have been without objects at some moment since `from`.
    fn may_be_empty(&self, from: u64, now: u64) -> bool {
        !self.keys.values().any(|key| key.is_certain(from, now))
    }

    fn may_hold_objects(&self, from: u64, now: u64) -> bool {
        self.keys.values().any(|key| key.possible(from, now).any(|value| value.is_some()))
    }

    /// Records after a restart that it exists, and that nothing is in progress any more.
    pub fn settle(&mut self) {
        self.deletions.clear();
    }

    /// Checks a bucket that is gone after a restart.
    ///
    /// # Panics
    /// Panics when something acknowledged is in it.
    pub fn check_gone(&self, id: BucketId, now: u64) {
        let lost = self.keys.iter().find(|(_, key)| key.is_certain(now, now));
        assert!(lost.is_none(), "bucket {} ({}) is gone, with {lost:?} in it", id.0, self.name);
    }
}

impl Model {
    /// Records a bucket that an operation returned.
    ///
    /// # Panics
    /// Panics when it cannot exist.
    fn meet_bucket(&mut self, bucket: &Bucket, from: u64, is_new: bool) {
        let (id, name) = (bucket.id, bucket.name.as_str());
        if is_new {
            let other = self.buckets.iter().find(|(other, known)| {
                **other != id && known.name == name && known.announced && !known.may_be_missed(from)
            });
            assert!(other.is_none(), "{name} was made again, as {}, beside {other:?}", id.0);
        }
        let known = self.buckets.entry(id).or_insert_with(|| BucketModel::new(name));
        assert_eq!(known.name, name, "bucket {} was given two names", id.0);
        assert!(!(is_new && known.announced), "the id {} was given to two buckets", id.0);
        assert!(is_new || !known.was_gone(from), "{name} is told to be {} still, which is gone", id.0);
        known.announced |= is_new;
    }

    /// Returns buckets that clients may use besides the shared one, and some that are gone.
    pub fn passing_buckets(&self, with_gone: bool) -> Vec<BucketId> {
        let wanted = |(_, known): &(&BucketId, &BucketModel)| {
            known.name != SHARED_BUCKET && (with_gone || !known.may_be_gone())
        };
        self.buckets.iter().filter(wanted).map(|(id, _)| *id).collect()
    }

    pub fn shared_bucket(&self) -> Option<BucketId> {
        self.buckets.iter().find(|(_, known)| known.name == SHARED_BUCKET).map(|(id, _)| *id)
    }
}

impl Client {
    pub(super) async fn bucket_step(&self) {
        let random = self.random();
        let there = self.model().passing_buckets(random.one_in(20));
        if there.is_empty() || random.one_in(3) {
            let name = NAMES[random.below(NAMES.len() as u64) as usize];
            return self.create_bucket(name).await;
        }
        let id = there[random.below(there.len() as u64) as usize];
        if random.one_in(2) {
            self.empty_bucket(id).await;
        }
        self.delete_bucket(id).await;
    }

    async fn create_bucket(&self, name: &str) {
        self.model().creating.push(name.to_owned());
        let core = self.context.core();
        let operation = core.create_bucket(name, "owner", Vec::new());
        let (from, made) = self.context.watched("create bucket", || name.to_owned(), operation).await;
        let outcome = made.as_ref().err().map(|error| self.context.judge("create bucket", None, error));
        let mut model = self.model();
        if outcome != Some(Outcome::Unknown) {
            let own = model.creating.iter().position(|other| other == name);
            own.map(|at| model.creating.swap_remove(at));
        }
        match made {
            Ok(BucketCreated::New(bucket)) => model.meet_bucket(&bucket, from, true),
            Ok(BucketCreated::Exists(bucket)) => model.meet_bucket(&bucket, from, false),
            Err(_) => {}
        }
    }

    /// Deletes the objects, so that the bucket can be deleted, if nobody puts anything meanwhile.
    async fn empty_bucket(&self, id: BucketId) {
        let keys: Vec<Vec<u8>> = {
            let mut model = self.model();
            let now = model.tick();
            let may_be_there = |key: &Key| key.possible(now, now).any(|value| value.is_some());
            let keys = model.bucket(id).keys.iter().filter(|(_, key)| may_be_there(key));
            keys.map(|(name, _)| name.clone()).collect()
        };
        for key in keys {
            self.delete_at(id, &key).await;
        }
    }

    async fn delete_bucket(&self, id: BucketId) {
        let begun = {
            let mut model = self.model();
            let begun = model.tick();
            model.bucket(id).deletions.push(Deletion { begun, refused: None });
            begun
        };
        let core = self.context.core();
        let operation = core.delete_bucket(id);
        let (from, result) = self.context.watched("delete bucket", || format!("b{}", id.0), operation).await;
        let mut model = self.model();
        let now = model.tick();
        let bucket = model.bucket(id);
        let name = bucket.name.clone();
        match result {
            Ok(()) => {
                assert!(!bucket.was_gone(from), "{name} was deleted a second time");
                assert!(bucket.may_be_empty(from, now), "{name} was deleted with objects in it: {bucket:?}");
                bucket.gone.get_or_insert(now);
                return;
            }
            Err(EngineError::BucketNotEmpty) => {
                assert!(bucket.may_hold_objects(from, now), "{name} is empty and said not to be");
            }
            Err(EngineError::NoSuchBucket) => {
                bucket.deletions.retain(|deletion| deletion.begun != begun);
                assert!(bucket.may_be_missed(from), "{name} is not there to be deleted");
                return;
            }
            Err(error) => {
                drop(model);
                let outcome = self.context.judge("delete bucket", None, &error);
                assert_eq!(outcome, Outcome::Unknown, "deleting a bucket needs no space");
                return;
            }
        }
        let own = bucket.deletions.iter_mut().find(|deletion| deletion.begun == begun);
        own.into_iter().for_each(|deletion| deletion.refused = Some(now));
    }
}
