//! One shard's listing and the merge of several, compared with a straightforward listing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{ListMerge, ListRequest, OrderedIndex, keys, list};
use crate::types::{Etag, ListItem, ListPage, ListQuery};

const BUCKET: u32 = 7;

type Objects = BTreeMap<Vec<u8>, u64>;

fn decode_value(value: &[u8]) -> (u64, u64, Etag) {
    (u64::from_be_bytes(value.try_into().unwrap()), 5, Etag { md5: [9; 16], parts: 3 })
}

fn object(key: &[u8], size_bytes: u64) -> ListItem {
    ListItem::Object { key: key.to_vec(), size_bytes, modified_ms: 5, etag: Etag { md5: [9; 16], parts: 3 } }
}

/// Returns indexes over which the keys are distributed by size. The buckets before and behind have
/// the same keys, which must not be listed.
fn shards_of(objects: &Objects, shards: usize) -> Vec<OrderedIndex> {
    let mut indexes: Vec<_> = (0..shards).map(|_| OrderedIndex::new()).collect();
    for (key, size) in objects {
        for bucket in [BUCKET - 1, BUCKET, BUCKET + 1] {
            let wrong_for_others = size + u64::from(bucket != BUCKET);
            let index = &mut indexes[*size as usize % shards];
            index.insert(&keys::encode(bucket, key), &wrong_for_others.to_be_bytes());
        }
    }
    indexes
}

/// Applies the documented rules literally to all objects.
fn reference(objects: &Objects, query: &ListQuery) -> Vec<ListItem> {
    let mut items = Vec::new();
    let group = |key: &[u8]| {
        let rest = key.strip_prefix(query.prefix.as_slice())?;
        let starts = 0..(rest.len() + 1).saturating_sub(query.delimiter.len());
        let at = starts.into_iter().find(|at| rest[*at..].starts_with(&query.delimiter))?;
        let group = key[..query.prefix.len() + at + query.delimiter.len()].to_vec();
        (!query.delimiter.is_empty()).then_some(group)
    };
    let skipped_group = group(&query.after).filter(|group| *group == query.after);
    for (key, size) in objects {
        let skipped = skipped_group.as_ref().is_some_and(|group| key.starts_with(group));
        let not_after = !query.after.is_empty() && *key <= query.after;
        if skipped || not_after || !key.starts_with(&query.prefix) {
            continue;
        }
        let item = group(key).map_or_else(|| object(key, *size), ListItem::CommonPrefix);
        if items.last() != Some(&item) {
            items.push(item);
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
    let mut merge = ListMerge::new(indexes.len(), &query.after, query.max_items);
    let mut outstanding: Vec<ListRequest> = Vec::new();
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

fn name() -> impl Strategy<Value = Vec<u8>> {
    let letter =
        prop_oneof![3 => Just(b'a'), 2 => Just(b'b'), 3 => Just(b'/'), 1 => Just(0u8), 1 => Just(0xff)];
    proptest::collection::vec(letter, 0..7)
}

fn objects() -> impl Strategy<Value = Objects> {
    proptest::collection::btree_map(
        name().prop_filter("keys have bytes", |key| !key.is_empty()),
        0u64..1_000,
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
        let mut listed = Vec::new();
        let mut choices = choices.into_iter();
        loop {
            let (page, _) = merged(&indexes, &query, &mut choices);
            let left = &all[listed.len()..];
            prop_assert_eq!(&page.items[..], &left[..left.len().min(max_items)]);
            prop_assert_eq!(page.truncated, left.len() > max_items);
            listed.extend(page.items);
            if !page.truncated {
                break;
            }
            query.after = listed.last().unwrap().name().to_vec();
        }
        prop_assert_eq!(listed, all);
    }
}

/// Every page size is used on one set, so that every position of a page's end is tested.
#[test]
fn every_page_size_pages_to_the_same_whole() {
    let names = (0..120u64).map(|number| format!("{}/{}/{number}", number % 7, number % 3));
    let objects: Objects = names.zip(0..).map(|(name, size)| (name.into_bytes(), size)).collect();
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
                query.after = listed.last().unwrap().name().to_vec();
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
    assert_eq!(requests((0..4_000).map(|number| (key(number), number)).collect()), 4);
    assert_eq!(requests((0..4_000).map(|number| (key(number), number / 2_000)).collect()), 5);
    let folder = |number: u64| format!("{:05}/{number}", number / 8).into_bytes();
    assert_eq!(requests((0..16_000).map(|number| (folder(number), number)).collect()), 8);
}

#[test]
fn a_page_of_no_items_asks_nothing() {
    let objects: Objects = [(b"a".to_vec(), 1)].into();
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
        index.insert(&keys::encode(u32::MAX, key), &1u64.to_be_bytes());
    }
    let query = ListQuery { delimiter: vec![0xff], ..ListQuery::default() };
    let page = list(&index, u32::MAX, &query, 10, &decode_value);
    assert_eq!(page.items, [ListItem::CommonPrefix(vec![0xff])]);
    let behind = ListQuery { after: vec![0xff], ..query };
    assert!(list(&index, u32::MAX, &behind, 10, &decode_value).items.is_empty());
}
