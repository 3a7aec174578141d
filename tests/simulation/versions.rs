//! This module models the keys of buckets that keep versions: for each key all stacks of versions
//! that are possible.
//!
//! Invariants:
//! - A key is changed by one client only, one change after the other. A change whose outcome is
//!   unknown may happen at any later time, once, or never.
//! - A change with a known outcome maps each possible stack; every observation removes those that it
//!   contradicts. If none is left, a promise is broken.
//! - The generation of a version is learned when it is first seen. Generations of a stack descend.
//! - What a change does depends on the state of the bucket's versioning at some moment while the
//!   change is in progress.

mod pages;

use std::collections::BTreeMap;
use std::rc::Rc;

use ringbolt_engine::types::{BucketId, BucketUsage, Deleted, Etag, Version, Versioning};

use super::etag_of;
use super::locks::{BucketDefault, Keep, Locks};
use super::model::{Model, Stored};
pub use pages::{VersionsSeen, seen_item};

/// A key on which so many changes may still happen is not changed until the next restart.
const GIVEN_UP_MAX: usize = 3;

/// This is a body with the number of its parts, 0 for one that was put in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    pub stored: Stored,
    pub parts: u16,
}

impl Body {
    pub fn etag(&self) -> Etag {
        etag_of(self.stored.tag, self.parts)
    }
}

/// Says how often the metadata of a version was changed, and by what last: tag 0 is the put. What is
/// not known is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub changes: Option<u32>,
    pub tag: Option<u64>,
}

/// This is a version of a key. What is not known yet is `None`, except for the body: a version
/// without one is a delete marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub body: Option<Body>,
    pub is_null: bool,
    pub generation: Option<u64>,
    pub modified_ms: Option<u64>,
    pub metadata: Metadata,
}

/// Says what a version must be like for a put to go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Nothing,
    /// There is no object.
    Absent,
    /// The newest version is this body.
    Is(Body),
}

/// This is a change of a key's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Put {
        body: Body,
        condition: Condition,
    },
    /// Deletes without naming a version.
    Delete,
    /// Removes the null version or one with a generation.
    Remove {
        version: Version,
        bypass: bool,
    },
    Metadata {
        generation: u64,
        if_changed: Option<u32>,
        tag: u64,
        touches: bool,
        bypass: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    PreconditionFailed,
    NoSuchKey,
    Superseded,
    Locked,
    RetentionOver,
}

/// This is the response to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Put { generation: u64, is_null: bool, modified_ms: u64 },
    Deleted(Deleted),
    MetadataChanged { modified_ms: u64 },
    Refused(Refusal),
}

/// Says what a change did to a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The first version is new.
    Added,
    Removed(Held),
    /// The version at this position has other metadata.
    Altered(usize),
    Refused(Refusal),
    Nothing,
}

type Stack = Vec<Held>;

impl Held {
    /// Returns the lock of the version, or `None` if it is not known.
    pub fn keep(&self, locks: &Locks) -> Option<Keep> {
        let Some(body) = self.body else { return Some(Keep::default()) };
        match self.metadata.tag? {
            0 => locks.of_tag(body.stored.tag),
            tag => locks.of_tag(tag),
        }
    }
}

impl Change {
    /// Returns the stack after the change in a bucket with this state. What is surely locked stays.
    fn apply(&self, stack: &[Held], versioning: Versioning, locks: &Locks) -> (Stack, Effect) {
        let mut after = stack.to_vec();
        let keeps = |held: &Held, bypass: bool| locks.protects(held.keep(locks), bypass);
        let locked = Effect::Refused(Refusal::Locked);
        match *self {
            Self::Put { body, condition } => {
                let newest = stack.first().and_then(|newest| newest.body);
                let refusal = match condition {
                    Condition::Absent if newest.is_some() => Some(Refusal::PreconditionFailed),
                    Condition::Is(_) if newest.is_none() => Some(Refusal::NoSuchKey),
                    Condition::Is(wanted) if newest != Some(wanted) => Some(Refusal::PreconditionFailed),
                    _ => None,
                };
                if let Some(refusal) = refusal {
                    return (after, Effect::Refused(refusal));
                }
                add(&mut after, Some(body), versioning);
                (after, Effect::Added)
            }
            Self::Delete if versioning == Versioning::Off => match after.first() {
                None => (after, Effect::Nothing),
                Some(newest) if keeps(newest, false) => (after, locked),
                Some(_) => {
                    let removed = after.remove(0);
                    (after, Effect::Removed(removed))
                }
            },
            Self::Delete => {
                add(&mut after, None, versioning);
                (after, Effect::Added)
            }
            Self::Remove { version, bypass } => match position(stack, version) {
                Some(at) if keeps(&stack[at], bypass) => (after, locked),
                Some(at) => {
                    let removed = after.remove(at);
                    (after, Effect::Removed(removed))
                }
                None => (after, Effect::Nothing),
            },
            Self::Metadata { tag, bypass, .. } => {
                let Some(at) = self.altered(stack) else {
                    return (after, Effect::Refused(Refusal::Superseded));
                };
                if locks.forbids(stack[at].keep(locks), locks.of_tag(tag), bypass) {
                    return (after, locked);
                }
                let Self::Metadata { if_changed, .. } = self else { return (after, locked) };
                let changes = stack[at].metadata.changes.or(*if_changed).map(|changes| changes + 1);
                after[at].metadata = Metadata { changes, tag: Some(tag) };
                after[at].modified_ms = None;
                (after, Effect::Altered(at))
            }
        }
    }

    /// Returns the position of the version whose metadata this changes, if it is as expected.
    fn altered(&self, stack: &[Held]) -> Option<usize> {
        let Self::Metadata { generation, if_changed, .. } = *self else { return None };
        let at = position(stack, Version::Generation(generation));
        let at = at.filter(|at| stack[*at].body.is_some())?;
        let changes = stack[at].metadata.changes;
        let other = if_changed.is_some_and(|expected| changes.is_some_and(|changes| changes != expected));
        (!other).then_some(at)
    }

    /// Returns whether the change expects a number of changes of a version of which it is not known.
    fn may_be_superseded(&self, stack: &[Held]) -> bool {
        let Self::Metadata { if_changed: Some(_), .. } = self else { return false };
        self.altered(stack).is_some_and(|at| stack[at].metadata.changes.is_none())
    }

    /// Returns whether a lock may keep the change from happening; `from_ms` is the earliest time at
    /// its begin.
    fn may_be_locked(&self, stack: &[Held], locks: &Locks, from_ms: u64) -> bool {
        match *self {
            Self::Remove { version, bypass } => position(stack, version)
                .is_some_and(|at| locks.may_protect(stack[at].keep(locks), bypass, from_ms)),
            Self::Metadata { tag, bypass, .. } => self.altered(stack).is_some_and(|at| {
                locks.may_forbid(stack[at].keep(locks), locks.of_tag(tag), bypass, from_ms)
            }),
            // Only buckets that keep every version have locks here.
            Self::Put { .. } | Self::Delete => false,
        }
    }

    /// Returns the stack after the change if the response fits.
    fn answered(
        &self,
        stack: &[Held],
        versioning: Versioning,
        answer: Answer,
        (locks, from_ms): (&Locks, u64),
    ) -> Option<Stack> {
        if answer == Answer::Refused(Refusal::Locked) {
            return self.may_be_locked(stack, locks, from_ms).then(|| stack.to_vec());
        }
        // By the wall clock alone a retention may be over, which protects nothing and is refused.
        if answer == Answer::Refused(Refusal::RetentionOver)
            || answer == Answer::Refused(Refusal::Superseded) && self.may_be_superseded(stack)
        {
            return Some(stack.to_vec());
        }
        let (mut after, effect) = self.apply(stack, versioning, locks);
        let fits = match (effect, answer) {
            (Effect::Added, Answer::Put { generation, is_null, modified_ms }) => {
                after[0].modified_ms = Some(modified_ms);
                after[0].generation.replace(generation).is_none()
                    && after[0].is_null == is_null
                    && after[0].body.is_some()
            }
            (Effect::Added, Answer::Deleted(Deleted::Marked { generation, is_null })) => {
                after[0].generation = Some(generation);
                after[0].is_null == is_null && after[0].body.is_none()
            }
            (Effect::Removed(held), Answer::Deleted(Deleted::Removed { generation, marker, is_null })) => {
                held.is_null == is_null
                    && held.body.is_none() == marker
                    && held.generation.is_none_or(|known| known == generation)
            }
            (Effect::Altered(at), Answer::MetadataChanged { modified_ms }) => {
                let Self::Metadata { touches, .. } = self else { return None };
                after[at].modified_ms = Some(modified_ms);
                *touches || stack[at].modified_ms.is_none_or(|known| known == modified_ms)
            }
            (Effect::Refused(expected), Answer::Refused(refusal)) => expected == refusal,
            (Effect::Nothing, Answer::Deleted(Deleted::Absent)) => true,
            _ => false,
        };
        (fits && descends(&after)).then_some(after)
    }
}

fn add(stack: &mut Stack, body: Option<Body>, versioning: Versioning) {
    let is_null = versioning != Versioning::Enabled;
    if is_null {
        stack.retain(|held| !held.is_null);
    }
    let metadata = Metadata { changes: Some(0), tag: Some(0) };
    stack.insert(0, Held { body, is_null, generation: None, modified_ms: None, metadata });
}

/// Returns the position of a version in a stack.
fn position(stack: &[Held], version: Version) -> Option<usize> {
    match version {
        Version::Newest => (!stack.is_empty()).then_some(0),
        Version::Null => stack.iter().position(|held| held.is_null),
        Version::Generation(generation) => stack.iter().position(|held| held.generation == Some(generation)),
    }
}

fn descends(stack: &[Held]) -> bool {
    let known: Vec<u64> = stack.iter().filter_map(|held| held.generation).collect();
    known.is_sorted_by(|left, right| left > right)
}

/// This is a version as it was received. A listing does not show its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenVersion {
    pub body: Option<Body>,
    pub is_null: bool,
    pub generation: u64,
    pub modified_ms: u64,
    pub metadata: Metadata,
}

impl Held {
    /// Returns the version with what was seen of it, or `None` if it cannot be this one.
    fn seen_as(&self, seen: &SeenVersion) -> Option<Self> {
        fn fits<T: PartialEq>(known: Option<T>, seen: Option<T>) -> bool {
            known.is_none() || seen.is_none() || known == seen
        }
        let fits = self.body == seen.body
            && self.is_null == seen.is_null
            && fits(self.generation, Some(seen.generation))
            && fits(self.modified_ms, Some(seen.modified_ms))
            && fits(self.metadata.changes, seen.metadata.changes)
            && fits(self.metadata.tag, seen.metadata.tag);
        fits.then_some(Self {
            generation: Some(seen.generation),
            modified_ms: Some(seen.modified_ms),
            metadata: Metadata {
                changes: self.metadata.changes.or(seen.metadata.changes),
                tag: self.metadata.tag.or(seen.metadata.tag),
            },
            ..*self
        })
    }
}

/// This is a stack that is possible, with the given-up changes that have not happened to it: a bit
/// for each.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    stack: Stack,
    open: u8,
}

/// These are the versions of a key that a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// The slice begins behind this version, or with the newest one.
    pub after: Option<Version>,
    /// The generation of the last version before the page ended in the middle of the key.
    pub cut_at: Option<u64>,
    pub items: &'a [(SeenVersion, bool)],
}

impl State {
    /// Returns the state with what was seen of a version, or `None` if it contradicts that.
    fn with_version(&self, version: Version, seen: Option<&SeenVersion>) -> Option<Self> {
        let at = position(&self.stack, version);
        let unknown = |held: &Held| held.generation.is_none();
        match (at, seen) {
            (Some(at), Some(seen)) => self.with(at, seen),
            (None, None) => Some(self.clone()),
            // The version may be one whose generation was not known.
            (None, Some(seen)) if matches!(version, Version::Generation(_)) => {
                let candidates = (0..self.stack.len()).filter(|at| unknown(&self.stack[*at]));
                candidates.filter_map(|at| self.with(at, seen)).next()
            }
            _ => None,
        }
    }

    fn with(&self, at: usize, seen: &SeenVersion) -> Option<Self> {
        let mut learned = self.clone();
        learned.stack[at] = self.stack[at].seen_as(seen)?;
        descends(&learned.stack).then_some(learned)
    }

    fn with_slice(&self, slice: &Slice<'_>) -> Option<Self> {
        let length = self.stack.len();
        let starts: Vec<usize> = match slice.after {
            None => vec![0],
            Some(Version::Generation(after)) => {
                let newer = |held: &Held| held.generation.is_none_or(|own| own >= after);
                let older = |held: &Held| held.generation.is_none_or(|own| own < after);
                let splits =
                    |at: &usize| self.stack[..*at].iter().all(newer) && self.stack[*at..].iter().all(older);
                (0..=length).filter(splits).collect()
            }
            Some(version) => vec![position(&self.stack, version).map_or(length, |at| at + 1)],
        };
        starts.into_iter().find_map(|start| self.with_slice_from(start, slice))
    }

    fn with_slice_from(&self, start: usize, slice: &Slice<'_>) -> Option<Self> {
        let (rest, shown) = (self.stack.len() - start, slice.items.len());
        if shown > rest || (slice.cut_at.is_none() && shown < rest) {
            return None;
        }
        let mut learned = self.clone();
        for (at, (seen, is_latest)) in (start..).zip(slice.items) {
            if *is_latest != (at == 0) {
                return None;
            }
            learned = learned.with(at, seen)?;
        }
        Some(learned)
    }
}

/// Holds all that is known of a key.
#[derive(Clone, Debug)]
pub struct Stacks {
    states: Vec<State>,
    /// Holds changes with an unknown outcome, and the ticks of their begins.
    given_up: Vec<(Change, u64)>,
    /// Holds the change that is in progress.
    running: Option<(Change, u64)>,
    /// This is the earliest time by which its locks are judged.
    begun_ms: u64,
    /// This is the tick at which a change last began or ended.
    touched: u64,
}

impl Default for Stacks {
    fn default() -> Self {
        Self::of(Vec::new(), 0)
    }
}

impl Stacks {
    fn of(stack: Stack, now: u64) -> Self {
        let states = vec![State { stack, open: 0 }];
        Self { states, given_up: Vec::new(), running: None, begun_ms: 0, touched: now }
    }

    /// Returns whether no change began or ended since `from`, and none is in progress or may still
    /// happen.
    fn is_quiet(&self, from: u64) -> bool {
        self.running.is_none() && self.given_up.is_empty() && self.touched < from
    }

    /// Returns whether another change may begin.
    pub fn may_change(&self) -> bool {
        self.running.is_none() && self.given_up.len() < GIVEN_UP_MAX
    }

    /// Adds what the given-up changes may have made of each state.
    fn expand(&mut self, locks: &Locks, possible: impl Fn(u64) -> Vec<Versioning>) {
        let mut at = 0;
        while at < self.states.len() {
            let state = self.states[at].clone();
            at += 1;
            for (number, (change, begun)) in self.given_up.iter().enumerate() {
                if state.open & 1 << number == 0 {
                    continue;
                }
                for versioning in possible(*begun) {
                    let (stack, effect) = change.apply(&state.stack, versioning, locks);
                    let next = State { stack, open: state.open & !(1 << number) };
                    let happened = !matches!(effect, Effect::Nothing | Effect::Refused(_));
                    if happened && !self.states.contains(&next) {
                        self.states.push(next);
                    }
                }
            }
        }
    }

    /// Replaces each state by what `see` makes of it.
    ///
    /// # Errors
    /// Returns what was possible if nothing is left.
    fn keep(&mut self, see: impl Fn(&State) -> Vec<State>) -> Result<(), String> {
        let mut left: Vec<State> = Vec::new();
        for state in self.states.iter().flat_map(see) {
            if !left.contains(&state) {
                left.push(state);
            }
        }
        if left.is_empty() {
            return Err(self.describe());
        }
        self.states = left;
        Ok(())
    }

    fn describe(&self) -> String {
        let stacks: Vec<String> = self.states.iter().map(|state| describe(&state.stack)).collect();
        format!("possible is {}, with given-up changes {:?}", stacks.join(" or "), self.given_up)
    }

    fn settle(&mut self, now: u64) {
        let mut stack = self.states[0].stack.clone();
        for other in &self.states[1..] {
            // They look alike, and differ in what could not be read.
            for (held, other) in stack.iter_mut().zip(&other.stack) {
                if held.metadata != other.metadata {
                    held.metadata = Metadata::default();
                }
            }
        }
        *self = Self::of(stack, now);
    }

    /// Returns the newest of the possible stacks that are known, for choosing what to do.
    pub fn likely(&self) -> &[Held] {
        self.states.last().map_or(&[], |state| &state.stack)
    }

    pub fn is_certainly_empty(&self) -> bool {
        self.running.is_none()
            && self.given_up.is_empty()
            && self.states.iter().all(|state| state.stack.is_empty())
    }
}

fn describe(stack: &[Held]) -> String {
    let version = |held: &Held| {
        let what = held.body.map_or("marker".to_owned(), |body| {
            format!("{}+{}b/{}p", body.stored.tag, body.stored.size, body.parts)
        });
        let null = if held.is_null { " null" } else { "" };
        let Metadata { changes, tag } = held.metadata;
        format!("{what}{null} gen {:?} at {:?} meta {changes:?}/{tag:?}", held.generation, held.modified_ms)
    };
    format!("[{}]", stack.iter().map(version).collect::<Vec<_>>().join("; "))
}

/// This is a state of a bucket's versioning.
#[derive(Clone, Copy, Debug)]
struct Phase {
    versioning: Versioning,
    begun: u64,
    /// This is the tick by which every core knew it.
    happened: Option<u64>,
}

/// This is a bucket that keeps versions, sooner or later.
#[derive(Clone, Debug)]
pub struct VersionedBucket {
    pub name: String,
    phases: Vec<Phase>,
    pub keys: BTreeMap<Vec<u8>, Stacks>,
    pub locks: Rc<Locks>,
    pub lock: BucketLocked,
    /// This is the retention of versions that bring none, if the bucket is locked.
    pub default: BucketDefault,
}

/// Says whether a bucket has object lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketLocked {
    No,
    /// It was asked for, with an unknown outcome.
    Maybe,
    Yes,
}

impl VersionedBucket {
    pub fn new(name: &str, versioning: Versioning, locks: Rc<Locks>) -> Self {
        let phases = vec![Phase { versioning, begun: 0, happened: Some(0) }];
        let (keys, lock) = (BTreeMap::new(), BucketLocked::No);
        Self { name: name.to_owned(), phases, keys, locks, lock, default: BucketDefault::default() }
    }

    /// Returns the states that the bucket may have had at some moment between the ticks.
    pub fn possible(&self, from: u64, to: u64) -> Vec<Versioning> {
        possible(&self.phases, from, to)
    }

    /// Begins a change of the versioning.
    pub fn begin_phase(&mut self, versioning: Versioning, now: u64) {
        self.phases.push(Phase { versioning, begun: now, happened: None });
    }

    /// Records that the change of the versioning that began at `begun` has happened.
    pub fn end_phase(&mut self, begun: u64, now: u64) {
        self.phases
            .iter_mut()
            .filter(|phase| phase.begun == begun)
            .for_each(|phase| phase.happened = Some(now));
    }

    pub fn refuse_phase(&mut self, begun: u64) {
        self.phases.retain(|phase| phase.begun != begun);
    }

    /// Records the state of the versioning after a restart.
    pub fn settle_phase(&mut self, versioning: Versioning, now: u64) {
        self.phases = vec![Phase { versioning, begun: now, happened: Some(now) }];
    }

    fn expanded(&mut self, key: &[u8], now: u64) -> &mut Stacks {
        let Self { phases, keys, locks, .. } = self;
        let stacks = keys.entry(key.to_vec()).or_default();
        stacks.expand(locks, |begun| possible(phases, begun, now));
        stacks
    }

    pub fn begin(&mut self, key: &[u8], change: Change, now: u64) {
        let stacks = self.keys.entry(key.to_vec()).or_default();
        assert!(stacks.may_change(), "a second change of {key:?} at the same time: {stacks:?}");
        stacks.running = Some((change, now));
        (stacks.begun_ms, stacks.touched) = (self.locks.begin_ms(), now);
    }

    /// Ends a change that has no effect, and never will.
    pub fn refuse(&mut self, key: &[u8], now: u64) {
        let stacks = self.keys.entry(key.to_vec()).or_default();
        (stacks.running, stacks.touched) = (None, now);
    }

    /// Leaves a change that may happen or not. Returns whether one was in progress.
    pub fn give_up(&mut self, key: &[u8], now: u64) -> bool {
        let stacks = self.keys.entry(key.to_vec()).or_default();
        let Some((change, begun)) = stacks.running.take() else { return false };
        let bit = 1 << stacks.given_up.len();
        stacks.states.iter_mut().for_each(|state| state.open |= bit);
        stacks.given_up.push((change, begun));
        stacks.touched = now;
        true
    }

    /// Ends a change with its response.
    ///
    /// # Errors
    /// Returns what was possible if nothing explains the response.
    pub fn answer(&mut self, key: &[u8], answer: Answer, now: u64) -> Result<(), String> {
        let Some((change, begun)) = self.expanded(key, now).running.take() else { return Ok(()) };
        let (versionings, locks) = (self.possible(begun, now), self.locks.clone());
        let stacks = self.keys.entry(key.to_vec()).or_default();
        stacks.touched = now;
        let rules = (&*locks, stacks.begun_ms);
        stacks.keep(|state| {
            let after = |versioning: &Versioning| change.answered(&state.stack, *versioning, answer, rules);
            let stacks = versionings.iter().filter_map(after);
            stacks.map(|stack| State { stack, open: state.open }).collect()
        })
    }

    /// Records what is there where a version was asked for.
    ///
    /// # Errors
    /// Returns what was possible if it cannot be there.
    pub fn see(
        &mut self,
        key: &[u8],
        version: Version,
        seen: Option<&SeenVersion>,
        now: u64,
    ) -> Result<(), String> {
        self.expanded(key, now).keep(|state| state.with_version(version, seen).into_iter().collect())
    }

    /// Records which versions a page shows of a key.
    ///
    /// # Errors
    /// Returns what was possible if that is wrong.
    pub fn see_slice(&mut self, key: &[u8], slice: &Slice<'_>, now: u64) -> Result<(), String> {
        self.expanded(key, now).keep(|state| state.with_slice(slice).into_iter().collect())
    }

    /// Records that what is known of a key is all, after a restart.
    pub fn settle(&mut self, key: &[u8], now: u64) {
        self.keys.entry(key.to_vec()).or_default().settle(now);
    }

    /// Takes the versions of a key from what was seen.
    pub fn adopt(&mut self, key: &[u8], seen: &[SeenVersion], now: u64) {
        let held = |seen: &SeenVersion| Held {
            body: seen.body,
            is_null: seen.is_null,
            generation: Some(seen.generation),
            modified_ms: Some(seen.modified_ms),
            metadata: seen.metadata,
        };
        self.keys.insert(key.to_vec(), Stacks::of(seen.iter().map(held).collect(), now));
    }

    /// Returns whether a key has versions for certain, although changes that were given up may have
    /// happened or still happen.
    pub fn is_certainly_there(&mut self, key: &[u8], now: u64) -> bool {
        self.expanded(key, now).states.iter().all(|state| !state.stack.is_empty())
    }

    /// Returns what the bucket holds, if that is certain.
    pub fn usage(&mut self, now: u64) -> Option<BucketUsage> {
        let mut sum = BucketUsage::default();
        let keys: Vec<Vec<u8>> = self.keys.keys().cloned().collect();
        for key in keys {
            let stacks = self.expanded(&key, now);
            let own = usage_of(&stacks.states[0].stack);
            if stacks.running.is_some() || stacks.states.iter().any(|state| usage_of(&state.stack) != own) {
                return None;
            }
            sum = sum.plus(own);
        }
        Some(sum)
    }
}

impl Model {
    pub fn versioned(&mut self, bucket: BucketId) -> &mut VersionedBucket {
        let known = self.versioned.get_mut(&bucket);
        known.unwrap_or_else(|| panic!("bucket {} keeps no versions in the model", bucket.0))
    }
}

fn possible(phases: &[Phase], from: u64, to: u64) -> Vec<Versioning> {
    let over = |phase: &&Phase| phase.happened.is_some_and(|tick| tick < from);
    let border = phases.iter().filter(over).map(|phase| phase.begun).max().unwrap_or(0);
    let seen = |phase: &&Phase| phase.begun <= to && phase.happened.is_none_or(|_| phase.begun >= border);
    let mut possible: Vec<Versioning> = Vec::new();
    for phase in phases.iter().filter(seen) {
        if !possible.contains(&phase.versioning) {
            possible.push(phase.versioning);
        }
    }
    possible
}

fn usage_of(stack: &[Held]) -> BucketUsage {
    let bodies = || stack.iter().filter_map(|held| held.body);
    let versions = bodies().count() as u64;
    BucketUsage {
        keys: u64::from(stack.first().is_some_and(|newest| newest.body.is_some())),
        versions,
        markers: stack.len() as u64 - versions,
        bytes: bodies().map(|body| body.stored.size).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"k";

    fn bucket(versioning: Versioning) -> VersionedBucket {
        VersionedBucket::new("versions-0", versioning, Rc::default())
    }

    fn put(tag: u64) -> Change {
        let body = Body { stored: Stored { tag, size: 1 }, parts: 0 };
        Change::Put { body, condition: Condition::Nothing }
    }

    fn object(tag: u64, generation: u64, is_null: bool) -> SeenVersion {
        let body = Some(Body { stored: Stored { tag, size: 1 }, parts: 0 });
        SeenVersion { body, is_null, generation, modified_ms: 1, metadata: Metadata::default() }
    }

    fn marker(generation: u64, is_null: bool) -> SeenVersion {
        SeenVersion { body: None, ..object(0, generation, is_null) }
    }

    fn done(known: &mut VersionedBucket, now: u64, change: Change, answer: Answer) -> Result<(), String> {
        known.begin(KEY, change, now);
        known.answer(KEY, answer, now + 1)
    }

    fn is_put(generation: u64, is_null: bool) -> Answer {
        Answer::Put { generation, is_null, modified_ms: 1 }
    }

    fn shows(known: &VersionedBucket, items: &[SeenVersion]) -> bool {
        let items: Vec<_> = items.iter().enumerate().map(|(at, seen)| (*seen, at == 0)).collect();
        known.clone().see_slice(KEY, &Slice { after: None, cut_at: None, items: &items }, 99).is_ok()
    }

    #[test]
    fn a_known_change_leaves_one_stack() {
        let mut known = bucket(Versioning::Off);
        assert!(done(&mut known, 1, put(1), is_put(10, true)).is_ok());
        known.begin_phase(Versioning::Enabled, 3);
        known.end_phase(3, 4);
        assert!(done(&mut known, 5, put(2), is_put(20, false)).is_ok());
        assert!(shows(&known, &[object(2, 20, false), object(1, 10, true)]));
        assert!(!shows(&known, &[object(2, 20, false)]), "a version is missing");
        assert!(!shows(&known, &[object(1, 10, true), object(2, 20, false)]), "in the wrong order");
        known.begin_phase(Versioning::Suspended, 7);
        known.end_phase(7, 8);
        assert!(done(&mut known.clone(), 9, put(3), is_put(15, true)).is_err(), "older than the newest");
        assert!(done(&mut known.clone(), 9, put(3), is_put(30, false)).is_err(), "versions are suspended");
        assert!(done(&mut known, 9, put(3), is_put(30, true)).is_ok());
        assert!(shows(&known, &[object(3, 30, true), object(2, 20, false)]));
        assert!(!shows(&known, &[object(3, 30, true), object(2, 20, false), object(1, 10, true)]));
    }

    #[test]
    fn a_change_that_was_given_up_happens_once_or_never() {
        let mut known = bucket(Versioning::Enabled);
        assert!(done(&mut known, 1, put(1), is_put(10, false)).is_ok());
        known.begin(KEY, Change::Delete, 3);
        assert!(known.give_up(KEY, 4));
        let first = object(1, 10, false);
        assert!(shows(&known, &[first]) && shows(&known, &[marker(11, false), first]));
        assert!(!shows(&known, &[marker(12, false), marker(11, false), first]));
        assert!(!shows(&known, &[]), "deletes add markers");
        assert!(known.see(KEY, Version::Newest, Some(&marker(11, false)), 5).is_ok());
        assert!(!shows(&known, &[first]), "a client saw the marker");
        assert!(!shows(&known, &[marker(12, false), first]), "its generation is known");
        assert!(known.usage(6).is_some_and(|usage| (usage.keys, usage.versions, usage.markers) == (0, 1, 1)));
    }

    #[test]
    fn a_change_of_the_versioning_in_progress_allows_both() {
        let mut known = bucket(Versioning::Enabled);
        known.begin_phase(Versioning::Suspended, 2);
        assert!(done(&mut known.clone(), 3, put(1), is_put(10, true)).is_ok());
        assert!(done(&mut known.clone(), 3, put(1), is_put(10, false)).is_ok());
        known.end_phase(2, 5);
        assert!(done(&mut known, 6, put(1), is_put(10, false)).is_err());
    }

    #[test]
    fn metadata_of_an_older_change_is_noticed() {
        let mut known = bucket(Versioning::Enabled);
        assert!(done(&mut known, 1, put(1), is_put(10, false)).is_ok());
        let change = |tag, if_changed| Change::Metadata {
            generation: 10,
            if_changed,
            tag,
            touches: false,
            bypass: false,
        };
        let changed = Answer::MetadataChanged { modified_ms: 1 };
        assert!(done(&mut known, 3, change(2, Some(0)), changed).is_ok());
        assert!(done(&mut known.clone(), 5, change(3, Some(0)), changed).is_err(), "it was changed");
        assert!(done(&mut known, 5, change(3, None), changed).is_ok());
        let with = |changes, tag| {
            let metadata = Metadata { changes: Some(changes), tag: Some(tag) };
            known.clone().see(
                KEY,
                Version::Generation(10),
                Some(&SeenVersion { metadata, ..object(1, 10, false) }),
                7,
            )
        };
        assert!(with(2, 3).is_ok() && with(1, 2).is_err() && with(2, 2).is_err());
    }

    #[test]
    fn what_is_locked_is_neither_removed_nor_missing() {
        let mut known = bucket(Versioning::Enabled);
        let (first, second) = (object(1, 10, false), object(2, 20, false));
        known.locks.give(1, Keep { hold: true, ..Keep::default() }, BucketDefault::default());
        for (now, tag, generation) in [(1, 1, 10), (3, 2, 20)] {
            assert!(done(&mut known, now, put(tag), is_put(generation, false)).is_ok());
        }
        let remove = |generation| Change::Remove { version: Version::Generation(generation), bypass: true };
        let removed =
            |generation| Answer::Deleted(Deleted::Removed { generation, marker: false, is_null: false });
        let refused = Answer::Refused(Refusal::Locked);
        assert!(done(&mut known.clone(), 5, remove(10), removed(10)).is_err(), "it is locked");
        assert!(done(&mut known.clone(), 5, remove(20), refused).is_err(), "nothing locks it");
        assert!(done(&mut known, 5, remove(10), refused).is_ok());
        for generation in [10, 20] {
            known.begin(KEY, remove(generation), 7 + generation);
            assert!(known.give_up(KEY, 8 + generation));
        }
        assert!(shows(&known, &[second, first]) && shows(&known, &[first]));
        assert!(!shows(&known, &[second]) && !shows(&known, &[]), "a locked version is missing");
        // The hold ends, and what was given up may happen.
        known.locks.give(3, Keep::default(), BucketDefault::default());
        let release =
            Change::Metadata { generation: 10, if_changed: None, tag: 3, touches: false, bypass: false };
        assert!(done(&mut known, 40, release, Answer::MetadataChanged { modified_ms: 1 }).is_ok());
        assert!(shows(&known, &[]));
    }

    #[test]
    fn a_page_that_begins_and_ends_within_a_key_is_compared() {
        let mut known = bucket(Versioning::Enabled);
        for number in 1..=4 {
            assert!(done(&mut known, number * 2, put(number), is_put(number * 10, false)).is_ok());
        }
        let mut page = |after: u64, cut_at, tags: &[u64]| {
            let items: Vec<_> = tags.iter().map(|tag| (object(*tag, tag * 10, false), *tag == 4)).collect();
            let slice = Slice { after: Some(Version::Generation(after)), cut_at, items: &items };
            known.see_slice(KEY, &slice, 99).is_ok()
        };
        assert!(page(40, None, &[3, 2, 1]) && page(35, Some(20), &[3, 2]) && page(10, None, &[]));
        assert!(!page(40, None, &[3, 2]), "one is missing");
        assert!(!page(40, None, &[2, 1]), "the first is missing");
        assert!(!page(30, None, &[3, 2, 1]), "one comes again");
    }
}
