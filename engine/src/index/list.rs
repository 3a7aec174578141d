//! The listings of one shard: prefix, delimiter and the place to begin, applied to its ordered index.
//!
//! Invariants:
//! - Items come in byte order of their names, and versions of a key with the newest first.
//! - A common prefix costs one entry and one seek, however many keys it has, unless those before its
//!   first object have only delete markers.
//! - `truncated` is exact, except where a listing of objects ends after many keys that it does not
//!   show, because their newest version is a delete marker.

use crate::types::{
    Etag, ListItem, ListPage, ListQuery, StorageClass, Version, VersionItem, VersionsPage, VersionsQuery,
};

use super::keys;
use super::ordered::{OrderedIndex, Step};

/// Most keys in a row that a listing of objects passes over before it ends.
const HIDDEN_MAX: usize = 4096;
/// Most versions of a key that are passed over one by one.
const OLDER_MAX: usize = 8;

/// What a listing shows of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub size: u64,
    /// Unix time in milliseconds.
    pub modified_ms: u64,
    pub etag: Etag,
    pub is_null: bool,
    pub is_marker: bool,
    pub class: StorageClass,
}

/// Decodes an entry's value.
pub type DecodeValue<'a> = dyn Fn(&[u8]) -> Listed + 'a;

/// Returns one shard's page of at most `max` objects and common prefixes. (`query.max_items` is the
/// limit of the whole page and is ignored here.) If `max` is 0, the page is empty and not truncated.
pub fn list(
    index: &OrderedIndex,
    bucket: u32,
    query: &ListQuery,
    max: usize,
    decode_value: &DecodeValue<'_>,
) -> ListPage {
    let mut page = ListPage::default();
    let ListQuery { prefix, delimiter, after, .. } = query;
    let Some(start) = start_of(bucket, (prefix, delimiter), after) else { return page };
    if max == 0 {
        return page;
    }
    let within = keys::prefix_start(bucket, prefix);
    // The key whose newest version was seen, and how many older ones of it.
    let (mut passed, mut older, mut hidden) = (Vec::new(), 0, 0);
    index.visit(&start, &mut |composite, value| {
        if !composite.starts_with(&within) {
            return Step::Stop;
        }
        let stack = keys::stack_of(composite);
        if stack == passed {
            older += 1;
            let far = older > OLDER_MAX;
            return if far { Step::SeekTo(beyond(stack)) } else { Step::Continue };
        }
        passed.clear();
        passed.extend_from_slice(stack);
        older = 0;
        let Some((_, key, _)) = keys::decode(composite) else { return Step::Continue };
        let listed = decode_value(value);
        let common = common_prefix(prefix, delimiter, &key);
        if listed.is_marker {
            hidden += 1;
            // A page can not begin behind a key that is a common prefix and not behind all under it.
            if hidden < HIDDEN_MAX || common == Some(&key) {
                return Step::Continue;
            }
            (page.truncated, page.next) = (true, key);
            return Step::Stop;
        }
        if page.items.len() == max {
            page.truncated = true;
            page.next = page.items.last().map(|last| last.name().to_vec()).unwrap_or_default();
            return Step::Stop;
        }
        match common {
            Some(common) => {
                page.items.push(ListItem::CommonPrefix(common.to_vec()));
                keys::prefix_end(bucket, common).map_or(Step::Stop, Step::SeekTo)
            }
            None => {
                let Listed { size: size_bytes, modified_ms, etag, class, .. } = listed;
                page.items.push(ListItem::Object { key, size_bytes, modified_ms, etag, class });
                Step::Continue
            }
        }
    });
    page
}

/// Returns the smallest composite key behind a stack.
fn beyond(stack: &[u8]) -> Vec<u8> {
    let mut beyond = stack.to_vec();
    if let Some(last) = beyond.last_mut() {
        // No stack ends with 0xff.
        *last += 1;
    }
    beyond
}

/// Returns one shard's page of at most `max` versions and common prefixes, as [`list`] does for
/// objects. The `after_version` of the query is not the null version; the caller looked it up.
pub fn list_versions(
    index: &OrderedIndex,
    bucket: u32,
    query: &VersionsQuery,
    max: usize,
    decode_value: &DecodeValue<'_>,
) -> VersionsPage {
    let mut page = VersionsPage::default();
    let VersionsQuery { prefix, delimiter, after_key, after_version, .. } = query;
    let Some(mut start) = start_of(bucket, (prefix, delimiter), after_key) else { return page };
    if max == 0 {
        return page;
    }
    let within = keys::prefix_start(bucket, prefix);
    let mut passed = Vec::new();
    if let Some(Version::Generation(generation)) = after_version
        && common_prefix(prefix, delimiter, after_key).is_none()
    {
        let stack = keys::stack(bucket, after_key);
        let newest = index.first_with(&stack).and_then(|(rest, _)| keys::generation_of(rest));
        if newest.is_some_and(|newest| newest >= *generation) {
            passed = stack;
        }
        let mut behind = keys::encode(bucket, after_key, *generation);
        behind.push(0);
        start = within.clone().max(behind);
    }
    index.visit(&start, &mut |composite, value| {
        if !composite.starts_with(&within) {
            return Step::Stop;
        }
        let Some((_, key, generation)) = keys::decode(composite) else { return Step::Continue };
        if page.items.len() == max {
            page.truncated = true;
            page.next = page.items.last().map(VersionItem::place).unwrap_or_default();
            return Step::Stop;
        }
        if let Some(common) = common_prefix(prefix, delimiter, &key) {
            page.items.push(VersionItem::CommonPrefix(common.to_vec()));
            return keys::prefix_end(bucket, common).map_or(Step::Stop, Step::SeekTo);
        }
        let stack = keys::stack_of(composite);
        let is_latest = stack != passed;
        if is_latest {
            passed.clear();
            passed.extend_from_slice(stack);
        }
        let Listed { size: size_bytes, modified_ms, etag, is_null, is_marker, class } = decode_value(value);
        page.items.push(VersionItem::Version {
            key,
            generation,
            is_null,
            is_latest,
            is_marker,
            size_bytes,
            modified_ms,
            etag,
            class,
        });
        Step::Continue
    });
    page
}

/// Returns the smallest composite key that a listing behind the name `after` may show, or `None` if
/// there can be none.
fn start_of(bucket: u32, (prefix, delimiter): (&[u8], &[u8]), after: &[u8]) -> Option<Vec<u8>> {
    let start = keys::prefix_start(bucket, prefix);
    if after.is_empty() {
        return Some(start);
    }
    let behind = if common_prefix(prefix, delimiter, after) == Some(after) {
        keys::prefix_end(bucket, after)?
    } else {
        keys::after(bucket, after)
    };
    Some(start.max(behind))
}

/// Returns the common prefix under which `key` is grouped: up to and including the first delimiter
/// behind the prefix.
pub fn common_prefix<'a>(prefix: &[u8], delimiter: &[u8], key: &'a [u8]) -> Option<&'a [u8]> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(prefix)?;
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}
