//! These tests check permissions: presigned URLs, wrong signatures, two accounts.

use crate::multipart::create;
use crate::support::{BUCKET, Refusal, assert_holds, get, make_bucket, put, refusal};
use aws_sdk_s3::presigning::PresigningConfig;
use ringbolt_tests::client::{Account, MAIN, OTHER, client};
use ringbolt_tests::{Content, Server, ServerOptions, raw_http};
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn a_presigned_url_works_without_keys_until_it_expires() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let content = Content::new(1, 100_000);
    let valid = PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry");
    let url = client.put_object().bucket(BUCKET).key("key").presigned(valid.clone()).await.expect("sign");
    let answer = raw_http::request("PUT", url.uri(), &content.bytes()).await.expect("put");
    assert_eq!(answer.status, 200, "{} {}", answer.head, String::from_utf8_lossy(&answer.body));
    assert_holds(&client, "key", content).await;

    let url = client.get_object().bucket(BUCKET).key("key").presigned(valid).await.expect("sign");
    let answer = raw_http::request("GET", url.uri(), b"").await.expect("get");
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(content.difference(&answer.body), None);

    let tampered = url.uri().replace("/key?", "/other?");
    assert_eq!(raw_http::request("GET", &tampered, b"").await.expect("get").status, 403);
    let unsigned = url.uri().split('?').next().expect("a path").to_owned();
    assert_eq!(raw_http::request("GET", &unsigned, b"").await.expect("get").status, 403);
    let start = SystemTime::now() - Duration::from_secs(120);
    let expired = PresigningConfig::builder().start_time(start).expires_in(Duration::from_secs(60)).build();
    let request = client.get_object().bucket(BUCKET).key("key").presigned(expired.expect("an expiry"));
    let url = request.await.expect("sign");
    assert_eq!(raw_http::request("GET", url.uri(), b"").await.expect("get").status, 403);
}

#[tokio::test]
async fn wrong_keys_are_refused_by_name() {
    let server = Server::start(ServerOptions::default());
    let wrong_secret = Account { secret_key: "not the secret", ..MAIN };
    let refused = client(server.endpoint(), &wrong_secret).list_buckets().send().await;
    let refused = refusal(refused.expect_err("a wrong secret"));
    assert!(refused.is(403, "SignatureDoesNotMatch"), "{refused:?}");
    let unknown = Account { access_key: "NOBODYNOBODYNOBO", ..MAIN };
    let refused = client(server.endpoint(), &unknown).list_buckets().send().await;
    let refused = refusal(refused.expect_err("an unknown key"));
    assert!(refused.is(403, "InvalidAccessKeyId"), "{refused:?}");
}

#[tokio::test]
async fn an_account_has_no_way_into_the_bucket_of_another() {
    let server = Server::start(ServerOptions::default());
    let main = server.client(&MAIN);
    let other = server.client(&OTHER);
    make_bucket(&main).await;
    let content = Content::new(1, 1000);
    put(&main, "mine", content).await.expect("put");

    let denied = |refusal: crate::support::Refusal| assert!(refusal.is(403, "AccessDenied"), "{refusal:?}");
    denied(get(&other, "mine").await.expect_err("get"));
    denied(put(&other, "mine", Content::new(2, 10)).await.expect_err("put"));
    denied(crate::support::delete(&other, "mine").await.expect_err("delete"));
    denied(refusal(other.list_objects_v2().bucket(BUCKET).send().await.expect_err("list")));
    denied(refusal(
        other.create_multipart_upload().bucket(BUCKET).key("k").send().await.expect_err("upload"),
    ));
    denied(refusal(other.delete_bucket().bucket(BUCKET).send().await.expect_err("delete the bucket")));
    other.create_bucket().bucket("others").send().await.expect("a bucket of its own");
    let copy = other.copy_object().bucket("others").key("stolen").copy_source(format!("{BUCKET}/mine"));
    denied(refusal(copy.send().await.expect_err("copy")));
    let taken = refusal(other.create_bucket().bucket(BUCKET).send().await.expect_err("a name that is taken"));
    assert!(taken.is(409, "BucketAlreadyExists"), "{taken:?}");

    let seen = other.list_buckets().send().await.expect("list buckets");
    let names: Vec<_> = seen.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["others"]);
    assert_holds(&main, "mine", content).await;
}

#[tokio::test]
async fn what_a_request_asks_for_and_is_not_built_is_never_dropped() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let content = Content::new(1, 1000);
    put(&client, "source", content).await.expect("put");
    let not_built = |refusal: Refusal| assert!(refusal.is(501, "NotImplemented"), "{refusal:?}");

    let source = format!("{BUCKET}/source");
    let copy = || client.copy_object().bucket(BUCKET).key("copy").copy_source(&source);
    let refused = copy().copy_source_sse_customer_algorithm("AES256").send().await;
    not_built(refusal(refused.expect_err("the source has no key of its own")));
    copy().send().await.expect("a copy without a key");
    assert_holds(&client, "copy", content).await;
    let upload = create(&client, "parts").await.expect("create");
    let part = client.upload_part_copy().bucket(BUCKET).key("parts").upload_id(upload).part_number(1);
    let part = part.copy_source(&source).copy_source_sse_customer_algorithm("AES256");
    not_built(refusal(part.send().await.expect_err("a part of a source without a key of its own")));

    let make = |namespace| {
        let named = client.create_bucket().bucket("namespaced").customize();
        named.mutate_request(move |request| {
            request.headers_mut().insert("x-amz-bucket-namespace", namespace);
        })
    };
    not_built(refusal(make("account-regional").send().await.expect_err("names of one account")));
    make("global").send().await.expect("names of all accounts");
}
