//! The listing of one shard: prefix, delimiter and `after` applied to its ordered index.
//!
//! Invariants:
//! - Items come in byte order of their names.
//! - A common prefix costs one entry and one seek, however many keys it has.
//! - `truncated` is exact.

use crate::types::{Etag, ListItem, ListPage, ListQuery};

use super::keys;
use super::ordered::{OrderedIndex, Step};

/// Decodes an entry's value into size in bytes, modification time in milliseconds and ETag.
pub type DecodeValue<'a> = dyn Fn(&[u8]) -> (u64, u64, Etag) + 'a;

/// Returns one shard's page of at most `max` items. (`query.max_items` is the limit of the whole
/// page and is ignored here.) If `max` is 0, the page is empty and not truncated. Entries that are
/// not null versions are not listed.
pub fn list(
    index: &OrderedIndex,
    bucket: u32,
    query: &ListQuery,
    max: usize,
    decode_value: &DecodeValue<'_>,
) -> ListPage {
    let mut page = ListPage::default();
    let Some(start) = start_of(bucket, query) else { return page };
    if max == 0 {
        return page;
    }
    let within = keys::prefix_start(bucket, &query.prefix);
    index.visit(&start, &mut |composite, value| {
        if !composite.starts_with(&within) {
            return Step::Stop;
        }
        let Some((_, key)) = keys::decode(composite) else { return Step::Continue };
        if page.items.len() == max {
            page.truncated = true;
            return Step::Stop;
        }
        match common_prefix(&query.prefix, &query.delimiter, &key) {
            Some(common) => {
                page.items.push(ListItem::CommonPrefix(common.to_vec()));
                keys::prefix_end(bucket, common).map_or(Step::Stop, Step::SeekTo)
            }
            None => {
                let (size_bytes, modified_ms, etag) = decode_value(value);
                page.items.push(ListItem::Object { key, size_bytes, modified_ms, etag });
                Step::Continue
            }
        }
    });
    page
}

/// Returns the smallest composite key that the query may show, or `None` if there can be none.
fn start_of(bucket: u32, query: &ListQuery) -> Option<Vec<u8>> {
    let start = keys::prefix_start(bucket, &query.prefix);
    if query.after.is_empty() {
        return Some(start);
    }
    let behind = if common_prefix(&query.prefix, &query.delimiter, &query.after) == Some(&query.after) {
        keys::prefix_end(bucket, &query.after)?
    } else {
        keys::after(bucket, &query.after)
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
