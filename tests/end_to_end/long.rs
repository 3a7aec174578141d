//! These tests complete an upload of as many parts as S3 allows, and look at each of them.
//!
//! The server of these tests takes parts that are smaller than S3 allows. Only a program that was
//! built with the feature `small-parts` knows the variable that says so.

use crate::multipart::create;
use crate::support::{BUCKET, make_bucket};
use aws_lc_rs::digest;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream::{StreamExt, iter};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Server, ServerOptions};

const PARTS: i32 = 10_000;
/// This is the number of requests that run at once.
const AT_ONCE: usize = 16;
const KEY: &str = "long";

fn options() -> ServerOptions {
    ServerOptions {
        // Complete's document takes 7.5 MiB of its core's part, beside the connections that wait.
        memory: "1GiB",
        environment: &[("RINGBOLT_TEST_PART_BYTES_MIN", "1")],
        ..ServerOptions::default()
    }
}

/// Returns the content of part `number`, which no other part has.
fn body_of(number: i32) -> Vec<u8> {
    format!("part {number} of {PARTS};").into_bytes()
}

fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

/// Returns the checksum of part `number` as S3 shows it.
fn checksum_of(number: i32) -> String {
    BASE64.encode(sha256(&body_of(number)))
}

async fn upload_part(client: &Client, upload: &str, number: i32) -> CompletedPart {
    let request = client.upload_part().bucket(BUCKET).key(KEY).upload_id(upload).part_number(number);
    let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256);
    let answer = request.body(ByteStream::from(body_of(number))).send().await.expect("upload a part");
    assert_eq!(answer.checksum_sha256(), Some(checksum_of(number).as_str()), "part {number}");
    let part = CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag);
    part.set_checksum_sha256(answer.checksum_sha256).build()
}

/// Uploads all parts. Returns them in order, and the id of the upload.
async fn upload_all(client: &Client) -> (String, Vec<CompletedPart>) {
    let request = client.create_multipart_upload().bucket(BUCKET).key(KEY);
    let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256);
    let upload = request.send().await.expect("create an upload").upload_id.expect("an upload id");
    let uploads = iter(1..=PARTS).map(|number| upload_part(client, &upload, number));
    let parts = uploads.buffered(AT_ONCE).collect().await;
    (upload, parts)
}

/// Compares every page of ListParts with what was uploaded.
async fn check_list_of_parts(client: &Client, upload: &str) {
    let (mut numbers, mut marker) = (1.., None);
    loop {
        let request = client.list_parts().bucket(BUCKET).key(KEY).upload_id(upload);
        let page = request.set_part_number_marker(marker).send().await.expect("list parts");
        for (part, number) in page.parts().iter().zip(numbers.by_ref()) {
            let shown = (part.part_number(), part.size(), part.checksum_sha256());
            let size = body_of(number).len() as i64;
            assert_eq!(shown, (Some(number), Some(size), Some(checksum_of(number).as_str())));
        }
        marker = page.next_part_number_marker.clone();
        if page.is_truncated != Some(true) {
            break;
        }
        // `zip` took one number more than there were parts.
        numbers = page.parts().last().and_then(|part| part.part_number()).expect("a full page") + 1..;
    }
    assert_eq!(marker.as_deref(), Some(PARTS.to_string().as_str()));
}

/// Compares every page of GetObjectAttributes with what was uploaded.
async fn check_attributes(client: &Client) {
    let (mut seen, mut marker) = (0, None);
    loop {
        let request = client.get_object_attributes().bucket(BUCKET).key(KEY);
        let request = request.object_attributes(ObjectAttributes::ObjectParts).max_parts(999);
        let answer = request.set_part_number_marker(marker).send().await.expect("attributes");
        let page = answer.object_parts.expect("the parts");
        assert_eq!(page.total_parts_count(), Some(PARTS));
        for part in page.parts() {
            seen += 1;
            let shown = (part.part_number(), part.size(), part.checksum_sha256());
            let size = body_of(seen).len() as i64;
            assert_eq!(shown, (Some(seen), Some(size), Some(checksum_of(seen).as_str())));
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        marker = page.next_part_number_marker;
    }
    assert_eq!(seen, PARTS);
}

/// Reads every part by its number, with its checksum.
async fn check_parts(client: &Client) {
    let read = |number: i32| async move {
        let request = client.get_object().bucket(BUCKET).key(KEY).part_number(number);
        let answer = request.checksum_mode(ChecksumMode::Enabled).send().await.expect("get a part");
        assert_eq!(answer.checksum_sha256(), Some(checksum_of(number).as_str()), "part {number}");
        assert_eq!(answer.parts_count(), Some(PARTS));
        let bytes = answer.body.collect().await.expect("the body").to_vec();
        assert_eq!(bytes, body_of(number), "part {number}");
    };
    iter(1..=PARTS).map(read).buffer_unordered(AT_ONCE).collect::<()>().await;
    let head = client.head_object().bucket(BUCKET).key(KEY).part_number(PARTS);
    let head = head.checksum_mode(ChecksumMode::Enabled).send().await.expect("head of a part");
    assert_eq!(head.content_length(), Some(body_of(PARTS).len() as i64));
    assert_eq!(
        (head.parts_count(), head.checksum_sha256()),
        (Some(PARTS), Some(checksum_of(PARTS).as_str()))
    );
}

/// Complete was once refused here, after all parts had been sent: the record was too long.
#[tokio::test]
async fn ten_thousand_parts_are_completed_and_each_is_read() {
    let mut server = Server::start(options());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let (upload, parts) = upload_all(&client).await;
    check_list_of_parts(&client, &upload).await;

    let list = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = |client: Client| {
        let request = client.complete_multipart_upload().bucket(BUCKET).key(KEY).upload_id(&upload);
        request.multipart_upload(list.clone()).send()
    };
    let answer = complete(client.clone()).await.expect("complete");
    let digests: Vec<u8> =
        (1..=PARTS).flat_map(|number| sha256(&body_of(number)).as_ref().to_vec()).collect();
    let whole = format!("{}-{PARTS}", BASE64.encode(sha256(&digests)));
    assert_eq!(answer.checksum_sha256(), Some(whole.as_str()));
    assert_eq!(answer.checksum_type(), Some(&ChecksumType::Composite));
    assert!(answer.e_tag().is_some_and(|etag| etag.ends_with("-10000\"")), "{answer:?}");

    server.kill();
    server.start_again();
    let client = server.client(&MAIN);
    // The same Complete once more, as after an answer that was lost.
    let again = complete(client.clone()).await.expect("complete again");
    assert_eq!(again.checksum_sha256(), Some(whole.as_str()));
    check_parts(&client).await;
    check_attributes(&client).await;
    let got = client.get_object().bucket(BUCKET).key(KEY).send().await.expect("get the whole");
    let bytes = got.body.collect().await.expect("the body").to_vec();
    assert_eq!(bytes, (1..=PARTS).flat_map(body_of).collect::<Vec<u8>>());
}

/// Without the variable, the same program is as strict as S3.
#[tokio::test]
async fn small_parts_are_refused_by_any_other_server() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let upload = create(&client, KEY).await.expect("create an upload");
    let mut parts = Vec::new();
    for number in 1..=2 {
        let part = crate::multipart::upload_part(&client, KEY, &upload, number, body_of(number)).await;
        parts.push(part.expect("upload a part"));
    }
    let refused = crate::multipart::complete(&client, KEY, &upload, parts).await.expect_err("too small");
    assert!(refused.is(400, "EntityTooSmall"), "{refused:?}");
}
