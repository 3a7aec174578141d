//! What is to be done with a version at a moment, by the rules of its bucket.
//!
//! Invariants:
//! - A time that is counted in days ends at a midnight, UTC: the first one behind the last of these
//!   days. A day may be shorter than 24 hours; then every multiple of it since 1970 is a midnight.
//! - The earliest expiration of all rules counts, and any expiration that is due counts for more than
//!   a transition.
//! - A delete marker is never made to expire into another one. One that is the newest version of its
//!   key is removed only while it is the only version.
//! - A class only ever becomes a colder one.

use std::cmp::Reverse;

use super::rules::{Expiration, LifecycleRules, NoncurrentExpiration, Rule, When};
use crate::types::{Attributes, ObjectInfo, StorageClass, Versioning};

/// The time of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// Length of a day in milliseconds.
    pub day_ms: u64,
}

/// Where a version stands among the versions of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Newest {
        /// The key has no other version.
        is_sole: bool,
    },
    Noncurrent {
        /// The time at which the next newer version was written, a Unix time in milliseconds.
        since_ms: u64,
        /// Number of newer versions that are not the newest one.
        newer: u64,
    },
}

/// The tags of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags<'a> {
    /// They were not read, and the version has some.
    Unread,
    /// The version has none.
    None,
    /// They are among these attributes.
    Among(&'a Attributes),
}

/// What is known of a version that is judged.
#[derive(Clone, Copy, Debug)]
pub struct VersionFacts<'a> {
    pub key: &'a [u8],
    pub size_bytes: u64,
    /// Unix time in milliseconds.
    pub modified_ms: u64,
    pub class: StorageClass,
    pub is_marker: bool,
    pub place: Place,
    pub tags: Tags<'a>,
}

/// What is done with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its key gets a delete marker, which is null and replaces the null version where versioning is
    /// suspended.
    AddMarker,
    /// The version, which is an object, is removed.
    RemoveVersion,
    /// The version, which is a delete marker, is removed.
    RemoveMarker,
    /// The version gets another storage class.
    Transition(StorageClass),
    /// An upload is aborted. No version has this.
    AbortUpload,
}

/// What is due, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged<'a> {
    pub action: Action,
    pub rule: &'a Rule,
}

/// The outcome of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement<'a> {
    /// Nothing is due.
    Keep,
    /// The tags decide, and they were not read.
    NeedsTags,
    Due(Judged<'a>),
}

/// When an object expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Unix time in milliseconds.
    pub at_ms: u64,
    /// The id of the rule.
    pub rule: String,
}

impl Clock {
    /// Returns the first midnight behind a number of days after a time.
    fn midnight_after(self, from_ms: u64, days: u32) -> u64 {
        let day_ms = self.day_ms.max(1);
        let end_ms = from_ms.saturating_add(u64::from(days).saturating_mul(day_ms));
        (end_ms / day_ms).saturating_add(1).saturating_mul(day_ms)
    }
}

/// Judges a version by the rules of its bucket, whose versioning is in this state.
pub fn judge<'a>(
    rules: &'a LifecycleRules,
    version: &VersionFacts<'_>,
    versioning: Versioning,
    clock: Clock,
) -> Judgement<'a> {
    let (mut ends, mut moves) = (Vec::new(), Vec::new());
    for rule in rules.enabled().filter(|rule| admits_untagged(rule, version)) {
        let end = end_of(rule, version, versioning, clock).filter(|(at_ms, _)| *at_ms <= clock.now_ms);
        let class = class_due(rule, version, clock);
        if end.is_none() && class.is_none() {
            continue;
        }
        match version.tags {
            Tags::Unread if !rule.filter.tags.is_empty() => return Judgement::NeedsTags,
            tags if !admits_tags(rule, tags) => continue,
            _ => {}
        }
        ends.extend(end.map(|(at_ms, action)| (at_ms, Judged { action, rule })));
        moves.extend(class.map(|class| (class, rule)));
    }
    // Of equals, the rule that comes first is named.
    if let Some((_, judged)) = ends.into_iter().min_by_key(|(at_ms, _)| *at_ms) {
        return Judgement::Due(judged);
    }
    match moves.into_iter().min_by_key(|(class, _)| Reverse(coldness(*class))) {
        Some((class, rule)) => Judgement::Due(Judged { action: Action::Transition(class), rule }),
        None => Judgement::Keep,
    }
}

/// Returns when the newest version of a key, which is an object, will expire, and by which rule. That
/// time may be over already.
pub fn expiration_of(rules: &LifecycleRules, key: &[u8], object: &ObjectInfo, day_ms: u64) -> Option<Expiry> {
    let version = VersionFacts {
        key,
        size_bytes: object.size_bytes,
        modified_ms: object.modified_ms,
        class: StorageClass::Standard,
        is_marker: false,
        place: Place::Newest { is_sole: false },
        tags: Tags::Among(&object.attributes),
    };
    let clock = Clock { now_ms: 0, day_ms };
    let admitting = rules.enabled().filter(|rule| admits_untagged(rule, &version));
    let ends = admitting.filter(|rule| admits_tags(rule, version.tags)).filter_map(|rule| {
        let (at_ms, _) = end_of(rule, &version, Versioning::Off, clock)?;
        Some((at_ms, rule))
    });
    let (at_ms, rule) = ends.min_by_key(|(at_ms, _)| *at_ms)?;
    Some(Expiry { at_ms, rule: rule.id.clone() })
}

/// Judges an upload that began at a Unix time in milliseconds. Returns by which rule it is to be aborted.
pub fn upload_due<'a>(
    rules: &'a LifecycleRules,
    key: &[u8],
    initiated_ms: u64,
    clock: Clock,
) -> Option<Judged<'a>> {
    let due = |rule: &&Rule| {
        let days = rule.abort_uploads_days.filter(|days| *days > 0);
        days.is_some_and(|days| clock.midnight_after(initiated_ms, days) <= clock.now_ms)
    };
    let admitting = rules.enabled().filter(|rule| rule.is_of_uploads() && rule.filter.admits_key(key));
    let rule = admitting.filter(due).min_by_key(|rule| rule.abort_uploads_days)?;
    Some(Judged { action: Action::AbortUpload, rule })
}

/// Returns whether all of a rule's filter but its tags admits a version.
fn admits_untagged(rule: &Rule, version: &VersionFacts<'_>) -> bool {
    let filter = &rule.filter;
    let admitted =
        if version.is_marker { !filter.is_of_objects() } else { filter.admits_size(version.size_bytes) };
    admitted && filter.admits_key(version.key)
}

fn admits_tags(rule: &Rule, tags: Tags<'_>) -> bool {
    match tags {
        Tags::Among(attributes) => rule.filter.admits_tags(attributes),
        Tags::None | Tags::Unread => rule.filter.tags.is_empty(),
    }
}

/// Returns when a rule ends a version, and how.
fn end_of(
    rule: &Rule,
    version: &VersionFacts<'_>,
    versioning: Versioning,
    clock: Clock,
) -> Option<(u64, Action)> {
    let removal = if version.is_marker { Action::RemoveMarker } else { Action::RemoveVersion };
    match version.place {
        Place::Noncurrent { since_ms, newer } => {
            let NoncurrentExpiration { days, newer_kept } = rule.noncurrent_expiration?;
            let goes = days > 0 && newer >= u64::from(newer_kept.unwrap_or(0));
            goes.then(|| (clock.midnight_after(since_ms, days), removal))
        }
        Place::Newest { is_sole } if version.is_marker && !is_sole => None,
        Place::Newest { .. } => {
            let at_ms = match rule.expiration? {
                Expiration::Days(0) => return None,
                Expiration::Days(days) => clock.midnight_after(version.modified_ms, days),
                Expiration::Date(at_ms) => at_ms,
                Expiration::ExpiredDeleteMarker => version.is_marker.then_some(version.modified_ms)?,
            };
            let adds = !version.is_marker && versioning != Versioning::Off;
            Some((at_ms, if adds { Action::AddMarker } else { removal }))
        }
    }
}

/// Returns the coldest class that a rule wants a version to have by now, if that is colder than its
/// own.
fn class_due(rule: &Rule, version: &VersionFacts<'_>, clock: Clock) -> Option<StorageClass> {
    if version.is_marker {
        return None;
    }
    let mut coldest = version.class;
    let mut offer = |at_ms: u64, class: StorageClass| {
        if at_ms <= clock.now_ms && coldness(class) > coldness(coldest) {
            coldest = class;
        }
    };
    match version.place {
        Place::Newest { .. } => {
            for moves in &rule.transitions {
                match moves.when {
                    When::Days(days) => offer(clock.midnight_after(version.modified_ms, days), moves.class),
                    When::Date(at_ms) => offer(at_ms, moves.class),
                }
            }
        }
        Place::Noncurrent { since_ms, newer } => {
            for moves in &rule.noncurrent_transitions {
                if newer >= u64::from(moves.newer_kept.unwrap_or(0)) {
                    offer(clock.midnight_after(since_ms, moves.days), moves.class);
                }
            }
        }
    }
    (coldest != version.class).then_some(coldest)
}

/// Returns the order of the classes in which transitions go. No transition ends in the first two.
fn coldness(class: StorageClass) -> u8 {
    match class {
        StorageClass::Standard | StorageClass::ReducedRedundancy => 0,
        StorageClass::StandardIa => 1,
        StorageClass::IntelligentTiering => 2,
        StorageClass::OneZoneIa => 3,
        StorageClass::GlacierIr => 4,
    }
}
