//! These tests check where S3 behaves in a way of its own: copies onto themselves, orders of lists,
//! tokens of pages, odd metadata, parts of plain objects, and the content of error responses.

use crate::multipart::create;
use crate::support::{BUCKET, make_bucket, put, refusal};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{EncodingType, MetadataDirective, StorageClass};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, raw_http};
use std::time::Duration;

#[tokio::test]
async fn a_copy_onto_itself_must_change_something() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "k", Content::new(1, 5000)).await.expect("put");
    let copy = || client.copy_object().bucket(BUCKET).key("k").copy_source(format!("{BUCKET}/k"));
    let refused = refusal(copy().send().await.expect_err("nothing changes"));
    assert!(refused.is(400, "InvalidRequest"), "{refused:?}");
    copy().storage_class(StorageClass::Standard).send().await.expect("the class is named");
    let replaced = copy().metadata_directive(MetadataDirective::Replace).metadata("a", "b");
    replaced.send().await.expect("metadata changes");
    let refused =
        refusal(copy().storage_class(StorageClass::Glacier).send().await.expect_err("no such class"));
    assert!(refused.is(400, "InvalidStorageClass"), "{refused:?}");
    crate::support::assert_holds(&client, "k", Content::new(1, 5000)).await;
}

#[tokio::test]
async fn uploads_are_listed_by_key_and_then_in_the_order_they_began() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let mut begun = Vec::new();
    for key in ["b", "a", "b", "a", "b", "a", "b", "a", "b", "a", "b", "a"] {
        begun.push((key.to_owned(), create(&client, key).await.expect("create")));
    }
    let (mut listed, mut key, mut id) = (Vec::new(), None, None);
    loop {
        let request = client.list_multipart_uploads().bucket(BUCKET).max_uploads(5);
        let page = request.set_key_marker(key).set_upload_id_marker(id).send().await.expect("a page");
        for upload in page.uploads() {
            let initiated = upload.initiated().expect("a time").to_millis().expect("since 1970");
            let name = (
                upload.key().unwrap_or_default().to_owned(),
                upload.upload_id().unwrap_or_default().to_owned(),
            );
            listed.push((name, initiated));
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
    }
    // Of two that began in the same millisecond, either may be the first.
    assert!(listed.is_sorted_by_key(|((key, _), initiated)| (key.clone(), *initiated)), "{listed:?}");
    let mut names: Vec<_> = listed.into_iter().map(|(name, _)| name).collect();
    names.sort();
    begun.sort();
    assert_eq!(names, begun, "every upload is there once");
}

#[tokio::test]
async fn a_page_encodes_every_name_and_nothing_else() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for key in ["d+/a+b", "d+/c d", "d+/sub+/e", "d+/sub+/f"] {
        put(&client, key, Content::new(1, 1)).await.expect("put");
    }
    let request =
        client.list_objects().bucket(BUCKET).encoding_type(EncodingType::Url).prefix("d+/").delimiter("+/");
    let page = request.marker("d+/a").max_keys(3).send().await.expect("a page");
    assert_eq!(
        (page.prefix(), page.marker(), page.delimiter()),
        (Some("d%2B/"), Some("d%2B/a"), Some("%2B/"))
    );
    let keys: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["d%2B/a%2Bb", "d%2B/c%20d"]);
    assert_eq!(page.common_prefixes()[0].prefix(), Some("d%2B/sub%2B/"));
    assert_eq!(page.name(), Some(BUCKET));
    let request =
        client.list_objects().bucket(BUCKET).encoding_type(EncodingType::Url).prefix("d+/").delimiter("x");
    let page = request.max_keys(1).send().await.expect("a page");
    assert_eq!(page.next_marker(), Some("d%2B/a%2Bb"));
    let page = client.list_objects().bucket(BUCKET).prefix("d+/").delimiter("x").max_keys(1).send().await;
    let page = page.expect("a page");
    assert_eq!((page.prefix(), page.next_marker()), (Some("d+/"), Some("d+/a+b")));
}

#[tokio::test]
async fn buckets_are_listed_in_pages_under_a_prefix() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    for name in ["pages-b", "other", "pages-c", "pages-a"] {
        client.create_bucket().bucket(name).send().await.expect("create");
    }
    let (mut names, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let request = client.list_buckets().prefix("pages-").max_buckets(2).set_continuation_token(token);
        let page = request.send().await.expect("a page");
        assert_eq!(page.prefix(), Some("pages-"));
        for bucket in page.buckets() {
            assert_eq!(bucket.bucket_region(), Some("us-east-1"));
            names.push(bucket.name().unwrap_or_default().to_owned());
        }
        pages += 1;
        token = page.continuation_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!((pages, names), (2, vec!["pages-a".to_owned(), "pages-b".to_owned(), "pages-c".to_owned()]));
    let elsewhere = client.list_buckets().bucket_region("eu-west-1").send().await.expect("a page");
    assert!(elsewhere.buckets().is_empty());
    for wrong in [0, 10_001] {
        let refused =
            refusal(client.list_buckets().max_buckets(wrong).send().await.expect_err("no such page"));
        assert!(refused.is(400, "InvalidArgument"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_plain_object_has_one_part_and_no_torrent() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "k", Content::new(1, 9)).await.expect("put");
    let get = |number| client.get_object().bucket(BUCKET).key("k").part_number(number).send();
    assert_eq!(get(1).await.expect("the one part").content_length(), Some(9));
    let refused = refusal(get(2).await.expect_err("no such part"));
    assert!(refused.is(416, "InvalidPartNumber"), "{refused:?}");
    let torrent = client.get_object_torrent().bucket(BUCKET).key("k").send().await;
    let refused = refusal(torrent.expect_err("no torrent"));
    assert!(refused.is(404, "NoSuchKey"), "{refused:?}");
}

#[tokio::test]
async fn metadata_outside_ascii_comes_back_as_an_encoded_word() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let request =
        client.put_object().bucket(BUCKET).key("k").metadata("plain", "a b").metadata("name", "caf\u{e9}");
    request.send().await.expect("put");
    let head = client.head_object().bucket(BUCKET).key("k").send().await.expect("head");
    let metadata = head.metadata().expect("metadata");
    assert_eq!(metadata.get("plain").map(String::as_str), Some("a b"));
    // Each of the two bytes of UTF-8 is a character of its own.
    assert_eq!(metadata.get("name").map(String::as_str), Some("=?UTF-8?B?Y2Fmw4PCqQ==?="));
}

#[tokio::test]
async fn a_refusal_says_what_and_where_and_head_names_the_region() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let valid = PresigningConfig::expires_in(Duration::from_secs(600)).expect("an expiry");
    let long = "k".repeat(1025);
    let url = client.get_object().bucket(BUCKET).key(&long).presigned(valid).await.expect("sign");
    let answer = raw_http::request("GET", url.uri(), b"").await.expect("an answer");
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 400, "{text}");
    for expected in [
        "<Code>KeyTooLongError</Code><Message>Your key is too long",
        &format!("<Resource>/{BUCKET}/{long}</Resource>"),
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let bucket = format!("{}/{BUCKET}", server.endpoint());
    let wrong_region = "Authorization: AWS4-HMAC-SHA256 \
                        Credential=MAINMAINMAINMAIN/20130524/eu-west-1/s3/aws4_request, \
                        SignedHeaders=host;x-amz-date, Signature=00\r\nx-amz-date: 20130524T000000Z\r\n";
    for (method, headers, named) in [("HEAD", "", true), ("HEAD", wrong_region, true), ("GET", "", false)] {
        let answer = raw_http::request_with(method, &bucket, headers, b"").await.expect("an answer");
        assert!(answer.status == 403 || answer.status == 400, "{}", answer.head);
        assert_eq!(
            answer.head.contains("x-amz-bucket-region: us-east-1"),
            named,
            "{method}: {}",
            answer.head
        );
    }
    let missing = format!("{}/missing-bucket", server.endpoint());
    let answer = raw_http::request("HEAD", &missing, b"").await.expect("an answer");
    assert!(answer.status == 404 && !answer.head.contains("x-amz-bucket-region"), "{}", answer.head);
}
