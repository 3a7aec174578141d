//! These tests compare listings with a model in memory.

use crate::support::{BUCKET, list_all, make_bucket, put};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Dice, Server, ServerOptions};
use std::collections::BTreeSet;

const DIRECTORIES: [&str; 8] = ["", "a/", "a/b/", "a!", "a0", "photos/2026/", "ü/", "z/z/z/"];

#[tokio::test]
async fn every_page_size_and_delimiter_gives_what_the_model_gives() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let mut dice = Dice::new(42);
    let mut model = BTreeSet::new();
    for number in 0..200 {
        let key = format!("{}{:x}-{number}", DIRECTORIES[dice.below(DIRECTORIES.len())], dice.below(4096));
        put(&client, &key, Content::new(number, number as usize)).await.expect("put");
        model.insert(key);
    }
    for page in [1, 7, 199, 200, 1000] {
        let listed: Vec<String> = list_all(&client, page).await.into_iter().map(|(key, _)| key).collect();
        assert!(listed.iter().eq(model.iter()), "pages of {page} differ from the model");
    }
    for prefix in ["", "a", "a/", "photos/", "ü", "none"] {
        for page in [1, 3, 1000] {
            let listed = list_grouped(&client, prefix, page).await;
            assert_eq!(listed, grouped_model(&model, prefix), "prefix {prefix:?}, pages of {page}");
        }
    }
}

/// Returns keys and common prefixes in one order, over all pages.
async fn list_grouped(client: &aws_sdk_s3::Client, prefix: &str, page: i32) -> Vec<String> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let request = client.list_objects_v2().bucket(BUCKET).prefix(prefix).delimiter("/").max_keys(page);
        let answer = request.set_continuation_token(token).send().await.expect("list");
        let mut names: Vec<String> =
            answer.contents().iter().filter_map(|object| object.key.clone()).collect();
        names.extend(answer.common_prefixes().iter().filter_map(|common| common.prefix.clone()));
        names.sort_unstable();
        assert!(names.len() <= page as usize, "a page of {page} has {}", names.len());
        found.extend(names);
        token = answer.next_continuation_token;
        if token.is_none() {
            return found;
        }
    }
}

fn grouped_model(keys: &BTreeSet<String>, prefix: &str) -> Vec<String> {
    let mut found: Vec<String> = keys
        .iter()
        .filter_map(|key| {
            let rest = key.strip_prefix(prefix)?;
            let end = rest.find('/').map_or(key.len(), |slash| prefix.len() + slash + 1);
            Some(key[..end].to_owned())
        })
        .collect();
    found.dedup();
    found
}

#[tokio::test]
async fn a_marker_is_where_version_1_goes_on() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for number in 0..10_u64 {
        put(&client, &format!("key {number}"), Content::new(number, 1)).await.expect("put");
    }
    let answer = client.list_objects().bucket(BUCKET).marker("key 3").max_keys(4).send().await.expect("list");
    let keys: Vec<&str> = answer.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["key 4", "key 5", "key 6", "key 7"]);
    assert_eq!(answer.is_truncated(), Some(true));
}
