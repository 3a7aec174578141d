//! This module checks pages of versions, or of objects, of buckets that keep versions.
//!
//! Invariants:
//! - A key that was not changed since the listing began is on the page as one of its possible stacks
//!   has it, and what the page shows removes the stacks that it contradicts.
//! - Another key may be there in any form, or not.

use std::collections::BTreeMap;

use ringbolt_engine::types::{BucketId, Etag, VersionItem, VersionPlace, VersionsQuery};

use super::super::model::{Model, Stored, listed_name};
use super::super::tag_of;
use super::{Body, Metadata, SeenVersion, Slice, State, VersionedBucket};

/// Returns a version as a listing shows it, with whether it is the latest.
///
/// # Panics
/// Panics when a delete marker has a size or an ETag.
pub fn seen_item(item: &VersionItem) -> Option<(SeenVersion, bool)> {
    let VersionItem::Version {
        generation, is_null, is_latest, is_marker, size_bytes, modified_ms, etag, ..
    } = item
    else {
        return None;
    };
    let bare = *size_bytes == 0 && *etag == Etag::default();
    assert!(!is_marker || bare, "a delete marker has a size or an ETag: {item:?}");
    let stored = Stored { tag: tag_of(etag), size: *size_bytes };
    let seen = SeenVersion {
        body: (!is_marker).then_some(Body { stored, parts: etag.parts }),
        is_null: *is_null,
        generation: *generation,
        modified_ms: *modified_ms,
        metadata: Metadata::default(),
    };
    Some((seen, *is_latest))
}

/// This is a page of versions, or of objects, as it was received by an operation that began at
/// `from`.
pub struct VersionsSeen<'a> {
    pub query: &'a VersionsQuery,
    pub items: &'a [VersionItem],
    /// This is the place behind which the next page begins, if there is one.
    pub next: Option<VersionPlace>,
    pub from: u64,
    /// Only objects that are the newest versions of their keys are listed.
    pub only_objects: bool,
}

impl VersionsSeen<'_> {
    /// Returns whether the page has all that there is of a name.
    fn covers(&self, name: &[u8]) -> bool {
        self.next.as_ref().is_none_or(|next| name <= next.key.as_slice())
    }

    /// Returns the part of a key's versions that the page shows, or `None` if it shows none of them.
    fn slice<'a>(&self, key: &[u8], items: &'a [(SeenVersion, bool)]) -> Option<Slice<'a>> {
        let after = match key.cmp(&self.query.after_key) {
            std::cmp::Ordering::Less => return None,
            std::cmp::Ordering::Equal => Some(self.query.after_version?),
            std::cmp::Ordering::Greater => None,
        };
        let cut = self.next.as_ref().filter(|next| next.key == key && next.generation > 0);
        self.covers(key).then_some(Slice { after, cut_at: cut.map(|next| next.generation), items })
    }

    /// Returns whether a key is behind the place where the page begins. A page that begins behind a
    /// common prefix has nothing of it; one that begins within shows the prefix if more of it follows.
    fn may_have(&self, key: &[u8]) -> bool {
        let VersionsQuery { prefix, delimiter, after_key, .. } = self.query;
        let is_prefix =
            after_key.starts_with(prefix) && after_key.ends_with(delimiter) && !delimiter.is_empty();
        key > after_key.as_slice() && !(is_prefix && key.starts_with(after_key))
    }

    /// Checks the order of the items, and that each is where the page may have it.
    fn check_order(&self) -> Result<(), String> {
        if !self.items.is_sorted_by(|left, right| left.place() < right.place()) {
            return Err("items are not in order".to_owned());
        }
        let behind = |item: &VersionItem| match item {
            VersionItem::Version { key, .. } if *key == self.query.after_key => {
                self.query.after_version.is_some()
            }
            VersionItem::CommonPrefix(name) if self.query.after_key.starts_with(name) => {
                *name != self.query.after_key
            }
            item => item.name() > self.query.after_key.as_slice(),
        };
        match self.items.iter().find(|item| !behind(item) || !self.covers(item.name())) {
            Some(item) => Err(format!("{item:?} is not on this page")),
            None => Ok(()),
        }
    }
}

impl Model {
    /// Checks a page of a listing of versions. Keys that change meanwhile, or did since the listing
    /// began, may be there in any form.
    ///
    /// # Errors
    /// Returns what is wrong.
    pub fn check_versions(&mut self, bucket: BucketId, page: &VersionsSeen<'_>) -> Result<(), String> {
        page.check_order()?;
        let now = self.tick();
        let known = self.versioned(bucket);
        let mut names: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for key in known.keys.keys().filter(|key| key.starts_with(&page.query.prefix)) {
            let name = listed_name(&page.query.prefix, &page.query.delimiter, key);
            names.entry(name).or_default().push(key.clone());
        }
        if let Some(item) = page.items.iter().find(|item| !names.contains_key(item.name())) {
            return Err(format!("{item:?} was never put"));
        }
        for (name, keys) in &names {
            let of_name = page.items.iter().filter(|item| item.name() == name);
            if keys.iter().any(|key| key != name) {
                let prefixes = of_name.clone().count();
                if of_name.clone().any(|item| matches!(item, VersionItem::Version { .. })) || prefixes > 1 {
                    return Err(format!("{name:?} is no common prefix"));
                }
                known.check_prefix(page, name, keys, prefixes == 1, now)?;
                continue;
            }
            let items: Vec<(SeenVersion, bool)> = of_name.clone().filter_map(seen_item).collect();
            if items.len() != of_name.count() {
                return Err(format!("{name:?} is a common prefix"));
            }
            if known.keys.get(name).is_some_and(|stacks| stacks.is_quiet(page.from)) {
                known.check_key(page, name, &items, now)?;
            }
        }
        Ok(())
    }
}

impl VersionedBucket {
    fn check_key(
        &mut self,
        page: &VersionsSeen<'_>,
        key: &[u8],
        items: &[(SeenVersion, bool)],
        now: u64,
    ) -> Result<(), String> {
        let Some(slice) = page.slice(key, items) else { return Ok(()) };
        let seen = match page.only_objects {
            true => self.expanded(key, now).keep(|state| {
                let newest = state.stack.first().and_then(|newest| newest.body);
                let listed = items.first().and_then(|(seen, _)| seen.body);
                if newest == listed && items.len() < 2 { vec![state.clone()] } else { Vec::new() }
            }),
            false => self.see_slice(key, &slice, now),
        };
        seen.map_err(|error| format!("{} with {slice:?}: {error}", String::from_utf8_lossy(key)))
    }

    /// Checks a common prefix, which is on the page or not.
    fn check_prefix(
        &mut self,
        page: &VersionsSeen<'_>,
        name: &[u8],
        keys: &[Vec<u8>],
        is_listed: bool,
        now: u64,
    ) -> Result<(), String> {
        let (mut may_be, mut must_be) = (false, false);
        for key in keys.iter().filter(|key| page.may_have(key)) {
            let quiet = self.keys.get(key).is_some_and(|stacks| stacks.is_quiet(page.from));
            let there = |state: &State| match page.only_objects {
                true => state.stack.first().is_some_and(|newest| newest.body.is_some()),
                false => !state.stack.is_empty(),
            };
            let states = &self.expanded(key, now).states;
            may_be |= !quiet || states.iter().any(there);
            must_be |= quiet && states.iter().all(there);
        }
        if is_listed && !may_be || !is_listed && must_be && page.covers(name) {
            let states: Vec<String> = keys.iter().map(|key| self.keys[key].describe()).collect();
            return Err(format!("the common prefix {name:?} is {is_listed}: {states:?}"));
        }
        Ok(())
    }
}
