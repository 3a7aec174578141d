//! These tests check put, get, head, range, copy and delete of single objects.

use crate::support::{BUCKET, assert_holds, delete, get, get_range, make_bucket, put, refusal};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, Delete, MetadataDirective, ObjectIdentifier};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions};

/// The sizes are around every limit of the storage: empty, inline, one slice, several slices.
const SIZES: [usize; 11] = [
    0,
    1,
    4096,
    65_535,
    65_536,
    65_537,
    1 << 20,
    (4 << 20) - 1,
    (4 << 20) + 1,
    (5 << 20) + 1,
    (12 << 20) + 12_345,
];

#[tokio::test]
async fn what_was_put_is_got_and_survives_a_restart() {
    let mut server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        put(&client, &format!("size/{size}"), Content::new(seed as u64, size)).await.expect("put");
    }
    for (seed, size) in SIZES.into_iter().enumerate() {
        assert_holds(&client, &format!("size/{size}"), Content::new(seed as u64, size)).await;
    }
    assert!(server.stop().success());
    server.start_again();
    let client = server.client(&MAIN);
    for (seed, size) in SIZES.into_iter().enumerate() {
        assert_holds(&client, &format!("size/{size}"), Content::new(seed as u64, size)).await;
    }
}

#[tokio::test]
async fn overwrite_and_delete_are_seen_at_once() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        put(&client, "same key", Content::new(seed as u64, size)).await.expect("put");
        assert_holds(&client, "same key", Content::new(seed as u64, size)).await;
    }
    delete(&client, "same key").await.expect("delete");
    let gone = get(&client, "same key").await.expect_err("deleted objects are gone");
    assert!(gone.is(404, "NoSuchKey"), "{gone:?}");
    delete(&client, "same key").await.expect("deleting what is not there succeeds");
}

#[tokio::test]
async fn ranges_give_exactly_their_bytes() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for (seed, size) in [(1, 10_000), (2, 65_536), (3, (9 << 20) + 17)] {
        let content = Content::new(seed, size);
        let bytes = content.bytes();
        put(&client, "ranged", content).await.expect("put");
        // At the limits of checksum blocks (64 KiB) and slices (4 MiB), a range can be wrong by
        // one.
        for start in [0, 1, 4095, 9_999, 65_535, 65_536, (4 << 20) - 1, 4 << 20, (8 << 20) + 5, size - 1] {
            for length in [1, 2, 4096, 65_537, 5 << 20] {
                if start >= size {
                    continue;
                }
                let last = start + length - 1;
                let got = get_range(&client, "ranged", &format!("bytes={start}-{last}"))
                    .await
                    .expect("get a range");
                let end = (last + 1).min(size);
                assert!(got == bytes[start..end], "bytes={start}-{last} of {size} differ");
            }
        }
        let suffix = get_range(&client, "ranged", "bytes=-777").await.expect("get a suffix");
        assert!(suffix == bytes[size - 777..]);
        let beyond =
            get_range(&client, "ranged", &format!("bytes={size}-")).await.expect_err("beyond the end");
        assert!(beyond.is(416, "InvalidRange"), "{beyond:?}");
    }
}

#[tokio::test]
async fn metadata_and_headers_come_back() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let put = client
        .put_object()
        .bucket(BUCKET)
        .key("described")
        .body(ByteStream::from_static(b"hello"))
        .content_type("text/plain; charset=utf-8")
        .content_language("de")
        .cache_control("max-age=60")
        .metadata("colour", "blue")
        .metadata("shape", "round")
        .send()
        .await
        .expect("put");
    assert_eq!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let head = client.head_object().bucket(BUCKET).key("described").send().await.expect("head");
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(head.content_type(), Some("text/plain; charset=utf-8"));
    assert_eq!(head.content_language(), Some("de"));
    assert_eq!(head.cache_control(), Some("max-age=60"));
    assert_eq!(head.e_tag(), put.e_tag());
    let metadata = head.metadata().expect("metadata");
    assert_eq!(metadata.len(), 2);
    assert_eq!(metadata["colour"], "blue");
    assert_eq!(metadata["shape"], "round");
}

#[tokio::test]
async fn every_checksum_algorithm_is_kept_and_a_wrong_one_stores_nothing() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let body = Content::new(5, 100_000).bytes();
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] {
        let put = client.put_object().bucket(BUCKET).key(algorithm).body(body.clone().into());
        put.checksum_algorithm(ChecksumAlgorithm::from(algorithm)).send().await.expect("put with a checksum");
        // The client compares the checksum with the bytes when it is asked for.
        let get = client.get_object().bucket(BUCKET).key(algorithm).checksum_mode(ChecksumMode::Enabled);
        let answer = get.send().await.expect("get with its checksum");
        let kept = match algorithm {
            "CRC32" => answer.checksum_crc32(),
            "CRC32C" => answer.checksum_crc32_c(),
            "CRC64NVME" => answer.checksum_crc64_nvme(),
            "SHA1" => answer.checksum_sha1(),
            _ => answer.checksum_sha256(),
        };
        assert!(kept.is_some(), "{algorithm} is not in the answer");
        assert_eq!(answer.body.collect().await.expect("body").to_vec(), body);
    }
    let wrong = client.put_object().bucket(BUCKET).key("wrong").body(body.into()).checksum_crc32("AAAAAA==");
    let refused = refusal(wrong.send().await.expect_err("a wrong checksum"));
    assert!(refused.is(400, "BadDigest"), "{refused:?}");
    assert!(get(&client, "wrong").await.expect_err("nothing is stored").is(404, "NoSuchKey"));
}

#[tokio::test]
async fn copies_are_objects_of_their_own() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for (seed, size) in [(1, 0), (2, 1000), (3, 65_537), (4, (9 << 20) + 3)] {
        let content = Content::new(seed, size);
        put(&client, "source", content).await.expect("put");
        let copy = client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/source"));
        copy.send().await.expect("copy");
        put(&client, "source", Content::new(99, 10)).await.expect("overwrite the source");
        delete(&client, "source").await.expect("delete the source");
        assert_holds(&client, "copy", content).await;
    }
    let onto_itself = client.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/copy"));
    let replaced = onto_itself.metadata_directive(MetadataDirective::Replace).metadata("new", "yes");
    replaced.send().await.expect("replace the metadata in place");
    let head = client.head_object().bucket(BUCKET).key("copy").send().await.expect("head");
    assert_eq!(head.metadata().and_then(|metadata| metadata.get("new")).map(String::as_str), Some("yes"));
    assert_holds(&client, "copy", Content::new(4, (9 << 20) + 3)).await;
}

#[tokio::test]
async fn many_are_deleted_in_one_request() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let keys: Vec<String> = (0..50).map(|number| format!("doomed/{number} & <b>ü</b>")).collect();
    let mut named = Vec::new();
    for (seed, key) in keys.iter().enumerate() {
        put(&client, key, Content::new(seed as u64, 100)).await.expect("put");
        named.push(ObjectIdentifier::builder().key(key).build().expect("a key"));
    }
    put(&client, "kept", Content::new(1, 1)).await.expect("put");
    named.push(ObjectIdentifier::builder().key("never there").build().expect("a key"));
    let delete = Delete::builder().set_objects(Some(named)).build().expect("a list");
    let answer = client.delete_objects().bucket(BUCKET).delete(delete).send().await.expect("delete objects");
    assert_eq!(answer.deleted().len(), 51);
    assert!(answer.errors().is_empty(), "{:?}", answer.errors());
    assert_eq!(crate::support::list_all(&client, 1000).await, [("kept".to_owned(), 1)]);
    let full = refusal(client.delete_bucket().bucket(BUCKET).send().await.expect_err("not empty"));
    assert!(full.is(409, "BucketNotEmpty"), "{full:?}");
    crate::support::delete(&client, "kept").await.expect("delete");
    client.delete_bucket().bucket(BUCKET).send().await.expect("delete the empty bucket");
}
