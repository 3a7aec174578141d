//! Listing one shard: prefix, delimiter and `after` over its ordered index.
//!
//! Invariants: items come in byte order of their names; a common prefix costs one entry and one seek, however
//! much is under it; `truncated` is exact.

use crate::types::{Etag, ListItem, ListPage, ListQuery};

use super::keys;
use super::ordered::{OrderedIndex, Step};

/// Gives size in bytes, modification time in milliseconds and ETag from an entry's value.
pub type DecodeValue<'a> = dyn Fn(&[u8]) -> (u64, u64, Etag) + 'a;

/// One shard's page of at most `max` items (`query.max_items` is the whole page's and not looked at here).
/// With `max` 0 the page is empty and not truncated. Entries that are not null versions are not listed.
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

/// The first composite key the query may show; `None` when there can be none.
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

/// What `key` is grouped under: up to and with the first delimiter behind the prefix.
pub fn common_prefix<'a>(prefix: &[u8], delimiter: &[u8], key: &'a [u8]) -> Option<&'a [u8]> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(prefix)?;
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}
