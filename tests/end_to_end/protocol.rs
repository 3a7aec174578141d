//! These tests check HTTP according to RFC 9110: If-Range, ranges of empty objects, dates of every
//! form, many headers.

use crate::support::{BUCKET, make_bucket, put};
use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::DateTimeFormat;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::raw_http::{Answer, request_with};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Content, Server, ServerOptions};
use std::time::Duration;

/// Sends a GET of `key` with `headers`, on the fast path of a plain GET.
async fn get(server: &Server, key: &str, headers: &str) -> Answer {
    let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
    signer.send("GET", &format!("/{BUCKET}/{key}"), headers, b"").await.expect("an answer")
}

/// Sends the same request by a presigned URL, which takes the general path.
async fn get_presigned(client: &Client, key: &str, headers: &str) -> Answer {
    let valid = PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry");
    let request = client.get_object().bucket(BUCKET).key(key).response_cache_control("no-store");
    let signed = request.presigned(valid).await.expect("sign");
    request_with("GET", signed.uri(), headers, b"").await.expect("an answer")
}

/// Regression: the rest of a new version was sent to a client that had the beginning of the old
/// one.
#[tokio::test]
async fn a_range_counts_only_for_the_object_that_if_range_names() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let old = put(&client, "key", Content::new(1, 1000)).await.expect("put");
    let etag = put(&client, "key", Content::new(2, 1000)).await.expect("put");
    let head = client.head_object().bucket(BUCKET).key("key").send().await.expect("head");
    let modified = *head.last_modified().expect("a time");
    let date = modified.fmt(DateTimeFormat::HttpDate).expect("a date");
    let body = Content::new(2, 1000).bytes();
    for (validator, partial) in [
        (etag.clone(), true),
        (date, true),
        (old, false),
        (format!("W/{etag}"), false),
        ("\"other\"".to_owned(), false),
        ("Sat, 29 Oct 1994 19:43:31 GMT".to_owned(), false),
        ("nonsense".to_owned(), false),
    ] {
        let headers = format!("Range: bytes=600-\r\nIf-Range: {validator}\r\n");
        let (status, wanted) = if partial { (206, &body[600..]) } else { (200, &body[..]) };
        for answer in [get(&server, "key", &headers).await, get_presigned(&client, "key", &headers).await] {
            assert_eq!(answer.status, status, "{validator}: {}", answer.head);
            assert_eq!(answer.body, wanted, "{validator}");
        }
        // The range is beyond the object: it is unsatisfiable only if the range counts at all.
        let headers = format!("Range: bytes=5000-\r\nIf-Range: {validator}\r\n");
        let answer = get(&server, "key", &headers).await;
        assert_eq!(answer.status, if partial { 416 } else { 200 }, "{validator}");
    }
}

#[tokio::test]
async fn the_last_bytes_of_an_empty_object_are_the_whole() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "empty", Content::new(1, 0)).await.expect("put");
    for (range, status) in [("-8", 200), ("0-", 416), ("-0", 416), ("5-9", 416)] {
        let headers = format!("Range: bytes={range}\r\n");
        for answer in [get(&server, "empty", &headers).await, get_presigned(&client, "empty", &headers).await]
        {
            assert_eq!(answer.status, status, "{range}: {}", answer.head);
            let has_range = answer.head.to_lowercase().contains("content-range: bytes */0");
            assert_eq!(has_range, status == 416, "{}", answer.head);
        }
    }
}

#[tokio::test]
async fn conditions_take_dates_of_every_form() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "key", Content::new(1, 10)).await.expect("put");
    for (date, modified) in [
        ("Sat, 29 Oct 1994 19:43:31 GMT", true),
        ("Saturday, 29-Oct-94 19:43:31 GMT", true),
        ("Sat Oct 29 19:43:31 1994", true),
        ("Fri, 29 Oct 2060 19:43:31 GMT", false),
        ("Friday, 29-Oct-60 19:43:31 GMT", false),
        ("Fri Oct 29 19:43:31 2060", false),
    ] {
        let answer = get(&server, "key", &format!("If-Modified-Since: {date}\r\n")).await;
        assert_eq!(answer.status, if modified { 200 } else { 304 }, "{date}");
        let answer = get(&server, "key", &format!("If-Unmodified-Since: {date}\r\n")).await;
        assert_eq!(answer.status, if modified { 412 } else { 200 }, "{date}");
    }
}

/// Regression: a hundred headers were the maximum, whatever their length.
#[tokio::test]
async fn two_hundred_metadata_headers_within_two_kib_are_stored() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let mut put = client.put_object().bucket(BUCKET).key("key");
    for number in 0..200 {
        put = put.metadata(format!("m{number}"), "v");
    }
    put.send().await.expect("put");
    // The SDK reads at most a hundred headers of a response.
    let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
    let answer = signer.send("HEAD", &format!("/{BUCKET}/key"), "", b"").await.expect("an answer");
    let shown = answer.head.lines().filter(|line| line.starts_with("x-amz-meta-m") && line.ends_with(": v"));
    assert_eq!((answer.status, shown.count()), (200, 200), "{}", answer.head);
    let mut put = client.put_object().bucket(BUCKET).key("key");
    for number in 0..200 {
        put = put.metadata(format!("m{number}"), "twelve bytes");
    }
    let refused = crate::support::refusal(put.send().await.expect_err("more than 2 KiB"));
    assert!(refused.is(400, "MetadataTooLarge"), "{refused:?}");
}
