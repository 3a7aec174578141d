//! These tests check a full drive, and uploads that never finish.
//!
//! Both fill a small drive again and again: if space leaks, the next fill is shorter.

use crate::multipart::{PART_BYTES, create, upload_part};
use crate::support::{BUCKET, Refusal, assert_holds, delete, list_all, make_bucket, put};
use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions, raw_http};
use std::time::Duration;

const DRIVE_BYTES: usize = 256 << 20;
const OBJECT_BYTES: usize = 3 << 20;

fn small_drive() -> ServerOptions {
    ServerOptions { size: "256MiB", shards: "2", ..ServerOptions::default() }
}

fn key(number: usize) -> String {
    format!("fill/{number:04}")
}

/// Puts objects until one is refused; returns how many were stored, and the refusal.
async fn fill(client: &Client, seed: u64) -> (usize, Refusal) {
    for number in 0.. {
        assert!(number * OBJECT_BYTES < DRIVE_BYTES, "more was stored than the drive has");
        let content = Content::new(seed + number as u64, OBJECT_BYTES);
        if let Err(refusal) = put(client, &key(number), content).await {
            return (number, refusal);
        }
    }
    unreachable!("the drive is never full")
}

async fn empty(client: &Client, count: usize) {
    for number in 0..count {
        delete(client, &key(number)).await.expect("DELETE works on a full drive");
    }
}

#[tokio::test]
async fn a_full_drive_refuses_puts_only_and_takes_them_again_after_deletes() {
    let mut server = Server::start(small_drive());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let (stored, refusal) = fill(&client, 1000).await;
    assert!(
        stored * OBJECT_BYTES > DRIVE_BYTES / 2,
        "full with {stored} objects of 3 MiB on 256 MiB: {refusal:?}"
    );
    // Other servers answer 507 too; a client must not take it for a temporary overload and repeat
    // the request.
    assert_eq!((refusal.status, refusal.code.as_str()), (507, "InsufficientStorage"), "{refusal:?}");

    let listed = list_all(&client, 1000).await;
    assert_eq!(listed.len(), stored, "the refused object must not be listed");
    for number in (0..stored).step_by(7) {
        assert_holds(&client, &key(number), Content::new(1000 + number as u64, OBJECT_BYTES)).await;
    }

    server.kill();
    server.start_again();
    let client = server.client(&MAIN);
    assert_eq!(list_all(&client, 1000).await, listed, "the same after a kill and a restart");
    // The objects are smaller than before: one is inline, the others are in slices.
    for (number, length) in [(0, 10_000), (1, OBJECT_BYTES / 3), (2, OBJECT_BYTES - 1)] {
        let content = Content::new(4000 + number as u64, length);
        put(&client, &key(number), content)
            .await
            .unwrap_or_else(|refusal| panic!("{length} bytes over {OBJECT_BYTES}: {refusal:?}"));
        assert_holds(&client, &key(number), content).await;
    }
    for number in 0..stored / 2 {
        delete(&client, &key(number)).await.expect("DELETE works on a full drive");
    }
    for number in 0..stored / 2 {
        let content = Content::new(5000 + number as u64, OBJECT_BYTES);
        put(&client, &key(number), content)
            .await
            .unwrap_or_else(|refusal| panic!("put {number} again: {refusal:?}"));
    }
    assert_holds(&client, &key(0), Content::new(5000, OBJECT_BYTES)).await;
    assert_holds(&client, &key(stored - 1), Content::new(1000 + stored as u64 - 1, OBJECT_BYTES)).await;
}

#[tokio::test]
async fn filling_and_emptying_loses_no_space() {
    let server = Server::start(small_drive());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let (first, _) = fill(&client, 1).await;
    empty(&client, first).await;
    for round in 2..5 {
        let (again, refusal) = fill(&client, 10_000 * round).await;
        // A shard may hold one extent of another kind than before: a few objects of difference are
        // no leak.
        assert!(again + 8 >= first, "round {round}: {again} objects, {first} at first: {refusal:?}");
        empty(&client, again).await;
    }
    assert!(list_all(&client, 1000).await.is_empty());
}

#[tokio::test]
async fn uploads_that_never_finish_leave_no_space_behind() {
    let server = Server::start(small_drive());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let (before, _) = fill(&client, 1).await;
    empty(&client, before).await;
    // Together the parts are more than twice the drive: if they were kept, nothing would fit any
    // more.
    for round in 0..(DRIVE_BYTES / PART_BYTES) as u64 {
        let upload = create(&client, "aborted").await.expect("create an upload");
        let body = Content::new(round, PART_BYTES).bytes();
        upload_part(&client, "aborted", &upload, 1, body).await.expect("upload a part");
        let abort = client.abort_multipart_upload().bucket(BUCKET).key("aborted").upload_id(&upload);
        abort.send().await.expect("abort");
        break_off_a_put(&client, round).await;
    }
    let (after, refusal) = fill(&client, 10_000).await;
    assert!(after + 8 >= before, "{after} objects fit, {before} before the uploads: {refusal:?}");
}

async fn break_off_a_put(client: &Client, seed: u64) {
    let valid = PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry");
    let url = client.put_object().bucket(BUCKET).key("broken").presigned(valid).await.expect("sign");
    let sent = Content::new(seed, PART_BYTES).bytes();
    // The connection is dropped at once: the server sees it end with a megabyte still to come.
    drop(raw_http::half_request("PUT", url.uri(), PART_BYTES + (1 << 20), &sent).await.expect("half a put"));
}
