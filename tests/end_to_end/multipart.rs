//! These tests check multipart uploads: completed, replaced, aborted, copied from ranges.

use crate::support::{BUCKET, Refusal, assert_holds, get, make_bucket, put, refusal};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Content, Server, ServerOptions};

pub const PART_BYTES: usize = 5 << 20;

pub async fn create(client: &Client, key: &str) -> Result<String, Refusal> {
    let answer = client.create_multipart_upload().bucket(BUCKET).key(key).send().await.map_err(refusal)?;
    Ok(answer.upload_id.expect("an upload id"))
}

pub async fn upload_part(
    client: &Client,
    key: &str,
    upload: &str,
    number: i32,
    body: Vec<u8>,
) -> Result<CompletedPart, Refusal> {
    let request = client.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(number);
    let answer = request.body(ByteStream::from(body)).send().await.map_err(refusal)?;
    let part = CompletedPart::builder().part_number(number);
    Ok(part.set_e_tag(answer.e_tag).set_checksum_crc32(answer.checksum_crc32).build())
}

/// Completes an upload and returns the ETag.
pub async fn complete(
    client: &Client,
    key: &str,
    upload: &str,
    parts: Vec<CompletedPart>,
) -> Result<String, Refusal> {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let request = client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
    let answer = request.multipart_upload(parts).send().await.map_err(refusal)?;
    Ok(answer.e_tag.expect("an ETag"))
}

#[tokio::test]
async fn parts_become_one_object_across_a_kill() {
    let mut server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let content = Content::new(11, 2 * PART_BYTES + 70_001);
    let bytes = content.bytes();
    let upload = create(&client, "big").await.expect("create an upload");
    let mut parts = Vec::new();
    parts.push(
        upload_part(&client, "big", &upload, 1, bytes[..PART_BYTES].to_vec()).await.expect("upload a part"),
    );
    // Part 2 is uploaded with wrong data first: the last upload counts.
    upload_part(&client, "big", &upload, 2, Content::new(12, PART_BYTES).bytes())
        .await
        .expect("upload a part");
    parts.push(
        upload_part(&client, "big", &upload, 2, bytes[PART_BYTES..2 * PART_BYTES].to_vec())
            .await
            .expect("upload a part"),
    );

    server.kill();
    server.start_again();
    let client = server.client(&MAIN);
    let listed =
        client.list_parts().bucket(BUCKET).key("big").upload_id(&upload).send().await.expect("list parts");
    let numbers: Vec<_> = listed.parts().iter().filter_map(|part| part.part_number()).collect();
    assert_eq!(numbers, [1, 2]);
    parts.push(
        upload_part(&client, "big", &upload, 3, bytes[2 * PART_BYTES..].to_vec())
            .await
            .expect("upload a part"),
    );
    let etag = complete(&client, "big", &upload, parts).await.expect("complete");
    assert!(etag.ends_with("-3\""), "{etag}");
    assert_holds(&client, "big", content).await;

    server.kill();
    server.start_again();
    let client = server.client(&MAIN);
    assert_holds(&client, "big", content).await;
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await.expect("list uploads");
    assert!(uploads.uploads().is_empty(), "{:?}", uploads.uploads());
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let upload = create(&client, "big").await.expect("create an upload");
    upload_part(&client, "big", &upload, 1, Content::new(1, PART_BYTES).bytes())
        .await
        .expect("upload a part");
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await.expect("list uploads");
    assert_eq!(uploads.uploads().first().and_then(|found| found.upload_id()), Some(upload.as_str()));
    let abort = client.abort_multipart_upload().bucket(BUCKET).key("big").upload_id(&upload);
    abort.send().await.expect("abort");
    let request = client.upload_part().bucket(BUCKET).key("big").upload_id(&upload).part_number(2);
    let late = refusal(request.body(ByteStream::from_static(b"late")).send().await.expect_err("a late part"));
    assert!(late.is(404, "NoSuchUpload"), "{late:?}");
    assert!(get(&client, "big").await.expect_err("never completed").is(404, "NoSuchKey"));
}

#[tokio::test]
async fn parts_are_copied_from_ranges_of_an_object() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let content = Content::new(21, PART_BYTES + 4321);
    put(&client, "source", content).await.expect("put");
    let upload = create(&client, "joined").await.expect("create an upload");
    let mut parts = Vec::new();
    for (number, range) in
        [(1, format!("bytes=0-{}", PART_BYTES - 1)), (2, format!("bytes={PART_BYTES}-{}", PART_BYTES + 4320))]
    {
        let request =
            client.upload_part_copy().bucket(BUCKET).key("joined").upload_id(&upload).part_number(number);
        let request = request.copy_source(format!("{BUCKET}/source")).copy_source_range(range);
        let answer = request.send().await.expect("copy a part");
        let etag = answer.copy_part_result.and_then(|result| result.e_tag);
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
    }
    complete(&client, "joined", &upload, parts).await.expect("complete");
    assert_holds(&client, "joined", content).await;
}

#[tokio::test]
async fn a_part_below_the_minimum_can_only_be_the_last() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let upload = create(&client, "small").await.expect("create an upload");
    let first = upload_part(&client, "small", &upload, 1, Content::new(1, PART_BYTES - 1).bytes())
        .await
        .expect("upload a part");
    let second =
        upload_part(&client, "small", &upload, 2, Content::new(2, 10).bytes()).await.expect("upload a part");
    let parts = CompletedMultipartUpload::builder().set_parts(Some(vec![first, second])).build();
    let request = client.complete_multipart_upload().bucket(BUCKET).key("small").upload_id(&upload);
    let refused = refusal(request.multipart_upload(parts).send().await.expect_err("too small"));
    assert!(refused.is(400, "EntityTooSmall"), "{refused:?}");
}
