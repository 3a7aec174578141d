//! The rules of a bucket's lifecycle as data.
//!
//! Invariant: a filter with tags or sizes is one of objects. It never admits a delete marker or an
//! upload, which have neither.

use crate::types::{Attributes, StorageClass, traits};

/// The lifecycle rules of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleRules {
    pub rules: Vec<Rule>,
}

/// One rule: of which versions it speaks, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub id: String,
    /// A rule that is not enabled does nothing.
    pub enabled: bool,
    pub filter: Filter,
    pub expiration: Option<Expiration>,
    pub noncurrent_expiration: Option<NoncurrentExpiration>,
    /// Days after its beginning at which an upload that was not completed is aborted.
    pub abort_uploads_days: Option<u32>,
    pub transitions: Vec<Transition>,
    pub noncurrent_transitions: Vec<NoncurrentTransition>,
}

/// What a rule asks of a version. All of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The key begins with this.
    pub prefix: String,
    /// The version has all of these tags, with these values.
    pub tags: Vec<(String, String)>,
    /// The version has more bytes than this.
    pub larger_than: Option<u64>,
    /// The version has fewer bytes than this.
    pub smaller_than: Option<u64>,
}

/// When the newest version of a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// This many days after it was written. With 0 it never expires.
    Days(u32),
    /// At this Unix time in milliseconds, and whenever it is found later.
    Date(u64),
    /// As soon as it is a delete marker without any other version of its key. Objects do not expire.
    ExpiredDeleteMarker,
}

/// When a version that is not the newest of its key is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoncurrentExpiration {
    /// Days after the next newer version was written. With 0 it is never removed.
    pub days: u32,
    /// The rule keeps this many of the newest versions that are not the newest of their key.
    pub newer_kept: Option<u32>,
}

/// The moment of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This many days after the version was written.
    Days(u32),
    /// A Unix time in milliseconds.
    Date(u64),
}

/// A change of the storage class of the newest version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub when: When,
    pub class: StorageClass,
}

/// A change of the storage class of a version that is not the newest of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoncurrentTransition {
    /// Days after the next newer version was written.
    pub days: u32,
    /// The rule leaves this many of the newest versions that are not the newest of their key.
    pub newer_kept: Option<u32>,
    pub class: StorageClass,
}

impl LifecycleRules {
    /// Returns the rules that are enabled.
    pub fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }

    /// Returns the prefixes under which the enabled rules speak of versions, ascending. None begins
    /// with another one.
    pub fn version_prefixes(&self) -> Vec<Vec<u8>> {
        outermost(self.enabled().filter(|rule| rule.is_of_versions()))
    }

    /// Returns the prefixes under which the enabled rules speak of uploads, ascending. None begins
    /// with another one.
    pub fn upload_prefixes(&self) -> Vec<Vec<u8>> {
        outermost(self.enabled().filter(|rule| rule.is_of_uploads()))
    }

    /// Returns the most versions that a rule keeps or leaves because they are the newest of those
    /// that are not the newest of their key.
    pub fn newer_kept_max(&self) -> u32 {
        let kept = self.enabled().flat_map(|rule| {
            let moves = rule.noncurrent_transitions.iter().map(|moves| moves.newer_kept);
            moves.chain(rule.noncurrent_expiration.map(|removal| removal.newer_kept))
        });
        kept.flatten().max().unwrap_or(0)
    }
}

/// Returns the prefixes of rules without those that begin with another one.
fn outermost<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<Vec<u8>> {
    let mut prefixes: Vec<Vec<u8>> = rules.map(|rule| rule.filter.prefix.clone().into_bytes()).collect();
    prefixes.sort_unstable();
    // A prefix sorts directly before everything that begins with it.
    prefixes.dedup_by(|next, kept| next.starts_with(kept));
    prefixes
}

impl Rule {
    fn is_of_versions(&self) -> bool {
        let moves = !self.transitions.is_empty() || !self.noncurrent_transitions.is_empty();
        moves || self.expiration.is_some() || self.noncurrent_expiration.is_some()
    }

    /// Returns whether the rule aborts uploads. Uploads have no tags yet and no size.
    pub(super) fn is_of_uploads(&self) -> bool {
        self.abort_uploads_days.is_some() && !self.filter.is_of_objects()
    }
}

impl Filter {
    /// Returns whether the filter asks for what only an object has.
    pub fn is_of_objects(&self) -> bool {
        !self.tags.is_empty() || self.larger_than.is_some() || self.smaller_than.is_some()
    }

    /// Returns whether a key begins as the filter asks.
    pub(super) fn admits_key(&self, key: &[u8]) -> bool {
        key.starts_with(self.prefix.as_bytes())
    }

    /// Returns whether an object has the size that the filter asks for.
    pub(super) fn admits_size(&self, size_bytes: u64) -> bool {
        self.larger_than.is_none_or(|least| size_bytes > least)
            && self.smaller_than.is_none_or(|most| size_bytes < most)
    }

    /// Returns whether attributes have the tags that the filter asks for.
    pub(super) fn admits_tags(&self, attributes: &Attributes) -> bool {
        let has = |key: &str, value: &str| traits::tags(attributes).any(|tag| tag == (key, value));
        self.tags.iter().all(|(key, value)| has(key, value))
    }
}
