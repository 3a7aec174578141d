//! The way of a commit. The caller holds the key's lock and has judged the change. Here room is
//! made for its record and the record is queued; once the record is durable, the change is applied
//! and the caller gets its answer.
//!
//! What a put or a delete means for the versions of its key is decided when its record is queued, by
//! the state of the bucket's versioning at that moment. So the generations of a key ascend in the
//! order of its records in the log.
//!
//! A caller that is dropped before its record is queued leaves nothing behind. One that is dropped
//! later does not stop the commit.

use std::rc::Rc;

use super::entry::Entry;
use super::growth::Growth;
use super::info::info_of;
use super::instance::{Commit, Shard};
use super::lock_time::CLOCK_RECORD_BYTES;
use super::quota::QuotaHold;
use super::space::Reserved;
use crate::device::DeviceError;
use crate::error::{EngineError, Result};
use crate::extent::SetPlace;
use crate::extent::allocator::Class;
use crate::extent::sets::{KIND_LOG, KIND_SLICES, TakenSet};
use crate::format::record::{
    ENVELOPE_BYTES, EncodedRecord, FLAG_PLACE, Mutation, PutV1, RECORD_ALIGNMENT, STATE_NULL, SegmentV1,
};
use crate::format::set::{FURTHER_MEMBER_BYTES, SET_BYTES};
use crate::hook::{Bug, Rare, reached};
use crate::log::RecordPlace;
use crate::log::writer::{Log, LogOwner, RECORD_BYTES_MAX};
use crate::sync::locks::KeyGuard;
use crate::sync::oneshot;
use crate::types::{BucketId, BucketLock, EtagMatch, Lock, ObjectInfo, Versioning, WriteCondition};

/// What a commit holds until its record is queued. If it is dropped before, everything is given back.
#[derive(Default)]
pub(super) struct Holds {
    /// The slices that the record names.
    pub slices: Vec<Reserved>,
    /// What the change adds to its bucket or takes from it, if the bucket has a quota.
    pub quota: Option<QuotaHold>,
    /// If it is set, the change is refused as superseded where the bucket's versioning is another one.
    pub only_in: Option<Versioning>,
}

impl From<Vec<Reserved>> for Holds {
    fn from(slices: Vec<Reserved>) -> Self {
        Self { slices, ..Self::default() }
    }
}

impl Shard {
    /// Checks the condition of a put against the newest version of its key. A delete marker counts as
    /// no object. The caller must hold the key's lock.
    ///
    /// # Errors
    /// Returns [`EngineError::PreconditionFailed`], or [`EngineError::NoSuchKey`] when a condition
    /// asks for an object that does not exist.
    pub(super) fn check_condition(
        &self,
        bucket: BucketId,
        key: &[u8],
        condition: &WriteCondition,
    ) -> Result<()> {
        if *condition == WriteCondition::default() {
            return Ok(());
        }
        let newest = self.state.borrow().newest(bucket, key).filter(|newest| !newest.is_marker);
        if newest.is_none() && condition.if_match.is_some() {
            return Err(EngineError::NoSuchKey);
        }
        newest.map_or(Ok(()), |newest| judge(&newest, condition))
    }

    /// Returns the class of space that a put takes. On a full drive, an object that replaces a
    /// larger one still finds room because it frees more than it takes.
    pub fn class_of(&self, bucket: BucketId, key: &[u8], size: u64) -> Class {
        let versioning = match self.surroundings.versioning(bucket) {
            Ok(Versioning::Enabled) | Err(_) => return Class::User,
            Ok(versioning) => versioning,
        };
        let newest = self.state.borrow().newest(bucket, key);
        class_of(self.replaced(bucket, key, newest.as_ref(), versioning).as_ref(), size)
    }

    /// Returns the entry of the version that a put replaces: where not every version is kept, the null
    /// version.
    fn replaced(
        &self,
        bucket: BucketId,
        key: &[u8],
        newest: Option<&Entry>,
        versioning: Versioning,
    ) -> Option<Entry> {
        let newest = newest.filter(|_| versioning != Versioning::Enabled)?;
        match newest.is_null {
            true => Some(newest.clone()),
            false => self.state.borrow().version(bucket, key, newest.null_version()?),
        }
    }

    /// Checks that the index may grow. It is called before a new key, upload, part or bucket takes
    /// memory.
    ///
    /// # Errors
    /// Returns [`EngineError::IndexFull`].
    pub(super) fn check_index_room(&self) -> Result<()> {
        let (index_bytes, limit_bytes) = (self.state.borrow().index_bytes(), self.settings.index_bytes_max);
        if index_bytes < limit_bytes {
            Ok(())
        } else {
            reached(Rare::IndexFull);
            Err(EngineError::IndexFull { index_bytes, limit_bytes })
        }
    }

    /// Commits a version. Its generation, and what it replaces, are decided here; `put` has neither.
    /// `guard` is the key's lock.
    ///
    /// # Errors
    /// Returns [`EngineError::IndexFull`] for a version that replaces none, or the same errors as
    /// [`Self::commit`].
    pub(super) async fn commit_put(
        self: &Rc<Self>,
        mut put: PutV1,
        data: Vec<u8>,
        guard: KeyGuard,
        reserved: Option<Reserved>,
    ) -> Result<ObjectInfo> {
        let bucket = BucketId(put.bucket);
        let newest = self.state.borrow().newest(bucket, &put.key);
        let mut rules = self.surroundings.rules(bucket)?;
        // The key's lock keeps others from changing which version is the null version.
        let null = newest.as_ref().and_then(|newest| newest.null_version()).unwrap_or(0);
        let own = Lock::of(&put.attributes);
        self.check_retention(own, put.modified_ms)?;
        let (replaced, quota) = loop {
            let is_locked = self.retain_by_default(&mut put, own, rules.lock);
            let time_bytes = if is_locked { CLOCK_RECORD_BYTES } else { 0 };
            let log_bytes = put.record_bytes_max() + data.len() + time_bytes;
            let replaced = self.replaced(bucket, &put.key, newest.as_ref(), rules.versioning);
            // A put that completes an upload frees more memory than it takes.
            if put.upload.is_none() && replaced.is_none() {
                self.check_index_room()?;
            }
            let growth = || Growth::of_put(&put, replaced.as_ref());
            let quota = QuotaHold::take(&self.surroundings, bucket, rules.ledger, growth).await?;
            self.admit(log_bytes, class_of(replaced.as_ref(), put.size)).await?;
            // Nothing waits between here and the push. What the bucket wanted when the put was judged
            // may have changed while it waited; then it is judged again.
            let now = self.surroundings.rules(bucket)?;
            if now == rules {
                break (replaced, quota);
            }
            rules = now;
        };
        let put = self.place_in_stack(put, null, rules.versioning);
        if put.removes != 0 {
            self.check_replaced(&put, replaced.as_ref())?;
        }
        let info = info_of(&put);
        let mutation = Mutation::Put(put);
        let record = EncodedRecord::new(&mutation, info.generation, 0, data);
        check_length(&record)?;
        self.queue(
            mutation,
            record,
            guard,
            Holds { slices: reserved.into_iter().collect(), quota, only_in: None },
        )
        .await?;
        Ok(info)
    }

    /// Gives a version the retention of its bucket, if it brings none; `own` is the lock that it brings.
    /// Delete markers are never locked. Returns whether the version is locked then.
    fn retain_by_default(&self, put: &mut PutV1, own: Lock, lock: Option<BucketLock>) -> bool {
        let default = lock.and_then(|lock| lock.default);
        let Some(default) = default.filter(|_| own.retention.is_none() && !put.is_marker()) else {
            return !own.is_none();
        };
        // Both clocks may be wrong: the wall clock, which may be far behind what was noted or far
        // ahead of what is believed, and the other one. The later time protects for long enough by
        // either of them.
        let from_ms = put.modified_ms.max(self.lock_time().now_ms);
        Lock { retention: Some(default.from(from_ms)), ..own }.write(&mut put.attributes);
        true
    }

    /// Checks that a retention that a client asks for will protect anything: where the wall clock was
    /// set back, it may end before the time by which it will be judged.
    ///
    /// # Errors
    /// Returns [`EngineError::RetentionOver`].
    pub(super) fn check_retention(&self, lock: Lock, wall_ms: u64) -> Result<()> {
        let Some(retention) = lock.retention.filter(|retention| retention.until_ms > wall_ms) else {
            return Ok(());
        };
        if retention.until_ms > self.lock_time().now_ms { Ok(()) } else { Err(EngineError::RetentionOver) }
    }

    /// Checks that the version that a put replaces is not locked. `known` is its entry, if it was
    /// looked up already.
    ///
    /// # Errors
    /// Returns [`EngineError::Locked`].
    fn check_replaced(&self, put: &PutV1, known: Option<&Entry>) -> Result<()> {
        match known.filter(|known| known.generation == put.removes) {
            Some(known) => self.check_unlocked(known, false),
            None => match self.state.borrow().version(BucketId(put.bucket), &put.key, put.removes) {
                Some(entry) => self.check_unlocked(&entry, false),
                None => Ok(()),
            },
        }
    }

    /// Checks that a version may be removed. The caller must hold the key's lock until it is.
    ///
    /// # Errors
    /// Returns [`EngineError::Locked`].
    pub(super) fn check_unlocked(&self, entry: &Entry, bypass_governance: bool) -> Result<()> {
        let lock = entry.traits.lock;
        if lock.is_none() || !lock.protects(self.lock_time().now_ms, bypass_governance) {
            return Ok(());
        }
        Err(EngineError::Locked)
    }

    /// Gives a version its generation and decides what it replaces. `null` is the generation of the
    /// key's null version, or 0.
    fn place_in_stack(&self, mut put: PutV1, null: u64, versioning: Versioning) -> PutV1 {
        put.generation = match put.segments.first() {
            Some(first) if self.geometry.planted.is(Bug::EarlyGeneration) => first.generation,
            _ => self.state.borrow_mut().new_generation(),
        };
        if versioning == Versioning::Enabled {
            put.null = null;
        } else {
            put.state |= STATE_NULL;
            put.null = put.generation;
            let kept = versioning == Versioning::Suspended && self.geometry.planted.is(Bug::KeepNullVersion);
            put.removes = if kept { 0 } else { null };
        }
        put
    }

    /// Makes room for a record, queues it, and waits until it is durable and applied.
    ///
    /// # Errors
    /// Returns [`EngineError::TooLarge`], [`EngineError::NoSpace`], [`EngineError::NoSuchBucket`],
    /// or one of the errors of a shard that writes no more: [`EngineError::WritesStopped`] and
    /// [`EngineError::ShuttingDown`].
    pub(super) async fn commit(
        self: &Rc<Self>,
        bucket: BucketId,
        mutation: Mutation,
        record: EncodedRecord,
        guard: KeyGuard,
        class: Class,
        holds: Holds,
    ) -> Result<RecordPlace> {
        check_length(&record)?;
        if class != Class::System {
            let time_bytes = if locks(&mutation) { CLOCK_RECORD_BYTES } else { 0 };
            self.admit(record.length() + self.naming_bytes(&mutation) + time_bytes, class).await?;
        }
        // Nothing waits between here and the push. A client's write holds a permit that keeps the
        // bucket. The abort of an upload that is too old holds none, and may find that the bucket
        // is gone.
        let versioning = self.surroundings.versioning(bucket)?;
        if holds.only_in.is_some_and(|only| only != versioning) {
            return Err(EngineError::Superseded);
        }
        self.queue(mutation, record, guard, holds).await
    }

    /// Queues a record that names the slices of `holds`, and waits until it is durable and applied.
    /// Where it takes something from a bucket with a quota, the bucket's ledger knows that then.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSpace`] when the log gets no extent, or
    /// [`EngineError::WritesStopped`] or [`EngineError::ShuttingDown`] when the shard writes no
    /// more.
    pub(super) async fn queue(
        self: &Rc<Self>,
        mutation: Mutation,
        record: EncodedRecord,
        guard: KeyGuard,
        holds: Holds,
    ) -> Result<RecordPlace> {
        let (reply, answer) = oneshot::channel();
        let Holds { slices, quota, .. } = holds;
        let reserved = slices.iter().map(|handle| handle.segment().clone()).collect();
        let shrinks = quota.as_ref().and_then(QuotaHold::shrinks);
        self.name_sets(&mutation)?;
        // Everything that waits is refused together, so nothing is locked by a record whose record
        // of the time was refused.
        if locks(&mutation) {
            self.name_time()?;
        }
        let (mutation, guard) = (Some(mutation), Some(guard));
        self.log.push(Some(record), Commit { mutation, guard, reserved, quota, reply })?;
        // The slices are handed over only now that the record is queued.
        slices.into_iter().for_each(Reserved::hand_over);
        let place = self.outcome(answer).await?;
        // Whoever deleted something may put as much at once.
        if let Some(bucket) = shrinks {
            self.surroundings.quota_heard(bucket).await;
        }
        Ok(place)
    }

    /// Queues a record of each set that `mutation` names and no record has named before.
    fn name_sets(&self, mutation: &Mutation) -> Result<()> {
        for segment in segments_of(mutation) {
            for run in &segment.runs {
                let new = self.state.borrow_mut().space.sets.name(run.extent);
                let Some(place) = new else { continue };
                // Nobody waits for it, because the record that names the set comes behind it.
                self.say_set(place, KIND_SLICES)?;
            }
        }
        Ok(())
    }

    /// Queues a record that says where a set is, and does not wait for it.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub(super) fn say_set(&self, place: SetPlace, kind: u8) -> Result<()> {
        let mutation = Mutation::SetPut(place.to_disk(kind));
        let record = EncodedRecord::new(&mutation, place.birth, FLAG_PLACE, Vec::new());
        let (mutation, reply) = (Some(mutation), oneshot::channel().0);
        let (guard, reserved, quota) = (None, Vec::new(), None);
        self.log.push(Some(record), Commit { mutation, guard, reserved, quota, reply })
    }

    /// Returns the bytes of log, at most, that [`Self::name_sets`] takes.
    fn naming_bytes(&self, mutation: &Mutation) -> usize {
        let state = self.state.borrow();
        let runs = segments_of(mutation).iter().flat_map(|segment| &segment.runs);
        let unnamed = runs.filter(|run| !state.space.sets.is_named(run.extent)).count();
        let shape = self.geometry.shape;
        // One home more while a shard moves from one to another.
        let copies = usize::from(self.geometry.copies) + 1;
        let members = if shape.is_striped() { shape.members() } else { copies };
        let set_bytes = SET_BYTES + (members - 1) * FURTHER_MEMBER_BYTES;
        unnamed * (ENVELOPE_BYTES + set_bytes).next_multiple_of(RECORD_ALIGNMENT)
    }

    /// Waits for the outcome of a queued record. A failure of the drive is logged here, where it is
    /// in the name of the request that met it.
    ///
    /// # Errors
    /// Returns [`EngineError::WritesStopped`] when the drive failed, else what the log answered.
    pub(super) async fn outcome(
        &self,
        answer: oneshot::Receiver<Result<RecordPlace>>,
    ) -> Result<RecordPlace> {
        let shard = self.id;
        let outcome = match answer.await {
            Some(outcome) => outcome,
            // Its batch was on the way to the drive.
            None => Err(EngineError::WritesStopped { shard }),
        };
        if let Err(error @ EngineError::WritesStopped { .. }) = &outcome {
            tracing::error!(shard, %error, "the drive failed under a commit; a restart tells whether it is there");
        }
        outcome
    }

    /// Queues a record that belongs to no existing bucket, or a barrier, and waits until it is
    /// durable and applied.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::queue`].
    pub(super) async fn append(
        self: &Rc<Self>,
        change: Option<(Mutation, EncodedRecord)>,
        guard: Option<KeyGuard>,
    ) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let (mutation, record) = change.unzip();
        self.log.push(record, Commit { mutation, guard, reserved: Vec::new(), quota: None, reply })?;
        self.outcome(answer).await.map(|_| ())
    }

    /// Applies a durable record and updates the accounts.
    fn apply(&self, mutation: &Mutation, place: RecordPlace) {
        self.count(|counters| match mutation {
            Mutation::Put(put) if place.moved || put.change > 0 => {}
            // The bytes of a completed upload were counted as its parts.
            Mutation::Put(put) if put.upload.is_none() => counters.user_bytes += put.size,
            Mutation::UploadPart(part) => counters.user_bytes += part.part.segment.length,
            _ => {}
        });
        let mut state = self.state.borrow_mut();
        let effects = state.apply(mutation, place);
        state.space.account(mutation, place, effects);
    }
}

/// The end of a group commit (steps 3 and 4 of [`crate::log::writer`]): record by record, in the
/// order of the log, the change is applied and its caller gets the answer.
impl LogOwner for Shard {
    type Commit = Commit;

    fn log(&self) -> &Log<Commit> {
        &self.log
    }

    fn durable(self: &Rc<Self>, records: impl Iterator<Item = (Commit, RecordPlace)>) {
        for (commit, place) in records {
            if let Some(mutation) = &commit.mutation {
                self.apply(mutation, place);
            }
            commit.reserved.iter().for_each(|segment| self.state.borrow_mut().space.keep(segment));
            commit.quota.into_iter().for_each(QuotaHold::keep);
            drop(commit.guard);
            commit.reply.send(Ok(place));
        }
    }

    fn batch_ended(self: &Rc<Self>) {
        self.after_batch();
    }

    fn refused(self: &Rc<Self>, commits: Vec<Commit>) {
        let error = self.no_space();
        for commit in commits {
            if let Some(Mutation::SetPut(set)) = &commit.mutation {
                self.state.borrow_mut().space.sets.forget_name(set.set, set.birth);
            }
            if let Some(Mutation::Clock(_)) = &commit.mutation {
                self.time_queued.set(None);
            }
            commit.reserved.iter().for_each(|segment| self.release(&segment.runs, segment.length));
            commit.reply.send(Err(error.clone()));
        }
    }

    fn failed(self: &Rc<Self>, error: &DeviceError) {
        self.stop_writing(error);
    }

    fn written(&self, set: u32, end: u32) {
        self.state.borrow_mut().space.logs.wrote(set, end);
    }

    fn entered(&self, set: u32, log_number: u64) {
        self.state.borrow_mut().space.logs.add(set, log_number, 0);
    }

    /// Takes the log's next set, after a checkpoint if there is no extent. A checkpoint needs
    /// nothing of the log's writer, which waits here.
    async fn take_set(self: &Rc<Self>) -> Option<TakenSet> {
        if let Ok(taken) = Shard::take_set(self, KIND_LOG, Class::System).await {
            return Some(taken);
        }
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(shard = self.id, %error, "no extent for the log, and no checkpoint that frees one");
        }
        Shard::take_set(self, KIND_LOG, Class::System).await.ok()
    }

    fn place_now(&self, set: SetPlace) -> SetPlace {
        self.place(set.set)
    }

    fn give_set(&self, set: SetPlace) {
        self.give_sets([set.set]);
    }

    fn has_empty_extents(&self) -> bool {
        self.state.borrow().space.logs.empty() > 0
    }

    async fn checkpoint_for_log(self: &Rc<Self>) {
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(shard = self.id, %error, "no checkpoint before the first record of a life");
        }
    }

    async fn queue_crumbs(self: &Rc<Self>) {
        Shard::queue_crumbs(self).await;
    }

    async fn note_begun(self: &Rc<Self>) -> std::result::Result<(), DeviceError> {
        self.surroundings.note_log_begun(self.id).await
    }
}

/// Returns whether a record locks a version.
fn locks(mutation: &Mutation) -> bool {
    let attributes = match mutation {
        Mutation::Put(put) => &put.attributes,
        Mutation::Meta(meta) => &meta.attributes,
        _ => return false,
    };
    !Lock::of(attributes).is_none()
}

/// Returns the segments that a record names.
fn segments_of(mutation: &Mutation) -> &[SegmentV1] {
    match mutation {
        Mutation::Put(put) => &put.segments,
        Mutation::UploadPart(part) => std::slice::from_ref(&part.part.segment),
        _ => &[],
    }
}

/// Checks that a record fits into a batch.
///
/// # Errors
/// Returns [`EngineError::TooLarge`].
pub(super) fn check_length(record: &EncodedRecord) -> Result<()> {
    if record.length() > RECORD_BYTES_MAX {
        let (size_bytes, limit_bytes) = (record.length() as u64, RECORD_BYTES_MAX as u64);
        return Err(EngineError::TooLarge { size_bytes, limit_bytes });
    }
    Ok(())
}

fn class_of(replaced: Option<&Entry>, size: u64) -> Class {
    if replaced.is_some_and(|old| size < old.size) { Class::Shrinking } else { Class::User }
}

/// Judges a condition against a version that exists. A delete marker has no ETag and no size.
///
/// # Errors
/// Returns [`EngineError::PreconditionFailed`].
pub(super) fn judge(entry: &Entry, condition: &WriteCondition) -> Result<()> {
    let matches = |wanted: &EtagMatch| match wanted {
        EtagMatch::Any => true,
        EtagMatch::OneOf(tags) => !entry.is_marker && tags.contains(&entry.etag.to_string()),
    };
    let other = condition.if_match.as_ref().is_some_and(|wanted| !matches(wanted));
    let unwanted = condition.if_none_match.as_ref().is_some_and(matches);
    let other_time = condition.if_modified_time_s.is_some_and(|seconds| seconds != entry.modified_ms / 1000);
    let other_size = condition.if_size_bytes.is_some_and(|size| entry.is_marker || size != entry.size);
    let failed = other || unwanted || other_time || other_size;
    if failed { Err(EngineError::PreconditionFailed) } else { Ok(()) }
}
