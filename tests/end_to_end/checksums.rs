//! These tests check checksums of every algorithm: compared on arrival, stored, returned, computed
//! over parts and copied.

use crate::support::{BUCKET, get, make_bucket, refusal};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Server, ServerOptions};

const BODY: &[u8] = b"123456789";
/// Lists the checksums of [`BODY`] in base64.
const NEW: [(ChecksumAlgorithm, &str, &str); 5] = [
    (ChecksumAlgorithm::Md5, "md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
    (
        ChecksumAlgorithm::Sha512,
        "sha512",
        "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==",
    ),
    (ChecksumAlgorithm::Xxhash64, "xxhash64", "jLhB20DmroM="),
    (ChecksumAlgorithm::Xxhash3, "xxhash3", "ctyxi2ehff8="),
    (ChecksumAlgorithm::Xxhash128, "xxhash128", "MxGUd+3l3NXpcWQnaB1YYA=="),
];

/// Returns a client that sends no checksum of its own where none is required.
fn client_of(server: &Server) -> Client {
    let config = server.client(&MAIN).config().to_builder();
    let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    Client::from_conf(config.build())
}

fn header(name: &str) -> String {
    format!("x-amz-checksum-{name}")
}

/// Puts [`BODY`] with this checksum in a header, and without that of the SDK. Returns the error
/// code of a refusal.
async fn put_with(client: &Client, key: &str, name: String, value: &'static str) -> Result<(), String> {
    let request = client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(BODY));
    let request = request.customize().mutate_request(move |request| {
        request.headers_mut().remove("x-amz-sdk-checksum-algorithm");
        request.headers_mut().insert(name.clone(), value);
    });
    request.send().await.map(drop).map_err(|error| refusal(error).code)
}

#[tokio::test]
async fn a_wrong_checksum_of_any_algorithm_stores_nothing() {
    let server = Server::start(ServerOptions::default());
    let client = client_of(&server);
    make_bucket(&client).await;
    for (number, (_, name, right)) in NEW.into_iter().enumerate() {
        let wrong = NEW[number].2.replacen(|letter: char| letter.is_ascii_alphabetic(), "Z", 1);
        let wrong: &'static str = Box::leak(wrong.into_boxed_str());
        assert_eq!(put_with(&client, name, header(name), wrong).await, Err("BadDigest".to_owned()), "{name}");
        let malformed = put_with(&client, name, header(name), "wrong").await;
        assert_eq!(malformed, Err("InvalidRequest".to_owned()), "{name}");
        assert!(get(&client, name).await.expect_err("nothing was stored").is(404, "NoSuchKey"), "{name}");
        put_with(&client, name, header(name), right).await.unwrap_or_else(|code| panic!("{name}: {code}"));
        assert_eq!(get(&client, name).await.as_deref(), Ok(BODY));
    }
    let unknown = put_with(&client, "k", header("crc23"), "AAAAAA==").await;
    assert_eq!(unknown, Err("InvalidRequest".to_owned()));
    assert!(get(&client, "k").await.expect_err("nothing was stored").is(404, "NoSuchKey"));
}

#[tokio::test]
async fn a_checksum_is_shown_wherever_s3_shows_it() {
    let server = Server::start(ServerOptions::default());
    let client = client_of(&server);
    make_bucket(&client).await;
    for (algorithm, name, value) in NEW {
        put_with(&client, name, header(name), value).await.unwrap_or_else(|code| panic!("{name}: {code}"));
        let url = client.head_object().bucket(BUCKET).key(name).checksum_mode(ChecksumMode::Enabled);
        let head = url.send().await.expect("head");
        let shown = [
            head.checksum_md5(),
            head.checksum_sha512(),
            head.checksum_xxhash64(),
            head.checksum_xxhash3(),
            head.checksum_xxhash128(),
        ];
        assert_eq!(shown.into_iter().flatten().collect::<Vec<_>>(), [value], "{name}");
        let request = client.get_object_attributes().bucket(BUCKET).key(name);
        let attributes =
            request.object_attributes(ObjectAttributes::Checksum).send().await.expect("attributes");
        let checksum = attributes.checksum.expect("a checksum");
        assert_eq!(checksum.checksum_type().map(|kind| kind.as_str()), Some("FULL_OBJECT"), "{name}");
        let request = client.copy_object().bucket(BUCKET).key(format!("{name}/copy"));
        let copied = request.copy_source(format!("{BUCKET}/{name}")).send().await.expect("copy");
        let copied = copied.copy_object_result.expect("a result");
        // A copy onto itself may change the algorithm, and the checksum is computed over the stored
        // bytes.
        let request = client.copy_object().bucket(BUCKET).key(name).copy_source(format!("{BUCKET}/{name}"));
        let summed = request.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await.expect("copy");
        assert_eq!(
            summed.copy_object_result.and_then(|result| result.checksum_crc32).as_deref(),
            Some("y/Q5Jg==")
        );
        let (attributes, copied) = match algorithm {
            ChecksumAlgorithm::Md5 => (checksum.checksum_md5, copied.checksum_md5),
            ChecksumAlgorithm::Sha512 => (checksum.checksum_sha512, copied.checksum_sha512),
            ChecksumAlgorithm::Xxhash64 => (checksum.checksum_xxhash64, copied.checksum_xxhash64),
            ChecksumAlgorithm::Xxhash3 => (checksum.checksum_xxhash3, copied.checksum_xxhash3),
            _ => (checksum.checksum_xxhash128, copied.checksum_xxhash128),
        };
        assert_eq!((attributes.as_deref(), copied.as_deref()), (Some(value), Some(value)), "{name}");
    }
}

#[tokio::test]
async fn an_upload_is_summed_over_its_parts() {
    let server = Server::start(ServerOptions::default());
    let client = client_of(&server);
    make_bucket(&client).await;
    for (algorithm, name, value) in NEW {
        let request = client.create_multipart_upload().bucket(BUCKET).key(name);
        let upload = request.checksum_algorithm(algorithm.clone()).send().await.expect("create");
        let upload = upload.upload_id.expect("an id");
        let part = |checksum: &'static str| {
            let request = client.upload_part().bucket(BUCKET).key(name).upload_id(&upload).part_number(1);
            request.body(ByteStream::from_static(BODY)).customize().mutate_request(move |request| {
                request.headers_mut().remove("x-amz-sdk-checksum-algorithm");
                request.headers_mut().insert(header(name), checksum);
            })
        };
        let refused = refusal(part("AA==").send().await.expect_err("a malformed checksum"));
        assert!(refused.is(400, "InvalidRequest"), "{name}: {refused:?}");
        let etag = part(value).send().await.expect("upload a part").e_tag;
        let listed =
            client.list_parts().bucket(BUCKET).key(name).upload_id(&upload).send().await.expect("list parts");
        assert_eq!(listed.checksum_algorithm(), Some(&algorithm));
        let shown = listed.parts()[0].clone();
        let all = [
            shown.checksum_md5(),
            shown.checksum_sha512(),
            shown.checksum_xxhash64(),
            shown.checksum_xxhash3(),
            shown.checksum_xxhash128(),
        ];
        assert_eq!(all.into_iter().flatten().collect::<Vec<_>>(), [value], "{name}");
        let complete = |part: CompletedPart| {
            let parts = CompletedMultipartUpload::builder().parts(part).build();
            let request = client.complete_multipart_upload().bucket(BUCKET).key(name).upload_id(&upload);
            request.multipart_upload(parts).send()
        };
        let part = |checksum: &str| {
            let part = CompletedPart::builder().part_number(1).set_e_tag(etag.clone());
            match algorithm {
                ChecksumAlgorithm::Md5 => part.checksum_md5(checksum),
                ChecksumAlgorithm::Sha512 => part.checksum_sha512(checksum),
                ChecksumAlgorithm::Xxhash64 => part.checksum_xxhash64(checksum),
                ChecksumAlgorithm::Xxhash3 => part.checksum_xxhash3(checksum),
                _ => part.checksum_xxhash128(checksum),
            }
        };
        let wrong = format!("Z{}", &value[1..]);
        let refused = refusal(complete(part(&wrong).build()).await.expect_err("another checksum"));
        assert!(refused.is(400, "InvalidPart"), "{name}: {refused:?}");
        let completed = complete(part(value).build()).await.expect("complete");
        assert_eq!(completed.checksum_type().map(|kind| kind.as_str()), Some("COMPOSITE"), "{name}");
        let whole = [
            completed.checksum_md5(),
            completed.checksum_sha512(),
            completed.checksum_xxhash64(),
            completed.checksum_xxhash3(),
            completed.checksum_xxhash128(),
        ];
        let whole: Vec<_> = whole.into_iter().flatten().collect();
        assert!(
            matches!(whole.as_slice(), [one] if one.ends_with("-1") && *one != format!("{value}-1")),
            "{whole:?}"
        );
        assert_eq!(
            completed.location().map(|uri| uri.to_owned()),
            Some(format!("{}/{BUCKET}/{name}", server.endpoint()))
        );
    }
}

#[tokio::test]
async fn a_document_is_compared_with_its_digest() {
    let server = Server::start(ServerOptions::default());
    let client = client_of(&server);
    make_bucket(&client).await;
    put_with(&client, "k", header("md5"), NEW[0].2).await.expect("put");
    let list = "<Delete><Object><Key><![CDATA[k]]></Key></Object></Delete>";
    let delete = |document: String, header: &'static str, value: String| {
        let object = aws_sdk_s3::types::ObjectIdentifier::builder().key("other").build().expect("a key");
        let list = aws_sdk_s3::types::Delete::builder().objects(object).build().expect("a list");
        client.delete_objects().bucket(BUCKET).delete(list).customize().mutate_request(move |request| {
            request.headers_mut().remove("x-amz-sdk-checksum-algorithm");
            request.headers_mut().remove("x-amz-checksum-crc32");
            request.headers_mut().insert(header, value.clone());
            request.headers_mut().insert("content-length", document.len().to_string());
            *request.body_mut() = SdkBody::from(document.clone());
        })
    };
    let refused = delete(list.to_owned(), "content-md5", NEW[0].2.to_owned()).send().await;
    assert!(refusal(refused.expect_err("another MD5")).is(400, "BadDigest"));
    let control = list.replace("k]", "k\u{1}]");
    let refused = delete(control, "content-md5", "3EC4QWNq5PeZqhG3Fva35g==".to_owned()).send().await;
    assert!(refusal(refused.expect_err("no XML")).is(400, "MalformedXML"));
    assert_eq!(get(&client, "k").await.as_deref(), Ok(BODY), "what is refused deletes nothing");
    let answer = delete(list.to_owned(), "content-md5", "8uCeRUn41rhqwVBvq85V0A==".to_owned()).send().await;
    assert_eq!(answer.map_err(refusal).expect("the right MD5").deleted()[0].key(), Some("k"));
    assert!(get(&client, "k").await.expect_err("it is gone").is(404, "NoSuchKey"));
}
