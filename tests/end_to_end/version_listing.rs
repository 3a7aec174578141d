//! These tests compare listings of versions with a model in memory, and check where their pages
//! begin and end.

use crate::support::BUCKET;
use crate::versions::{Bed, Listed, NULL, code, listed, marker, object, text};
use ringbolt_tests::Dice;
use ringbolt_tool_common::s3::answer::elements;
use std::collections::BTreeMap;

const DIRECTORIES: [&str; 7] = ["", "a/", "a/b/", "a!", "photos/2026/", "z+%20/", "ü/"];

/// Encodes a key for a path or a parameter.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn encoded_path(key: &str) -> String {
    encoded(key).replace("%2F", "/")
}

/// The place where the next page begins.
fn next_of(page: &str) -> Option<(String, Option<String>)> {
    let one = |name| elements(page, name).next().map(str::to_owned);
    let next = one("NextKeyMarker").map(|key| (key, one("NextVersionIdMarker")));
    let is_truncated = one("IsTruncated").expect("IsTruncated") == "true";
    assert_eq!(next.is_some(), is_truncated, "{page}");
    next
}

async fn page(bed: &Bed, query: &str, from: Option<(String, Option<String>)>) -> String {
    let from = from.map_or(String::new(), |(key, id)| {
        let id = id.map_or(String::new(), |id| format!("&version-id-marker={id}"));
        format!("&key-marker={}{id}", encoded(&key))
    });
    text(&bed.good("GET", &format!("?versions{query}{from}"), "", b"").await)
}

/// Returns versions and common prefixes over all pages, and checks each page's length.
async fn all_pages(bed: &Bed, query: &str, max: usize) -> (Vec<Listed>, Vec<String>) {
    let (mut versions, mut prefixes, mut from) = (Vec::new(), Vec::new(), None);
    loop {
        let page = page(bed, &format!("{query}&max-keys={max}"), from).await;
        let entries = listed(&page);
        let groups = elements(&page, "CommonPrefixes")
            .map(|group| elements(group, "Prefix").next().expect("a prefix").to_owned());
        let groups: Vec<String> = groups.collect();
        let count = entries.len() + groups.len();
        from = next_of(&page);
        assert!(count <= max && (from.is_none() || count == max), "{count} of {max}: {page}");
        versions.extend(entries);
        prefixes.extend(groups);
        if from.is_none() {
            return (versions, prefixes);
        }
    }
}

#[tokio::test]
async fn every_page_size_prefix_and_delimiter_gives_what_the_model_gives() {
    let mut bed = Bed::new(None).await;
    let mut dice = Dice::new(18);
    let mut model: BTreeMap<String, Vec<(String, Option<usize>)>> = BTreeMap::new();
    for number in 0..150 {
        match number {
            30 | 90 => bed.set("Enabled").await,
            60 => bed.set("Suspended").await,
            _ => {}
        }
        let is_null = number < 30 || (60..90).contains(&number);
        let directory = DIRECTORIES[dice.below(DIRECTORIES.len())];
        let key = format!("{directory}{:x}", dice.below(6));
        let path = encoded_path(&key);
        let stack = model.entry(key).or_default();
        let deletes = number >= 30 && dice.below(3) == 0;
        if is_null {
            stack.retain(|(id, _)| id != NULL);
        }
        let written = match deletes {
            true => (Some(bed.mark(&path).await), None),
            false => (bed.put(&path, vec![b'x'; number]).await, Some(number)),
        };
        stack.insert(0, (written.0.unwrap_or_else(|| NULL.to_owned()), written.1));
    }
    let entry = |key: &str, at: usize, (id, size): &(String, Option<usize>)| Listed {
        key: key.to_owned(),
        id: id.clone(),
        is_latest: at == 0,
        size_bytes: *size,
    };
    for life in 0..2 {
        for prefix in ["", "a", "a/", "photos/", "ü", "none"] {
            for delimiter in ["", "/", "!"] {
                let (mut versions, mut prefixes) = (Vec::new(), Vec::new());
                for (key, stack) in model.range(prefix.to_owned()..) {
                    let Some(rest) = key.strip_prefix(prefix) else { continue };
                    let end = rest.find(delimiter).filter(|_| !delimiter.is_empty());
                    match end.map(|at| key[..prefix.len() + at + delimiter.len()].to_owned()) {
                        Some(group) => prefixes.push(group),
                        None => versions
                            .extend(stack.iter().enumerate().map(|(at, version)| entry(key, at, version))),
                    }
                }
                prefixes.dedup();
                let pages: &[usize] = if life == 0 { &[1, 7, 1000] } else { &[2, 150] };
                for &max in pages {
                    let query = format!("&prefix={}&delimiter={}", encoded(prefix), encoded(delimiter));
                    let found = all_pages(&bed, &query, max).await;
                    let context = format!("prefix {prefix:?}, delimiter {delimiter:?}, pages of {max}");
                    assert_eq!(found, (versions.clone(), prefixes.clone()), "{context}, life {life}");
                }
            }
        }
        if life == 0 {
            bed.server.kill();
            bed.server.start_again();
        }
    }
}

#[tokio::test]
async fn names_are_encoded_where_the_client_asks_for_it() {
    let bed = Bed::new(Some("Enabled")).await;
    for key in ["a b/1", "a b/2", "ü+%/1", "x"] {
        bed.put_version(&encoded_path(key), key).await;
        bed.mark(&encoded_path(key)).await;
    }
    let whole = page(&bed, "&encoding-type=url", None).await;
    let keys: Vec<String> = listed(&whole).into_iter().map(|version| version.key).collect();
    let twice = |key: &str| [encoded_path(key), encoded_path(key)];
    assert_eq!(keys, ["a b/1", "a b/2", "x", "ü+%/1"].map(twice).concat());
    let query = "&encoding-type=url&delimiter=%2F&max-keys=1";
    let first = page(&bed, query, None).await;
    assert_eq!(elements(&first, "Delimiter").next(), Some("/"), "{first}");
    let (key, id) = next_of(&first).expect("more");
    assert_eq!((key.as_str(), id), ("a%20b/", None), "{first}");
    let second = page(&bed, query, Some(("a b/".to_owned(), None))).await;
    assert_eq!(elements(&second, "KeyMarker").next(), Some("a%20b/"), "{second}");
    assert_eq!(listed(&second).len(), 1, "{second}");
    assert_eq!(next_of(&second).map(|(key, _)| key).as_deref(), Some("x"), "{second}");
}

/// Returns the ids of a page, and the place behind it.
async fn ids(
    bed: &Bed,
    query: &str,
    from: (&str, Option<&str>),
) -> (Vec<String>, Option<(String, Option<String>)>) {
    let from = (!from.0.is_empty()).then(|| (from.0.to_owned(), from.1.map(str::to_owned)));
    let page = page(bed, query, from).await;
    (listed(&page).into_iter().map(|version| version.id).collect(), next_of(&page))
}

#[tokio::test]
async fn a_page_behind_the_null_version_repeats_nothing() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let one = bed.put_version("k", "1").await;
    let two = bed.put_version("k", "2").await;
    bed.set("Suspended").await;
    bed.put("k", "null").await;
    bed.set("Enabled").await;
    let top = bed.put_version("k", "3").await;
    let behind = bed.put_version("l", "l").await;
    let below = vec![two.clone(), one.clone(), behind.clone()];
    // The null version is named: what is older than it follows.
    assert_eq!(ids(&bed, "", ("k", Some(NULL))).await.0, below);
    let (first, next) = ids(&bed, "&max-keys=2", ("", None)).await;
    assert_eq!(first, [top.as_str(), NULL]);
    let (key, id) = next.expect("more");
    assert_eq!(key, "k");
    assert_eq!(ids(&bed, "", (&key, id.as_deref())).await.0, below);
    // Between two pages the null version was replaced by one at the top.
    bed.set("Suspended").await;
    bed.put("k", "replaced").await;
    for life in 0..2 {
        assert_eq!(ids(&bed, "", (&key, id.as_deref())).await.0, below, "life {life}");
        // Here the newest version itself is named.
        let rest = [std::slice::from_ref(&top), &below[..]].concat();
        assert_eq!(ids(&bed, "", ("k", Some(NULL))).await.0, rest, "life {life}");
        // A key that has no null version is passed over, and one that is not there as well.
        assert_eq!(ids(&bed, "", ("j", Some(NULL))).await.0.len(), 5);
        assert_eq!(ids(&bed, "", ("l", Some(NULL))).await.0, Vec::<String>::new());
        bed.server.kill();
        bed.server.start_again();
    }
    bed.remove("k", NULL).await;
    assert_eq!(ids(&bed, "", ("k", Some(NULL))).await.0, std::slice::from_ref(&behind));
    // The place behind a version that is gone is still that place.
    bed.remove("k", &two).await;
    assert_eq!(ids(&bed, "", ("k", Some(&two))).await.0, [one, behind]);
    for (query, status) in [
        (format!("?versions&version-id-marker={top}"), 400),
        ("?versions&key-marker=k&version-id-marker=none".to_owned(), 400),
        (format!("?versions&key-marker=l&version-id-marker={top}"), 400),
    ] {
        let refused = bed.send("GET", &query, "", b"").await;
        assert_eq!((refused.status, code(&refused).as_str()), (status, "InvalidArgument"), "{query}");
    }
}

#[tokio::test]
async fn keys_whose_newest_version_is_a_marker_are_in_no_listing_of_objects() {
    let mut bed = Bed::new(Some("Enabled")).await;
    for key in ["a/1", "a/2", "b/1", "c", "d"] {
        bed.put_version(key, key).await;
    }
    for key in ["a/1", "a/2", "c"] {
        bed.mark(key).await;
    }
    bed.mark("e/never").await;
    for life in 0..2 {
        for list in ["?list-type=2", "?max-keys=100"] {
            let page = text(&bed.good("GET", list, "", b"").await);
            assert_eq!(elements(&page, "Key").collect::<Vec<_>>(), ["b/1", "d"], "{page}");
            let grouped = text(&bed.good("GET", &format!("{list}&delimiter=/"), "", b"").await);
            assert_eq!(elements(&grouped, "Key").collect::<Vec<_>>(), ["d"], "{grouped}");
            let groups: Vec<&str> = elements(&grouped, "CommonPrefixes").collect();
            assert_eq!(groups, ["<Prefix>b/</Prefix>"], "life {life}: {grouped}");
            let under = text(&bed.good("GET", &format!("{list}&prefix=a/"), "", b"").await);
            assert_eq!(elements(&under, "Key").count(), 0, "{under}");
        }
        // The versions are still there, and their common prefixes as well.
        let grouped = page(&bed, "&delimiter=/", None).await;
        assert_eq!(elements(&grouped, "CommonPrefixes").count(), 3, "{grouped}");
        bed.server.kill();
        bed.server.start_again();
    }
    let newest = bed.versions().await.into_iter().find(|version| version.key == "a/1" && version.is_latest);
    assert!(bed.remove("a/1", &newest.expect("a marker").id).await);
    let grouped = text(&bed.good("GET", "?list-type=2&delimiter=/", "", b"").await);
    assert_eq!(elements(&grouped, "CommonPrefixes").count(), 2, "a version is back: {grouped}");
}

#[tokio::test]
async fn a_bucket_that_never_kept_versions_lists_each_object_as_the_version_null() {
    let mut bed = Bed::new(None).await;
    bed.put("k", "1").await;
    bed.put("k", "2").await;
    bed.put("l", "l").await;
    bed.good("DELETE", "/l", "", b"").await;
    let answer = bed.good("GET", "/k?versionId=null", "", b"").await;
    assert_eq!((answer.body.as_slice(), crate::versions::version(&answer)), (&b"2"[..], None));
    let stack = [Listed { key: "k".into(), id: NULL.into(), is_latest: true, size_bytes: Some(1) }];
    assert_eq!(bed.versions().await, stack);
    bed.set("Enabled").await;
    let gone = bed.mark("k").await;
    bed.holds_after_a_kill(&[("k", &[marker(&gone), object(NULL, "2")]), ("l", &[])]).await;
    let bucket = bed.send("DELETE", "", "", b"").await;
    assert_eq!((bucket.status, code(&bucket).as_str()), (409, "BucketNotEmpty"), "{BUCKET}");
}
