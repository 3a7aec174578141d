//! These tests check configuration that nobody has set: S3's default, or its own 404.

use crate::support::{BUCKET, make_bucket, put};
use ringbolt_tests::client::{Account, MAIN, OTHER};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Content, Server, ServerOptions};

type Expected = (&'static str, (u16, &'static str), Option<(u16, &'static str)>);

/// Lists the subresources of a bucket, with status and code of a GET, and of a DELETE where S3 has
/// one.
const BUCKETS: &[Expected] = &[
    ("acl", (200, "AccessControlPolicy"), None),
    ("accelerate", (200, "AccelerateConfiguration"), None),
    ("analytics", (200, "ListBucketAnalyticsConfigurationResult"), None),
    ("analytics&id=1", (404, "NoSuchConfiguration"), Some((404, "NoSuchConfiguration"))),
    ("cors", (404, "NoSuchCORSConfiguration"), Some((204, ""))),
    ("encryption", (404, "ServerSideEncryptionConfigurationNotFoundError"), Some((204, ""))),
    ("intelligent-tiering", (200, "ListBucketIntelligentTieringConfigurationsOutput"), None),
    ("intelligent-tiering&id=1", (404, "NoSuchConfiguration"), Some((404, "NoSuchConfiguration"))),
    ("inventory", (200, "ListInventoryConfigurationsResult"), None),
    ("inventory&id=1", (404, "NoSuchConfiguration"), Some((404, "NoSuchConfiguration"))),
    ("lifecycle", (404, "NoSuchLifecycleConfiguration"), Some((204, ""))),
    ("location", (200, "LocationConstraint"), None),
    ("logging", (200, "BucketLoggingStatus"), None),
    ("metrics", (200, "ListMetricsConfigurationsResult"), None),
    ("metrics&id=1", (404, "NoSuchConfiguration"), Some((404, "NoSuchConfiguration"))),
    ("notification", (200, "NotificationConfiguration"), None),
    ("object-lock", (404, "ObjectLockConfigurationNotFoundError"), None),
    ("ownershipControls", (200, "BucketOwnerEnforced"), Some((204, ""))),
    ("policy", (404, "NoSuchBucketPolicy"), Some((204, ""))),
    ("policyStatus", (200, "<IsPublic>false</IsPublic>"), None),
    ("publicAccessBlock", (404, "NoSuchPublicAccessBlockConfiguration"), Some((204, ""))),
    ("replication", (404, "ReplicationConfigurationNotFoundError"), Some((204, ""))),
    ("requestPayment", (200, "<Payer>BucketOwner</Payer>"), None),
    ("tagging", (404, "NoSuchTagSet"), Some((204, ""))),
    ("versioning", (200, "VersioningConfiguration"), None),
    ("website", (404, "NoSuchWebsiteConfiguration"), Some((204, ""))),
];

/// Lists the same for an object.
const OBJECTS: &[Expected] = &[
    ("acl", (200, "AccessControlPolicy"), None),
    ("tagging", (200, "<TagSet"), Some((204, ""))),
    ("retention", (400, "InvalidRequest"), None),
    ("legal-hold", (400, "InvalidRequest"), None),
    ("torrent", (404, "NoSuchKey"), None),
];

/// Sends a signed request and returns status and body.
async fn ask(server: &Server, account: &Account, method: &str, target: &str, body: &[u8]) -> (u16, String) {
    let signer = Signer { endpoint: server.endpoint(), account };
    let answer = signer.send(method, target, "", body).await.expect("an answer");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn assert_is((status, text): (u16, String), (wanted, part): (u16, &str), what: &str) {
    let error = format!("<Code>{part}</Code>");
    let part = if wanted >= 400 { error.as_str() } else { part };
    assert!(status == wanted && text.contains(part), "{what}: {status} {text}, not {wanted} {part}");
    assert!(!part.is_empty() || text.is_empty(), "{what}: {text}");
}

#[tokio::test]
async fn what_nobody_set_is_answered_as_s3_does() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "key", Content::new(1, 100)).await.expect("put");
    for (place, missing, table) in [
        (format!("/{BUCKET}"), ("/no-such-bucket".to_owned(), "NoSuchBucket"), BUCKETS),
        (format!("/{BUCKET}/key"), (format!("/{BUCKET}/none"), "NoSuchKey"), OBJECTS),
    ] {
        for (name, got, deleted) in table {
            let target = format!("{place}?{name}");
            assert_is(ask(&server, &MAIN, "GET", &target, b"").await, *got, &target);
            let foreign = ask(&server, &OTHER, "GET", &target, b"").await;
            assert_is(foreign, (403, "AccessDenied"), &format!("another account, {target}"));
            let (elsewhere, code) = (format!("{}?{name}", missing.0), missing.1);
            assert_is(ask(&server, &MAIN, "GET", &elsewhere, b"").await, (404, code), &elsewhere);
            if let Some(deleted) = deleted {
                let what = format!("DELETE {target}");
                assert_is(ask(&server, &MAIN, "DELETE", &target, b"").await, *deleted, &what);
                assert_is(ask(&server, &MAIN, "DELETE", &elsewhere, b"").await, (404, code), &what);
            }
        }
    }
    assert_eq!(crate::support::list_all(&client, 10).await.len(), 1, "the object is still there");
}

/// No other configuration can be set yet, and the response says so whatever the body is.
#[tokio::test]
async fn setting_it_is_not_implemented() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "key", Content::new(1, 100)).await.expect("put");
    let of_bucket = BUCKETS.iter().map(|(name, ..)| format!("/{BUCKET}?{name}"));
    let of_object = OBJECTS.iter().map(|(name, ..)| format!("/{BUCKET}/key?{name}"));
    let built = [
        "?acl",
        "?versioning",
        "?tagging",
        "?object-lock",
        "?retention",
        "?legal-hold",
        "?lifecycle",
        "?policy",
        "?ownershipControls",
        "?publicAccessBlock",
        "?cors",
        "?website",
    ];
    let is_built = |target: &String| built.iter().any(|name| target.ends_with(name));
    for target in of_bucket.chain(of_object).filter(|target| !is_built(target)) {
        let answer = ask(&server, &MAIN, "PUT", &target, b"<X/>").await;
        assert_is(answer, (501, "NotImplemented"), &target);
    }
}
