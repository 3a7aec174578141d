//! Lifecycle rules on one shard: the walk over the versions that are judged, and the changes that
//! are due.
//!
//! Invariants:
//! - A step of a walk looks at a bounded number of entries. What it knows of a key's stack goes over
//!   to the next step; whether a version is the only one of its key is known at once, because the
//!   step looks at one entry more.
//! - What is due is judged again once its key is locked, by the rules, the time and the stack of
//!   then. It is done only if the version is still due for the same, in the same kind of place, and
//!   with the metadata that were judged. So a put that came between is kept, and nothing is done
//!   twice.
//! - A change takes the way of a client's: the same lock of the key, object lock, record and space.

use std::ops::Bound;
use std::rc::Rc;

use super::entry::{Entry, Outline};
use super::instance::Shard;
use super::state::UploadKey;
use crate::error::Result;
use crate::hook::Bug;
use crate::index::{Step, keys};
use crate::lifecycle::{
    Action, Clock, Judgement, LifecycleCounters, LifecycleRules, Place, Tags, VersionFacts, judge,
};
use crate::types::{Attributes, BucketId, MetadataChange, UploadId};

/// Entries of the index, or uploads, that one step looks at. A step takes some 40 us of CPU, for which all
/// else on its core waits: with 256 entries, the p99 of PUTs beside a walk doubled.
pub(crate) const STEP_ENTRIES: usize = 64;
/// Entries that a step looks at to have all of a stack: the age of a version counts from the next newer
/// one, so a stack is best judged as a whole, from its oldest version on.
const STEP_ENTRIES_MAX: usize = 256;

/// A walk over the versions of a bucket whose keys begin with a prefix.
pub(crate) struct Walk {
    /// What the composite keys begin with.
    within: Vec<u8>,
    /// Where the next step begins.
    next: Vec<u8>,
    /// The stack of the last version, empty before the first.
    stack: Vec<u8>,
    /// Generation and modification time of the last version.
    last: (u64, u64),
    /// Number of versions of that stack that were passed beside its newest.
    noncurrent: u64,
}

/// A version that a walk has found.
pub(crate) struct Seen {
    pub key: Vec<u8>,
    pub generation: u64,
    pub outline: Outline,
    pub place: Place,
    /// Generation of the next newer version of the key, if there is one.
    pub newer: Option<u64>,
}

impl Seen {
    /// Returns what the version is judged by.
    pub fn facts<'a>(&'a self, tags: Tags<'a>) -> VersionFacts<'a> {
        facts(&self.key, &self.outline, self.place, tags)
    }
}

fn facts<'a>(key: &'a [u8], outline: &Outline, place: Place, tags: Tags<'a>) -> VersionFacts<'a> {
    let listed = &outline.listed;
    VersionFacts {
        key,
        size_bytes: listed.size,
        modified_ms: listed.modified_ms,
        class: listed.class,
        is_marker: listed.is_marker,
        place,
        tags,
    }
}

/// Returns since when a version is not the newest. A clock that was behind when the newer version
/// was written does not make this one older than it is.
fn noncurrent_since(own_ms: u64, newer_ms: u64) -> u64 {
    own_ms.max(newer_ms)
}

impl Walk {
    /// Begins a walk.
    pub fn new(bucket: BucketId, prefix: &[u8]) -> Self {
        let within = keys::prefix_start(bucket.0, prefix);
        Self { next: within.clone(), within, stack: Vec::new(), last: (0, 0), noncurrent: 0 }
    }

    /// Returns the next versions, or none at the end.
    pub fn step(&mut self, shard: &Shard) -> Vec<Seen> {
        let mut found: Vec<(Vec<u8>, Outline)> = Vec::new();
        let mut is_cut = false;
        shard.state.borrow().index().visit(&self.next, &mut |composite, value| {
            if !composite.starts_with(&self.within) {
                return Step::Stop;
            }
            // Leaves are checked when they are loaded, and only this shard writes them.
            found.extend(Entry::outline(value).map(|outline| (composite.to_vec(), outline)));
            is_cut = found.len() > STEP_ENTRIES_MAX || (found.len() > STEP_ENTRIES && ends_stack(&found));
            if is_cut { Step::Stop } else { Step::Continue }
        });
        let ahead = if is_cut { found.pop() } else { None };
        if let Some((last, _)) = found.last() {
            self.next = [last.as_slice(), &[0]].concat();
        }
        let behind = found.iter().skip(1).map(|(composite, _)| composite.as_slice());
        let behind: Vec<&[u8]> =
            behind.chain(ahead.iter().map(|(composite, _)| composite.as_slice())).collect();
        let seen = found.iter().enumerate().filter_map(|(at, (composite, outline))| {
            let stack = keys::stack_of(composite);
            let has_older = behind.get(at).is_some_and(|next| keys::stack_of(next) == stack);
            self.place(composite, outline, has_older)
        });
        seen.collect()
    }

    fn place(&mut self, composite: &[u8], outline: &Outline, has_older: bool) -> Option<Seen> {
        let (_, key, generation) = keys::decode(composite)?;
        let (stack, modified_ms) = (keys::stack_of(composite), outline.listed.modified_ms);
        let (place, newer) = if stack == self.stack {
            let since_ms = noncurrent_since(modified_ms, self.last.1);
            let place = Place::Noncurrent { since_ms, newer: self.noncurrent };
            self.noncurrent += 1;
            (place, Some(self.last.0))
        } else {
            self.stack.clear();
            self.stack.extend_from_slice(stack);
            self.noncurrent = 0;
            (Place::Newest { is_sole: !has_older }, None)
        };
        self.last = (generation, modified_ms);
        Some(Seen { key, generation, outline: *outline, place, newer })
    }
}

/// Returns whether the last entry begins another stack than that before it.
fn ends_stack(found: &[(Vec<u8>, Outline)]) -> bool {
    match found {
        [.., (before, _), (last, _)] => keys::stack_of(before) != keys::stack_of(last),
        _ => false,
    }
}

/// A walk over the uploads of a bucket whose keys begin with a prefix.
pub(crate) struct UploadWalk {
    bucket: BucketId,
    prefix: Vec<u8>,
    after: Option<UploadKey>,
    /// The sizes of parts are summed up, which takes a look at each of them.
    sums_up: bool,
}

impl UploadWalk {
    /// Begins a walk.
    pub fn new(bucket: BucketId, prefix: Vec<u8>, sums_up: bool) -> Self {
        Self { bucket, prefix, after: None, sums_up }
    }

    /// Returns the next uploads, or none at the end.
    pub fn step(&mut self, shard: &Shard) -> Vec<SeenUpload> {
        let state = shard.state.borrow();
        let from = match self.after.take() {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included((self.bucket.0, self.prefix.clone(), 0)),
        };
        let behind = state.uploads.range::<UploadKey, _>((from, Bound::Unbounded));
        let is_within =
            |(bucket, key, _): &UploadKey| *bucket == self.bucket.0 && key.starts_with(&self.prefix);
        let seen = behind.take_while(|(key, _)| is_within(key)).map(|((_, key, id), upload)| SeenUpload {
            key: key.clone(),
            id: UploadId(*id),
            initiated_ms: upload.initiated_ms,
            bytes: match self.sums_up {
                true => upload.parts.values().map(|part| part.segment.length).sum(),
                false => 0,
            },
        });
        // An upload may have ten thousand parts.
        let most = if self.sums_up { 1 } else { STEP_ENTRIES };
        let seen: Vec<SeenUpload> = seen.take(most).collect();
        self.after = seen.last().map(|last| (self.bucket.0, last.key.clone(), last.id.0));
        seen
    }
}

/// An upload that a walk has found.
pub(crate) struct SeenUpload {
    pub key: Vec<u8>,
    pub id: UploadId,
    /// The time at which it began, a Unix time in milliseconds.
    pub initiated_ms: u64,
    /// Sum of the sizes of its parts, if the walk sums them up.
    pub bytes: u64,
}

/// A version for which something is due, as it was judged.
#[derive(Debug)]
pub(crate) struct DueVersion {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    pub generation: u64,
    /// Generation of the next newer version of the key, if there was one.
    pub newer: Option<u64>,
    pub action: Action,
    /// Number of times that the metadata had been changed.
    pub metadata_change: u32,
    /// The attributes after so many changes, if they were read. A transition needs them.
    pub attributes: Option<Attributes>,
}

impl Shard {
    /// Does what is due for a version, if it still is. Returns whether it did.
    ///
    /// # Errors
    /// Returns [`EngineError::Locked`](crate::EngineError::Locked) for a version that is locked, or
    /// the same errors as [`Shard::delete`] and [`Shard::update_metadata`].
    pub(crate) async fn carry_out(self: &Rc<Self>, due: DueVersion, day_ms: u64) -> Result<bool> {
        let guard = self.locks.lock(self.hash(due.bucket, &due.key)).await;
        if !self.geometry.planted.is(Bug::ExpireTwice) && !self.is_still_due(&due, day_ms)? {
            return Ok(false);
        }
        let DueVersion { bucket, key, generation, action, metadata_change, attributes, .. } = due;
        match (action, attributes) {
            (Action::AddMarker, _) => self.mark_deleted(bucket, key, guard).await.map(drop)?,
            (Action::RemoveVersion | Action::RemoveMarker, _) => {
                let (old, null) = {
                    let state = self.state.borrow();
                    let newest = state.newest(bucket, &key);
                    let null = newest.and_then(|newest| newest.null_version());
                    (state.version(bucket, &key, generation), null)
                };
                let Some(old) = old else { return Ok(false) };
                self.remove_version(bucket, key, (&old, null), false, guard).await.map(drop)?;
            }
            (Action::Transition(class), Some(mut attributes)) => {
                class.write(&mut attributes);
                let change = MetadataChange {
                    generation,
                    if_changed: Some(metadata_change),
                    attributes,
                    touches: false,
                    bypass_governance: false,
                    unless_versioned: false,
                };
                self.change_metadata(bucket, key, change, guard).await.map(drop)?;
            }
            (Action::Transition(_) | Action::AbortUpload, _) => return Ok(false),
        }
        Ok(true)
    }

    /// Judges a version again. The caller holds the lock of its key.
    fn is_still_due(&self, due: &DueVersion, day_ms: u64) -> Result<bool> {
        let Some(rules) = self.surroundings.lifecycle(due.bucket)? else { return Ok(false) };
        let versioning = self.surroundings.versioning(due.bucket)?;
        let Some((outline, place)) = self.standing(due, &rules) else { return Ok(false) };
        if outline.metadata_change != due.metadata_change {
            return Ok(false);
        }
        let tags = match &due.attributes {
            Some(attributes) => Tags::Among(attributes),
            None if outline.has_tags => Tags::Unread,
            None => Tags::None,
        };
        let clock = Clock { now_ms: self.lifecycle_time(), day_ms };
        let judgement = judge(&rules, &facts(&due.key, &outline, place, tags), versioning, clock);
        Ok(matches!(judgement, Judgement::Due(judged) if judged.action == due.action))
    }

    /// Returns what is known of a version now, and its place in the stack. Returns `None` when it is
    /// gone, or no longer where it was judged: the newest, or directly behind the same version. Newer
    /// versions are counted only as far as a rule asks for.
    fn standing(&self, due: &DueVersion, rules: &LifecycleRules) -> Option<(Outline, Place)> {
        let state = self.state.borrow();
        let composite = keys::encode(due.bucket.0, &due.key, due.generation);
        let outline = Entry::outline(state.index().get(&composite)?)?;
        let stack = keys::stack(due.bucket.0, &due.key);
        let counted_max = 1 + u64::from(rules.newer_kept_max());
        let (mut before, mut after) = (0u64, false);
        state.index().visit(&stack, &mut |other, _| {
            let within = other.starts_with(&stack);
            if within && other < composite.as_slice() && before < counted_max {
                before += 1;
                return Step::Continue;
            }
            after = within && other > composite.as_slice();
            if within && other == composite.as_slice() { Step::Continue } else { Step::Stop }
        });
        let Some(newer) = due.newer else {
            return (before == 0).then_some((outline, Place::Newest { is_sole: !after }));
        };
        let newer = Entry::outline(state.index().get(&keys::encode(due.bucket.0, &due.key, newer))?)?;
        let since_ms = noncurrent_since(outline.listed.modified_ms, newer.listed.modified_ms);
        Some((outline, Place::Noncurrent { since_ms, newer: before.saturating_sub(1) }))
    }

    /// Changes the counts of what lifecycle rules have done.
    pub fn count_lifecycle(&self, change: impl FnOnce(&mut LifecycleCounters)) {
        let mut counters = self.lifecycle.get();
        change(&mut counters);
        self.lifecycle.set(counters);
    }
}
