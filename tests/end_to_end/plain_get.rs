//! These tests check that the fast path of a plain GET answers as the general path does, from the
//! drive and from the read cache.

use crate::support::{BUCKET, assert_holds, delete, get, make_bucket, put};
use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::ChecksumMode;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::raw_http::{Answer, request_with};
use ringbolt_tests::{Content, Server, ServerOptions};
use std::time::Duration;

/// A query that overrides headers is handled by s3s, and therefore takes the general path.
const OVERRIDE: &str = "no-store";

async fn url(client: &Client, key: &str, long_way: bool) -> String {
    let valid = PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry");
    let request = client.get_object().bucket(BUCKET).key(key);
    let request = if long_way { request.response_cache_control(OVERRIDE) } else { request };
    request.presigned(valid).await.expect("sign").uri().to_owned()
}

/// Returns what must be equal: everything except what differs between any two responses, and the
/// override.
fn essence(answer: &Answer) -> (u16, Vec<String>, String) {
    let differs = ["date:", "x-amz-request-id:", "x-amz-id-2:", "cache-control:", "content-length:"];
    let mut head: Vec<String> = answer.head.lines().skip(1).map(str::to_ascii_lowercase).collect();
    head.retain(|line| !differs.iter().any(|name| line.starts_with(name)));
    head.sort();
    let body = match answer.status {
        200 | 206 => format!("{:?}", answer.body),
        _ => {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let (before, id) = text.split_once("<RequestId>").unwrap_or((&text, ""));
            format!("{before}{}", id.split_once("</RequestId>").map_or("", |(_, after)| after))
        }
    };
    (answer.status, head, body)
}

#[tokio::test]
async fn both_ways_give_the_same_answer() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let keys = ["small", "odd name/\u{fc} +%&?=", "//slashes//", "large", "missing"];
    let mut etag = String::new();
    for (key, length) in keys.iter().zip([1000, 4096, 0, 300_000]) {
        etag = put(&client, key, Content::new(length as u64, length)).await.expect("put");
    }
    let headers = [
        String::new(),
        "Range: bytes=2-5\r\n".to_owned(),
        "Range: bytes=-3\r\n".to_owned(),
        "Range: bytes=400000-\r\n".to_owned(),
        "Range: bytes=0-1,4-5\r\n".to_owned(),
        format!("If-None-Match: {etag}\r\n"),
        "If-Match: \"other\"\r\n".to_owned(),
        "If-Modified-Since: Sat, 29 Oct 2050 19:43:31 GMT\r\n".to_owned(),
    ];
    let mut statuses = std::collections::BTreeSet::new();
    for key in keys {
        let (short, long) = (url(&client, key, false).await, url(&client, key, true).await);
        for lines in &headers {
            let ask = async |url: &str| request_with("GET", url, lines, b"").await.expect("an answer");
            // The fast path is taken twice: the second time, a small object comes from the cache.
            let answers = [ask(&short).await, ask(&short).await, ask(&long).await];
            assert!(!answers[0].head.contains(OVERRIDE) && answers[0].head.contains("x-amz-request-id"));
            let [first, second, third] = answers.each_ref().map(essence);
            assert_eq!(first, third, "{key}, {lines}");
            assert_eq!(second, third, "{key}, {lines}, asked again");
            statuses.insert(first.0);
        }
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [200, 206, 304, 404, 412, 416]);
}

#[tokio::test]
async fn both_ways_show_checksums_when_asked() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "key", Content::new(1, 500)).await.expect("put");
    let ask = || client.get_object().bucket(BUCKET).key("key").checksum_mode(ChecksumMode::Enabled);
    let short = ask().send().await.expect("the short way");
    let long = ask().response_cache_control(OVERRIDE).send().await.expect("the long way");
    assert!(short.checksum_crc32().is_some(), "the SDK sends a checksum with each PUT");
    assert_eq!(short.checksum_crc32(), long.checksum_crc32());
    assert_eq!(short.checksum_type(), long.checksum_type());
}

#[tokio::test]
async fn a_read_never_gives_what_was_overwritten_or_deleted() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for round in 0..20_u64 {
        let content = Content::new(round, 2000 + round as usize);
        put(&client, "key", content).await.expect("put");
        assert_holds(&client, "key", content).await;
        assert_holds(&client, "key", content).await;
        if round % 3 == 0 {
            delete(&client, "key").await.expect("delete");
            let gone = get(&client, "key").await.expect_err("deleted");
            assert!(gone.is(404, "NoSuchKey"), "{gone:?}");
        }
    }
}
