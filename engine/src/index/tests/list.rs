//! One shard's listing and the merge of several, compared with a straightforward listing.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;

use super::super::{ListMerge, ListRequest, Listed, OrderedIndex, keys, list, list_versions};
use crate::types::{
    Etag, ListItem, ListPage, ListQuery, Page, Version, VersionItem, VersionPlace, VersionsPage,
    VersionsQuery,
};

const BUCKET: u32 = 7;
const MARKER: u64 = u64::MAX;

/// The sizes of the versions of each key, newest first. A delete marker has the size [`MARKER`].
type Objects = BTreeMap<Vec<u8>, Vec<u64>>;

fn etag() -> Etag {
    Etag { md5: [9; 16], parts: 3 }
}

fn decode_value(value: &[u8]) -> Listed {
    let size = u64::from_be_bytes(value.try_into().unwrap());
    match size {
        MARKER => Listed { modified_ms: 5, is_marker: true, ..Listed::default() },
        _ => Listed { size, modified_ms: 5, etag: etag(), ..Listed::default() },
    }
}

fn object(key: &[u8], size_bytes: u64) -> ListItem {
    ListItem::Object {
        key: key.to_vec(),
        size_bytes,
        modified_ms: 5,
        etag: etag(),
        class: Default::default(),
    }
}

/// Returns indexes over which the keys are distributed by the size of their oldest version. The
/// buckets before and behind have the same keys, which must not be listed.
fn shards_of(objects: &Objects, shards: usize) -> Vec<OrderedIndex> {
    let mut indexes: Vec<_> = (0..shards).map(|_| OrderedIndex::new()).collect();
    for (key, sizes) in objects {
        for bucket in [BUCKET - 1, BUCKET, BUCKET + 1] {
            let index = &mut indexes[*sizes.last().unwrap() as usize % shards];
            for (generation, size) in (1..).zip(sizes.iter().rev()) {
                let shown = if bucket == BUCKET { *size } else { 77 };
                index.insert(&keys::encode(bucket, key, generation), &shown.to_be_bytes());
            }
        }
    }
    indexes
}

fn group_of<'a>(prefix: &[u8], delimiter: &[u8], key: &'a [u8]) -> Option<&'a [u8]> {
    let rest = key.strip_prefix(prefix)?;
    let starts = 0..(rest.len() + 1).saturating_sub(delimiter.len());
    let at = starts.into_iter().find(|at| rest[*at..].starts_with(delimiter))?;
    (!delimiter.is_empty()).then_some(&key[..prefix.len() + at + delimiter.len()])
}

/// Applies the documented rules literally to all objects.
fn reference(objects: &Objects, query: &ListQuery) -> Vec<ListItem> {
    let mut items = Vec::new();
    let ListQuery { prefix, delimiter, after, .. } = query;
    let skipped_group = group_of(prefix, delimiter, after).filter(|group| group == after);
    for (key, sizes) in objects.iter().filter(|(_, sizes)| sizes[0] != MARKER) {
        let skipped = skipped_group.is_some_and(|group| key.starts_with(group));
        let not_after = !after.is_empty() && key <= after;
        if skipped || not_after || !key.starts_with(prefix) {
            continue;
        }
        let group = group_of(prefix, delimiter, key);
        let item =
            group.map_or_else(|| object(key, sizes[0]), |group| ListItem::CommonPrefix(group.to_vec()));
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
    items
}

/// Does the same for all versions.
fn reference_of_versions(objects: &Objects, query: &VersionsQuery) -> Vec<VersionItem> {
    let mut items = Vec::new();
    let VersionsQuery { prefix, delimiter, after_key, after_version, .. } = query;
    let skipped_group = group_of(prefix, delimiter, after_key).filter(|group| group == after_key);
    for (key, sizes) in objects {
        let skipped = skipped_group.is_some_and(|group| key.starts_with(group));
        if skipped || !key.starts_with(prefix) || (!after_key.is_empty() && key < after_key) {
            continue;
        }
        let group = group_of(prefix, delimiter, key);
        for (at, size) in sizes.iter().enumerate() {
            let generation = (sizes.len() - at) as u64;
            let older = match after_version {
                Some(Version::Generation(marked)) if group.is_none() => generation < *marked,
                _ => false,
            };
            if key == after_key && !after_key.is_empty() && !older {
                continue;
            }
            let is_marker = *size == MARKER;
            let item = match group {
                Some(group) => VersionItem::CommonPrefix(group.to_vec()),
                None => VersionItem::Version {
                    key: key.clone(),
                    generation,
                    is_null: false,
                    is_latest: at == 0,
                    is_marker,
                    size_bytes: if is_marker { 0 } else { *size },
                    modified_ms: 5,
                    etag: if is_marker { Etag::default() } else { etag() },
                    class: Default::default(),
                },
            };
            if group.is_none() || items.last() != Some(&item) {
                items.push(item);
            }
        }
    }
    items
}

/// Answers the requests in an order that `choices` decides. Returns the page and the number of
/// requests.
fn merged(
    indexes: &[OrderedIndex],
    query: &ListQuery,
    mut choices: impl Iterator<Item = usize>,
) -> (ListPage, usize) {
    let mut merge = ListMerge::<ListItem>::new(indexes.len(), &query.after, query.max_items);
    let mut outstanding: Vec<ListRequest<Vec<u8>>> = Vec::new();
    let mut requests = 0;
    loop {
        while let Some(request) = merge.next_request() {
            assert!(request.max > 0 && request.max <= query.max_items);
            outstanding.push(request);
            requests += 1;
        }
        if outstanding.is_empty() {
            return (merge.finish(), requests);
        }
        let chosen = choices.next().unwrap_or(0) % outstanding.len();
        let ListRequest { shard, after, max } = outstanding.swap_remove(chosen);
        let query = ListQuery { after, ..query.clone() };
        merge.offer(shard, list(&indexes[shard], BUCKET, &query, max, &decode_value));
    }
}

fn merged_versions(indexes: &[OrderedIndex], query: &VersionsQuery) -> VersionsPage {
    let generation = match query.after_version {
        Some(Version::Generation(generation)) => generation,
        _ => 0,
    };
    let first = VersionPlace { key: query.after_key.clone(), generation };
    let mut merge = ListMerge::<VersionItem>::new(indexes.len(), &first, query.max_items);
    while let Some(ListRequest { shard, after, max }) = merge.next_request() {
        let after_version = Some(after.generation).filter(|after| *after > 0).map(Version::Generation);
        let query = VersionsQuery { after_key: after.key, after_version, ..query.clone() };
        merge.offer(shard, list_versions(&indexes[shard], BUCKET, &query, max, &decode_value));
    }
    merge.finish()
}

/// Fails unless the pages are full and together `all`. `page` gives the one behind a place, or the
/// first one.
fn assert_pages<I: Clone + Debug + PartialEq, P>(
    all: &[I],
    max_items: usize,
    mut page: impl FnMut(Option<P>) -> Page<I, P>,
) -> Result<(), TestCaseError> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let Page { items, truncated, next } = page(after);
        let left = &all[listed.len()..];
        prop_assert_eq!(&items[..], &left[..left.len().min(max_items)]);
        prop_assert_eq!(truncated, left.len() > max_items);
        listed.extend(items);
        if !truncated {
            break;
        }
        after = Some(next);
    }
    prop_assert_eq!(&listed[..], all);
    Ok(())
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let letter =
        prop_oneof![3 => Just(b'a'), 2 => Just(b'b'), 3 => Just(b'/'), 1 => Just(0u8), 1 => Just(0xff)];
    proptest::collection::vec(letter, 0..7)
}

fn objects() -> impl Strategy<Value = Objects> {
    proptest::collection::btree_map(
        name().prop_filter("keys have bytes", |key| !key.is_empty()),
        proptest::collection::vec(prop_oneof![4 => 0u64..1_000, 1 => Just(MARKER)], 1..12),
        0..80,
    )
}

fn query() -> impl Strategy<Value = ListQuery> {
    let delimiter = prop_oneof![4 => Just(&b"/"[..]), 2 => Just(&b""[..]), 1 => Just(&b"//"[..]), 1 => Just(&b"ab"[..]),
        1 => Just(&[0xff][..])];
    let bytes = prop_oneof![Just(b'a'), Just(b'/'), Just(0xff)];
    let prefix = prop_oneof![1 => Just(Vec::new()), 1 => proptest::collection::vec(bytes, 0..3)];
    let after = prop_oneof![1 => Just(Vec::new()), 2 => name()];
    (prefix, delimiter, after).prop_map(|(prefix, delimiter, after)| ListQuery {
        prefix,
        delimiter: delimiter.to_vec(),
        after,
        max_items: 0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn one_shard_equals_the_reference(objects in objects(), query in query(), max in 1usize..100) {
        let all = reference(&objects, &query);
        let page = list(&shards_of(&objects, 1)[0], BUCKET, &query, max, &decode_value);
        prop_assert_eq!(page.truncated, all.len() > max);
        prop_assert_eq!(&page.items[..], &all[..all.len().min(max)]);
    }

    #[test]
    fn merged_pages_to_the_end_equal_the_reference(
        objects in objects(),
        query in query(),
        shards in 1usize..6,
        max_items in prop_oneof![1usize..8, 8usize..100],
        choices in proptest::collection::vec(any::<usize>(), 0..50),
    ) {
        let indexes = shards_of(&objects, shards);
        let all = reference(&objects, &query);
        let mut query = ListQuery { max_items, ..query };
        let mut choices = choices.into_iter();
        assert_pages(&all, max_items, |after| {
            query.after = after.unwrap_or_else(|| query.after.clone());
            merged(&indexes, &query, &mut choices).0
        })?;
    }

    #[test]
    fn pages_of_versions_to_the_end_equal_the_reference(
        objects in objects(),
        query in query(),
        after_version in proptest::option::of(1u64..12),
        shards in 1usize..6,
        max_items in prop_oneof![1usize..8, 8usize..100],
    ) {
        let indexes = shards_of(&objects, shards);
        let after_version = after_version.map(Version::Generation);
        let ListQuery { prefix, delimiter, after: after_key, .. } = query;
        let mut query = VersionsQuery { prefix, delimiter, after_key, after_version, max_items };
        let all = reference_of_versions(&objects, &query);
        assert_pages(&all, max_items, |after: Option<VersionPlace>| {
            if let Some(VersionPlace { key, generation }) = after {
                query.after_key = key;
                query.after_version = Some(generation).filter(|after| *after > 0).map(Version::Generation);
            }
            merged_versions(&indexes, &query)
        })?;
    }
}

/// Keys whose newest version is a delete marker are passed over a bounded number at a time, and
/// what is among them is found all the same, once.
#[test]
fn many_deleted_keys_make_pages_short_and_not_long() {
    let number_of = |number: u64| format!("a/{number:06}").into_bytes();
    let mut objects: Objects = (0..40_000).map(|number| (number_of(number), vec![MARKER, number])).collect();
    objects.insert(b"a/".to_vec(), vec![MARKER, 1]);
    for number in [17, 20_000, 39_999] {
        objects.insert(number_of(number), vec![number]);
    }
    objects.insert(b"b".to_vec(), vec![1]);
    for (delimiter, shards) in [("", 1), ("", 3), ("/", 1), ("/", 3)] {
        let indexes = shards_of(&objects, shards);
        let delimiter = delimiter.as_bytes().to_vec();
        let mut query = ListQuery { delimiter, max_items: 10, ..ListQuery::default() };
        let all = reference(&objects, &query);
        let (mut listed, mut pages) = (Vec::new(), 0);
        loop {
            let (page, requests) = merged(&indexes, &query, std::iter::empty());
            assert!(requests <= 4 * shards, "{requests} requests for one page");
            listed.extend(page.items);
            pages += 1;
            if !page.truncated {
                break;
            }
            assert!(page.next > query.after, "a page begins where the one before did");
            query.after = page.next;
        }
        assert_eq!(listed, all, "{delimiter:?} {shards}", delimiter = query.delimiter);
        assert!(pages > 1 || query.delimiter == b"/", "no page was short");
    }
}

/// Every page size is used on one set, so that every position of a page's end is tested.
#[test]
fn every_page_size_pages_to_the_same_whole() {
    let names = (0..120u64).map(|number| format!("{}/{}/{number}", number % 7, number % 3));
    let objects: Objects = names.zip(0..).map(|(name, size)| (name.into_bytes(), vec![size])).collect();
    let indexes = shards_of(&objects, 4);
    for (prefix, delimiter) in [("", ""), ("", "/"), ("3/", "/"), ("3/1/", "/"), ("", "/1")] {
        let (prefix, delimiter) = (prefix.as_bytes().to_vec(), delimiter.as_bytes().to_vec());
        for max_items in 1..=121 {
            let mut query = ListQuery {
                prefix: prefix.clone(),
                delimiter: delimiter.clone(),
                after: Vec::new(),
                max_items,
            };
            let all = reference(&objects, &query);
            let mut listed: Vec<ListItem> = Vec::new();
            loop {
                let (page, _) = merged(&indexes, &query, std::iter::empty());
                assert_eq!(page.truncated, listed.len() + page.items.len() < all.len());
                listed.extend(page.items);
                query.after = page.next;
                if !page.truncated {
                    break;
                }
            }
            assert_eq!(listed, all);
        }
    }
}

/// A page costs hardly more requests than shards, even when one shard has all that sorts first, and
/// when all shards have the same common prefixes.
#[test]
fn requests_stay_few() {
    let query = ListQuery { max_items: 1_000, delimiter: b"/".to_vec(), ..ListQuery::default() };
    let requests = |objects: Objects| {
        let (page, requests) = merged(&shards_of(&objects, 4), &query, std::iter::empty());
        assert_eq!(page.items.len(), 1_000);
        requests
    };
    let key = |number: u64| format!("{number:05}").into_bytes();
    assert_eq!(requests((0..4_000).map(|number| (key(number), vec![number])).collect()), 4);
    assert_eq!(requests((0..4_000).map(|number| (key(number), vec![number / 2_000])).collect()), 5);
    let folder = |number: u64| format!("{:05}/{number}", number / 8).into_bytes();
    assert_eq!(requests((0..16_000).map(|number| (folder(number), vec![number])).collect()), 8);
}

#[test]
fn a_page_of_no_items_asks_nothing() {
    let objects: Objects = [(b"a".to_vec(), vec![1])].into();
    let query = ListQuery::default();
    let (page, requests) = merged(&shards_of(&objects, 2), &query, std::iter::empty());
    assert_eq!((page.items.len(), page.truncated, requests), (0, false, 0));
    let page = list(&shards_of(&objects, 1)[0], BUCKET, &query, 0, &decode_value);
    assert_eq!((page.items.len(), page.truncated), (0, false));
}

#[test]
fn the_last_bucket_ends_the_index() {
    let mut index = OrderedIndex::new();
    for key in [&[0xff, b'/', 1][..], &[0xff, b'/', 2], &[0xff, 0xff]] {
        index.insert(&keys::encode(u32::MAX, key, 1), &1u64.to_be_bytes());
    }
    let query = ListQuery { delimiter: vec![0xff], ..ListQuery::default() };
    let page = list(&index, u32::MAX, &query, 10, &decode_value);
    assert_eq!(page.items, [ListItem::CommonPrefix(vec![0xff])]);
    let behind = ListQuery { after: vec![0xff], ..query };
    assert!(list(&index, u32::MAX, &behind, 10, &decode_value).items.is_empty());
}
