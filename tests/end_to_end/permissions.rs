//! These tests check who may do what: every operation for strangers, policies of buckets, access
//! control lists, ownership, and the public access block.

use crate::support::{BUCKET, make_bucket};
use aws_sdk_s3::presigning::PresigningConfig;
use ringbolt_tests::client::{Account, MAIN, OTHER};
use ringbolt_tests::raw_http::{self, Answer};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Server, ServerOptions};
use std::time::Duration;

/// Who sends a request: an account, or nobody.
type Who = Option<&'static Account>;
const NOBODY: Who = None;
const OWNER: Who = Some(&MAIN);
const STRANGER: Who = Some(&OTHER);

async fn send(server: &Server, who: Who, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let answer = match who {
        Some(account) => {
            let signer = Signer { endpoint: server.endpoint(), account };
            signer.send(method, target, headers, body.as_bytes()).await
        }
        None => {
            let url = format!("{}{target}", server.endpoint());
            raw_http::request_with(method, &url, headers, body.as_bytes()).await
        }
    };
    answer.expect("an answer")
}

/// Sends a request that must end with this status, and returns the answer as text.
async fn ends(server: &Server, status: u16, who: Who, request: (&str, &str, &str), body: &str) -> String {
    let (method, target, headers) = request;
    let answer = send(server, who, method, target, headers, body).await;
    let text = format!("{}\r\n{}", answer.head, String::from_utf8_lossy(&answer.body));
    let name = who.map_or("nobody", |account| account.access_key);
    assert_eq!(answer.status, status, "{name}: {method} {target} {headers}: {text}");
    text
}

/// A server whose new buckets have lists that count.
async fn server_with_lists() -> Server {
    let flags = &["--object-ownership", "object-writer"];
    let server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    make_bucket(&server.client(&MAIN)).await;
    server
}

/// Every operation, by method, target and a document that it takes. `KEY` stands for the path of an
/// object that is there, and `BUCKET` for that of the bucket.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("DELETE", "BUCKET", ""),
    ("HEAD", "BUCKET", ""),
    ("GET", "BUCKET?location", ""),
    ("GET", "BUCKET?versioning", ""),
    (
        "PUT",
        "BUCKET?versioning",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    ),
    ("GET", "BUCKET?versions", ""),
    ("GET", "BUCKET?acl", ""),
    ("GET", "KEY?acl", ""),
    ("PUT", "BUCKET?acl", ""),
    ("PUT", "KEY?acl", ""),
    ("PUT", "KEY", "body"),
    ("PUT", "BUCKET/new", "body"),
    ("GET", "KEY", ""),
    ("HEAD", "KEY", ""),
    ("GET", "BUCKET/missing", ""),
    ("HEAD", "BUCKET/missing", ""),
    ("GET", "KEY?attributes", ""),
    ("DELETE", "KEY", ""),
    ("DELETE", "KEY?versionId=null", ""),
    ("GET", "BUCKET", ""),
    ("GET", "BUCKET?list-type=2", ""),
    ("POST", "BUCKET/new?uploads", ""),
    ("PUT", "BUCKET/new?uploadId=00000000000000000000000000000001&partNumber=1", "part"),
    ("GET", "BUCKET/new?uploadId=00000000000000000000000000000001", ""),
    ("DELETE", "BUCKET/new?uploadId=00000000000000000000000000000001", ""),
    ("GET", "BUCKET?uploads", ""),
    ("GET", "BUCKET?lifecycle", ""),
    ("DELETE", "BUCKET?lifecycle", ""),
    ("GET", "BUCKET?cors", ""),
    ("DELETE", "BUCKET?cors", ""),
    (
        "PUT",
        "BUCKET?cors",
        "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>\
         </CORSRule></CORSConfiguration>",
    ),
    ("GET", "BUCKET?encryption", ""),
    ("DELETE", "BUCKET?encryption", ""),
    ("GET", "BUCKET?policy", ""),
    ("DELETE", "BUCKET?policy", ""),
    ("GET", "BUCKET?policyStatus", ""),
    ("PUT", "BUCKET?policy", "{}"),
    ("GET", "BUCKET?tagging", ""),
    ("DELETE", "BUCKET?tagging", ""),
    ("GET", "BUCKET?replication", ""),
    ("DELETE", "BUCKET?replication", ""),
    ("GET", "BUCKET?website", ""),
    ("DELETE", "BUCKET?website", ""),
    (
        "PUT",
        "BUCKET?website",
        "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>",
    ),
    ("GET", "BUCKET?publicAccessBlock", ""),
    ("PUT", "BUCKET?publicAccessBlock", "<PublicAccessBlockConfiguration/>"),
    ("DELETE", "BUCKET?publicAccessBlock", ""),
    ("GET", "BUCKET?ownershipControls", ""),
    (
        "PUT",
        "BUCKET?ownershipControls",
        "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>",
    ),
    ("DELETE", "BUCKET?ownershipControls", ""),
    ("GET", "BUCKET?object-lock", ""),
    ("GET", "BUCKET?metrics", ""),
    ("GET", "BUCKET?metrics&id=1", ""),
    ("DELETE", "BUCKET?metrics&id=1", ""),
    ("GET", "BUCKET?analytics", ""),
    ("GET", "BUCKET?analytics&id=1", ""),
    ("DELETE", "BUCKET?analytics&id=1", ""),
    ("GET", "BUCKET?inventory", ""),
    ("GET", "BUCKET?inventory&id=1", ""),
    ("DELETE", "BUCKET?inventory&id=1", ""),
    ("GET", "BUCKET?intelligent-tiering", ""),
    ("GET", "BUCKET?intelligent-tiering&id=1", ""),
    ("DELETE", "BUCKET?intelligent-tiering&id=1", ""),
    ("GET", "BUCKET?accelerate", ""),
    ("GET", "BUCKET?logging", ""),
    ("GET", "BUCKET?notification", ""),
    ("GET", "BUCKET?requestPayment", ""),
    ("GET", "KEY?tagging", ""),
    ("PUT", "KEY?tagging", "<Tagging><TagSet/></Tagging>"),
    ("DELETE", "KEY?tagging", ""),
    ("GET", "KEY?retention", ""),
    ("PUT", "KEY?retention", "<Retention/>"),
    ("GET", "KEY?legal-hold", ""),
    ("PUT", "KEY?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>"),
    ("GET", "KEY?torrent", ""),
];

#[tokio::test]
async fn strangers_may_do_nothing_by_any_operation() {
    for lists in [false, true] {
        let server = match lists {
            true => server_with_lists().await,
            false => {
                let server = Server::start(ServerOptions::default());
                make_bucket(&server.client(&MAIN)).await;
                server
            }
        };
        let (bucket, key) = (format!("/{BUCKET}"), format!("/{BUCKET}/key"));
        ends(&server, 200, OWNER, ("PUT", &key, "x-amz-tagging: a=b\r\n"), "mine").await;
        for (method, target, body) in OPERATIONS {
            let target = target.replace("BUCKET", &bucket).replace("KEY", &key);
            // Without this header the operation is not asked for.
            let headers =
                if target.ends_with("?attributes") { "x-amz-object-attributes: ETag\r\n" } else { "" };
            for who in [NOBODY, STRANGER] {
                ends(&server, 403, who, (method, &target, headers), body).await;
            }
        }
        let copy = format!("x-amz-copy-source: {key}\r\n");
        for who in [NOBODY, STRANGER] {
            ends(&server, 403, who, ("PUT", &format!("{bucket}/copy"), &copy), "").await;
        }
        let list = "<Delete><Object><Key>key</Key></Object></Delete>";
        let sum = digest(list);
        ends(&server, 403, NOBODY, ("POST", &format!("{bucket}?delete"), &sum), list).await;
        let answer = ends(&server, 200, STRANGER, ("POST", &format!("{bucket}?delete"), &sum), list).await;
        assert!(answer.contains("<Code>AccessDenied</Code>") && !answer.contains("<Deleted>"), "{answer}");
        let kept = ends(&server, 200, OWNER, ("GET", &key, ""), "").await;
        assert!(kept.ends_with("mine"), "{kept}");
        let listed = ends(&server, 200, OWNER, ("GET", &bucket, ""), "").await;
        assert_eq!(listed.matches("<Key>").count(), 1, "{listed}");
        let seen = ends(&server, 200, STRANGER, ("GET", "/", ""), "").await;
        assert!(!seen.contains(BUCKET), "{seen}");
    }
}

fn digest(document: &str) -> String {
    format!("x-amz-checksum-sha256: {}\r\n", crate::object_lock::sha256(document))
}

/// Makes a policy of these statements, of which each is the inside of an object.
fn policy(statements: &[&str]) -> String {
    let statements: Vec<_> = statements.iter().map(|inside| format!("{{{inside}}}")).collect();
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","))
}

const ANYBODY: &str = r#""Principal":"*""#;

fn allow(actions: &str, place: &str) -> String {
    format!(r#""Effect":"Allow",{ANYBODY},"Action":{actions},"Resource":"arn:aws:s3:::{BUCKET}{place}""#)
}

fn deny(actions: &str, place: &str, condition: &str) -> String {
    format!(
        r#""Effect":"Deny",{ANYBODY},"Action":{actions},"Resource":"arn:aws:s3:::{BUCKET}{place}"{condition}"#
    )
}

#[tokio::test]
async fn a_policy_lets_in_and_shuts_out() {
    let mut server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    let (put, open, shut, other) = (
        format!("/{BUCKET}?policy"),
        format!("/{BUCKET}/open/a"),
        format!("/{BUCKET}/open/shut"),
        format!("/{BUCKET}/other"),
    );
    for key in [&open, &shut, &other] {
        ends(&server, 200, OWNER, ("PUT", key, ""), "body").await;
    }
    let lets = policy(&[&allow(r#""s3:GetObject""#, "/open/*"), &deny(r#""s3:*""#, "/open/shut", "")]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &lets).await;
    server.kill();
    server.start_again();
    for who in [NOBODY, STRANGER] {
        ends(&server, 200, who, ("GET", &open, ""), "").await;
        ends(&server, 200, who, ("HEAD", &open, ""), "").await;
        for key in [&shut, &other] {
            ends(&server, 403, who, ("GET", key, ""), "").await;
        }
        ends(&server, 403, who, ("PUT", &open, ""), "new").await;
        ends(&server, 403, who, ("DELETE", &open, ""), "").await;
        ends(&server, 403, who, ("GET", &format!("{open}?versionId=null"), ""), "").await;
        // Whoever may not list does not learn what is missing.
        ends(&server, 403, who, ("GET", &format!("/{BUCKET}/open/none"), ""), "").await;
    }
    // A Deny is for the owner too, but for the policy itself.
    ends(&server, 403, OWNER, ("GET", &shut, ""), "").await;
    let shown = ends(&server, 200, OWNER, ("GET", &put, ""), "").await;
    assert!(shown.ends_with(&lets), "{shown}");
    let locked = policy(&[&deny(r#""s3:*""#, "", ""), &deny(r#""s3:*""#, "/*", "")]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &locked).await;
    ends(&server, 403, OWNER, ("GET", &open, ""), "").await;
    ends(&server, 403, OWNER, ("GET", &format!("/{BUCKET}"), ""), "").await;
    ends(&server, 204, OWNER, ("DELETE", &put, ""), "").await;
    ends(&server, 200, OWNER, ("GET", &open, ""), "").await;
    ends(&server, 404, OWNER, ("GET", &put, ""), "").await;

    let lists = policy(&[&allow(r#"["s3:ListBucket"]"#, ""), &allow(r#""s3:GetObject""#, "/open/*")]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &lists).await;
    ends(&server, 404, NOBODY, ("GET", &format!("/{BUCKET}/open/none"), ""), "").await;
    ends(&server, 404, NOBODY, ("HEAD", &format!("/{BUCKET}/open/none"), ""), "").await;
    ends(&server, 200, NOBODY, ("GET", &format!("/{BUCKET}?list-type=2"), ""), "").await;
    for bad in
        ["", "{}", "[]", &lists.replace("s3:ListBucket", "s3:ListBuckets"), &lists.replace(BUCKET, "x")]
    {
        let refused = ends(&server, 400, OWNER, ("PUT", &put, ""), bad).await;
        assert!(refused.contains("<Code>MalformedPolicy</Code>"), "{refused}");
    }
}

#[tokio::test]
async fn conditions_judge_what_the_request_and_the_object_say() {
    let server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    let (put, public, secret) =
        (format!("/{BUCKET}?policy"), format!("/{BUCKET}/public"), format!("/{BUCKET}/secret"));
    ends(&server, 200, OWNER, ("PUT", &public, "x-amz-tagging: kind=public\r\n"), "body").await;
    ends(&server, 200, OWNER, ("PUT", &secret, "x-amz-tagging: kind=secret\r\n"), "body").await;
    let tagged = allow(r#""s3:GetObject""#, "/*")
        + r#","Condition":{"StringEquals":{"s3:ExistingObjectTag/kind":"public"}}"#;
    // The tags of a new object are judged as the request brings them.
    let brings = allow(r#"["s3:PutObject","s3:PutObjectTagging"]"#, "/in/*")
        + r#","Condition":{"StringEquals":{"s3:RequestObjectTag/from":"outside"}}"#;
    let lists = allow(r#""s3:ListBucket""#, "") + r#","Condition":{"StringLike":{"s3:prefix":"in/*"}}"#;
    let text = policy(&[&tagged, &brings, &lists]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &text).await;
    ends(&server, 200, NOBODY, ("GET", &public, ""), "").await;
    ends(&server, 403, NOBODY, ("GET", &secret, ""), "").await;
    ends(&server, 403, NOBODY, ("GET", &secret, "x-amz-tagging: kind=public\r\n"), "").await;
    let new = format!("/{BUCKET}/in/new");
    ends(&server, 200, STRANGER, ("PUT", &new, "x-amz-tagging: from=outside\r\n"), "body").await;
    ends(&server, 403, STRANGER, ("PUT", &new, "x-amz-tagging: from=inside\r\n"), "body").await;
    ends(&server, 403, STRANGER, ("PUT", &new, ""), "body").await;
    ends(&server, 200, STRANGER, ("GET", &format!("/{BUCKET}?list-type=2&prefix=in%2F"), ""), "").await;
    ends(&server, 403, STRANGER, ("GET", &format!("/{BUCKET}?list-type=2&prefix=out"), ""), "").await;
    ends(&server, 403, STRANGER, ("GET", &format!("/{BUCKET}?list-type=2"), ""), "").await;
    // Who may list a key learns by reading it too whether it is there.
    ends(&server, 404, STRANGER, ("HEAD", &format!("/{BUCKET}/in/none"), ""), "").await;
    ends(&server, 403, STRANGER, ("HEAD", &format!("/{BUCKET}/out/none"), ""), "").await;
    // Tags need their own action, and so does a copy's source.
    let untagged = policy(&[&allow(r#""s3:PutObject""#, "/*")]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &untagged).await;
    ends(&server, 200, STRANGER, ("PUT", &new, ""), "body").await;
    ends(&server, 403, STRANGER, ("PUT", &new, "x-amz-tagging: a=b\r\n"), "body").await;
    let copy = format!("x-amz-copy-source: {secret}\r\n");
    ends(&server, 403, STRANGER, ("PUT", &new, &copy), "").await;
    // A source without the key that a Deny asks for is denied all the same.
    let far =
        deny(r#""s3:GetObject""#, "/*", r#","Condition":{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#);
    let text = policy(&[&allow(r#""s3:GetObject""#, "/*"), &far]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &text).await;
    ends(&server, 403, NOBODY, ("GET", &public, ""), "").await;
    ends(&server, 403, OWNER, ("GET", &public, ""), "").await;
}

#[tokio::test]
async fn deletes_are_judged_one_by_one() {
    let server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    for key in ["free", "kept"] {
        ends(&server, 200, OWNER, ("PUT", &format!("/{BUCKET}/{key}"), ""), "body").await;
    }
    let text = policy(&[&allow(r#""s3:DeleteObject""#, "/*"), &deny(r#""s3:DeleteObject""#, "/kept", "")]);
    ends(&server, 204, OWNER, ("PUT", &format!("/{BUCKET}?policy"), ""), &text).await;
    let list = "<Delete><Object><Key>free</Key></Object><Object><Key>kept</Key></Object>\
                <Object><Key>free</Key><VersionId>null</VersionId></Object></Delete>";
    let sum = digest(list);
    let target = format!("/{BUCKET}?delete");
    let answer = ends(&server, 200, STRANGER, ("POST", &target, &sum), list).await;
    assert_eq!(answer.matches("<Deleted>").count(), 1, "{answer}");
    assert_eq!(answer.matches("<Code>AccessDenied</Code>").count(), 2, "{answer}");
    ends(&server, 404, OWNER, ("GET", &format!("/{BUCKET}/free"), ""), "").await;
    ends(&server, 200, OWNER, ("GET", &format!("/{BUCKET}/kept"), ""), "").await;
}

#[tokio::test]
async fn lists_share_buckets_and_objects() {
    let server = server_with_lists().await;
    let (bucket, key) = (format!("/{BUCKET}"), format!("/{BUCKET}/key"));
    let acl = |target: &str| format!("{target}?acl");
    ends(&server, 200, OWNER, ("PUT", &key, "x-amz-acl: public-read\r\n"), "body").await;
    ends(&server, 200, NOBODY, ("GET", &key, ""), "").await;
    ends(&server, 403, NOBODY, ("GET", &bucket, ""), "").await;
    ends(&server, 403, NOBODY, ("PUT", &key, ""), "new").await;
    ends(&server, 200, OWNER, ("PUT", &acl(&key), "x-amz-acl: authenticated-read\r\n"), "").await;
    ends(&server, 403, NOBODY, ("GET", &key, ""), "").await;
    ends(&server, 200, STRANGER, ("GET", &key, ""), "").await;
    // A list of the bucket is about the bucket, and what is written there is the writer's.
    ends(&server, 200, OWNER, ("PUT", &acl(&bucket), "x-amz-acl: public-read-write\r\n"), "").await;
    ends(&server, 200, NOBODY, ("GET", &bucket, ""), "").await;
    ends(&server, 404, NOBODY, ("GET", &format!("{bucket}/none"), ""), "").await;
    let theirs = format!("{bucket}/theirs");
    ends(&server, 200, STRANGER, ("PUT", &theirs, ""), "theirs").await;
    ends(&server, 200, STRANGER, ("GET", &theirs, ""), "").await;
    ends(&server, 403, OWNER, ("GET", &theirs, ""), "").await;
    ends(&server, 403, OWNER, ("GET", &acl(&theirs), ""), "").await;
    let shown = ends(&server, 200, STRANGER, ("GET", &acl(&theirs), ""), "").await;
    assert!(shown.contains(OTHER.canonical_id) && !shown.contains(MAIN.canonical_id), "{shown}");
    let full = "x-amz-acl: bucket-owner-full-control\r\n";
    ends(&server, 200, STRANGER, ("PUT", &acl(&theirs), full), "").await;
    ends(&server, 200, OWNER, ("GET", &theirs, ""), "").await;
    ends(&server, 204, OWNER, ("DELETE", &theirs, ""), "").await;
    // By grants, in headers and as a document.
    let grants = format!("x-amz-grant-read: id=\"{}\"\r\n", OTHER.canonical_id);
    ends(&server, 200, OWNER, ("PUT", &key, &grants), "granted").await;
    ends(&server, 200, STRANGER, ("GET", &key, ""), "").await;
    ends(&server, 403, STRANGER, ("GET", &acl(&key), ""), "").await;
    let document = |id: &str, permission: &str| {
        format!(
            "<AccessControlPolicy><Owner><ID>{}</ID></Owner><AccessControlList><Grant>\
             <Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">\
             <ID>{id}</ID></Grantee><Permission>{permission}</Permission></Grant></AccessControlList>\
             </AccessControlPolicy>",
            MAIN.canonical_id
        )
    };
    let request = ("PUT", acl(&key), String::new());
    let request = (request.0, request.1.as_str(), request.2.as_str());
    ends(&server, 200, OWNER, request, &document(OTHER.canonical_id, "WRITE_ACP")).await;
    ends(&server, 403, STRANGER, ("GET", &key, ""), "").await;
    ends(&server, 200, STRANGER, request, &document(OTHER.canonical_id, "FULL_CONTROL")).await;
    ends(&server, 200, STRANGER, ("GET", &key, ""), "").await;
    ends(&server, 400, OWNER, request, &document("nobody", "READ")).await;
    ends(&server, 400, OWNER, request, &document(OTHER.canonical_id, "LOOK")).await;
    let by_mail = "x-amz-grant-read: emailAddress=\"a@b\"\r\n";
    ends(&server, 405, OWNER, ("PUT", &acl(&key), by_mail), "").await;
    // A new version has a list of its own, and an overwrite takes none over.
    ends(&server, 200, OWNER, ("PUT", &key, ""), "private again").await;
    ends(&server, 403, STRANGER, ("GET", &key, ""), "").await;
}

#[tokio::test]
async fn where_the_owner_owns_all_lists_do_not_count() {
    let server = server_with_lists().await;
    let (bucket, key) = (format!("/{BUCKET}"), format!("/{BUCKET}/key"));
    let controls = format!("{bucket}?ownershipControls");
    let rule = |name: &str| {
        format!(
            "<OwnershipControls><Rule><ObjectOwnership>{name}</ObjectOwnership></Rule></OwnershipControls>"
        )
    };
    ends(&server, 404, OWNER, ("GET", &controls, ""), "").await;
    ends(&server, 200, OWNER, ("PUT", &key, "x-amz-acl: public-read\r\n"), "body").await;
    let open = "x-amz-acl: public-read-write\r\n";
    ends(&server, 200, OWNER, ("PUT", &format!("{bucket}?acl"), open), "").await;
    let refused = ends(&server, 400, OWNER, ("PUT", &controls, ""), &rule("BucketOwnerEnforced")).await;
    assert!(refused.contains("InvalidBucketAclWithObjectOwnership"), "{refused}");
    // A writer may leave all to the owner of the bucket.
    ends(&server, 200, OWNER, ("PUT", &controls, ""), &rule("BucketOwnerPreferred")).await;
    let gives = "x-amz-acl: bucket-owner-full-control\r\n";
    ends(&server, 200, STRANGER, ("PUT", &format!("{bucket}/given"), gives), "given").await;
    ends(&server, 200, OWNER, ("GET", &format!("{bucket}/given"), ""), "").await;
    ends(&server, 403, STRANGER, ("GET", &format!("{bucket}/given"), ""), "").await;
    ends(&server, 200, OWNER, ("PUT", &format!("{bucket}?acl"), "x-amz-acl: private\r\n"), "").await;
    ends(&server, 200, OWNER, ("PUT", &controls, ""), &rule("BucketOwnerEnforced")).await;
    let shown = ends(&server, 200, OWNER, ("GET", &controls, ""), "").await;
    assert!(shown.contains("BucketOwnerEnforced"), "{shown}");
    ends(&server, 403, NOBODY, ("GET", &key, ""), "").await;
    for (headers, status) in [("public-read", 400), ("private", 200), ("bucket-owner-full-control", 200)] {
        let headers = format!("x-amz-acl: {headers}\r\n");
        ends(&server, status, OWNER, ("PUT", &key, &headers), "body").await;
        ends(&server, status, OWNER, ("PUT", &format!("{key}?acl"), &headers), "").await;
        ends(&server, status, OWNER, ("PUT", &format!("{bucket}?acl"), &headers), "").await;
    }
    let made = "x-amz-acl: public-read\r\nx-amz-object-ownership: BucketOwnerEnforced\r\n";
    ends(&server, 400, OWNER, ("PUT", "/another", made), "").await;
    ends(&server, 404, OWNER, ("HEAD", "/another", ""), "").await;
}

#[tokio::test]
async fn the_public_access_block_counts_more_than_lists_and_policies() {
    let server = server_with_lists().await;
    let (bucket, key) = (format!("/{BUCKET}"), format!("/{BUCKET}/key"));
    let (block, put) = (format!("{bucket}?publicAccessBlock"), format!("{bucket}?policy"));
    let set = |names: &[&str]| {
        let flags: String = names.iter().map(|name| format!("<{name}>true</{name}>")).collect();
        format!("<PublicAccessBlockConfiguration>{flags}</PublicAccessBlockConfiguration>")
    };
    let public = policy(&[&allow(r#""s3:GetObject""#, "/*")]);
    ends(&server, 200, OWNER, ("PUT", &key, "x-amz-acl: public-read\r\n"), "body").await;
    ends(&server, 200, NOBODY, ("GET", &key, ""), "").await;
    ends(&server, 200, OWNER, ("PUT", &block, ""), &set(&["IgnorePublicAcls"])).await;
    ends(&server, 403, NOBODY, ("GET", &key, ""), "").await;
    ends(&server, 204, OWNER, ("PUT", &put, ""), &public).await;
    ends(&server, 200, NOBODY, ("GET", &key, ""), "").await;
    let status = ends(&server, 200, OWNER, ("GET", &format!("{bucket}?policyStatus"), ""), "").await;
    assert!(status.contains("<IsPublic>true</IsPublic>"), "{status}");
    ends(&server, 200, OWNER, ("PUT", &block, ""), &set(&["RestrictPublicBuckets"])).await;
    ends(&server, 204, OWNER, ("DELETE", &format!("{bucket}?policy"), ""), "").await;
    ends(&server, 200, NOBODY, ("GET", &key, ""), "").await;
    ends(&server, 200, OWNER, ("PUT", &key, ""), "private").await;
    ends(&server, 204, OWNER, ("PUT", &put, ""), &public).await;
    ends(&server, 403, NOBODY, ("GET", &key, ""), "").await;
    ends(&server, 200, OWNER, ("GET", &key, ""), "").await;
    ends(&server, 204, OWNER, ("DELETE", &put, ""), "").await;
    ends(&server, 200, OWNER, ("PUT", &block, ""), &set(&["BlockPublicPolicy", "BlockPublicAcls"])).await;
    ends(&server, 403, OWNER, ("PUT", &put, ""), &public).await;
    ends(&server, 403, OWNER, ("PUT", &key, "x-amz-acl: public-read\r\n"), "body").await;
    ends(&server, 403, OWNER, ("PUT", &format!("{bucket}?acl"), "x-amz-acl: public-read\r\n"), "").await;
    ends(&server, 204, OWNER, ("DELETE", &block, ""), "").await;
    ends(&server, 404, OWNER, ("GET", &block, ""), "").await;
}

#[tokio::test]
async fn a_form_of_nobody_is_judged_as_a_put() {
    let server = server_with_lists().await;
    let field = |name: &str, value: &str| {
        format!("--3f9c\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let file =
        "--3f9c\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbody\r\n--3f9c--\r\n";
    let form = field("key", "anonymous") + &field("acl", "public-read") + file;
    let request = ("POST", format!("/{BUCKET}"), "Content-Type: multipart/form-data; boundary=3f9c\r\n");
    let request = (request.0, request.1.as_str(), request.2);
    ends(&server, 403, NOBODY, request, &form).await;
    let open = "x-amz-acl: public-read-write\r\n";
    ends(&server, 200, OWNER, ("PUT", &format!("/{BUCKET}?acl"), open), "").await;
    ends(&server, 204, NOBODY, request, &form).await;
    let got = ends(&server, 200, NOBODY, ("GET", &format!("/{BUCKET}/anonymous"), ""), "").await;
    assert!(got.ends_with("body"), "{got}");
    // What nobody wrote is nobody's, and the owner of the bucket may remove it.
    ends(&server, 204, OWNER, ("DELETE", &format!("/{BUCKET}/anonymous"), ""), "").await;
}

/// A statement for one account.
fn allow_to(account: &Account, actions: &str, path: &str) -> String {
    format!(
        r#""Effect":"Allow","Principal":{{"CanonicalUser":"{}"}},"Action":{actions},
            "Resource":"arn:aws:s3:::{BUCKET}{path}""#,
        account.canonical_id
    )
}

#[tokio::test]
async fn the_policy_of_a_bucket_is_for_its_owner_alone() {
    let server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    let put = format!("/{BUCKET}?policy");
    let opens = policy(&[&allow(r#""s3:*""#, ""), &allow(r#""s3:*""#, "/*")]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &opens).await;
    for who in [NOBODY, STRANGER] {
        for (method, body) in [("PUT", opens.as_str()), ("GET", ""), ("DELETE", "")] {
            ends(&server, 405, who, (method, &put, ""), body).await;
        }
    }
    ends(&server, 204, OWNER, ("DELETE", &put, ""), "").await;
    ends(&server, 403, STRANGER, ("PUT", &put, ""), &opens).await;
}

#[tokio::test]
async fn what_is_judged_is_what_is_done() {
    let server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    let (put, bucket) = (format!("/{BUCKET}?policy"), format!("/{BUCKET}"));
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    ends(&server, 200, OWNER, ("PUT", &format!("{bucket}?versioning"), ""), versioning).await;
    let written = ends(&server, 200, OWNER, ("PUT", &format!("{bucket}/k"), ""), "one").await;
    let version = written.lines().find_map(|line| line.strip_prefix("x-amz-version-id: "));
    let version = version.expect("a version").trim().to_owned();
    // A version is the one that an entry of a list, or the source of a copy, names.
    let keeps = |action: &str| {
        let condition = format!(r#","Condition":{{"StringEquals":{{"s3:VersionId":"{version}"}}}}"#);
        deny(&format!(r#""{action}""#), "/*", &condition)
    };
    let text = policy(&[&keeps("s3:DeleteObjectVersion"), &keeps("s3:GetObjectVersion")]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &text).await;
    ends(&server, 403, OWNER, ("DELETE", &format!("{bucket}/k?versionId={version}"), ""), "").await;
    let list = format!("<Delete><Object><Key>k</Key><VersionId>{version}</VersionId></Object></Delete>");
    let sum = digest(&list);
    let answer = ends(&server, 200, OWNER, ("POST", &format!("{bucket}?delete"), &sum), &list).await;
    assert!(answer.contains("<Code>AccessDenied</Code>") && !answer.contains("<Deleted>"), "{answer}");
    let source = format!("x-amz-copy-source: {bucket}/k?versionId={version}\r\n");
    ends(&server, 403, OWNER, ("PUT", &format!("{bucket}/copy"), &source), "").await;
    ends(&server, 404, OWNER, ("PUT", &format!("{bucket}/copy"), &source.replace('?', "%3F")), "").await;

    // An unconditional delete stays one, whatever a header of the list says.
    let bound = deny(r#""s3:DeleteObject""#, "/*", r#","Condition":{"Null":{"s3:if-match":"true"}}"#);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &policy(&[&bound])).await;
    let list = "<Delete><Object><Key>k</Key></Object></Delete>";
    let headers = format!("{}If-Match: *\r\n", digest(list));
    let answer = ends(&server, 200, OWNER, ("POST", &format!("{bucket}?delete"), &headers), list).await;
    assert!(answer.contains("<Code>AccessDenied</Code>"), "{answer}");
    // What keeps from overwriting is If-None-Match with a star, and nothing else.
    let new = deny(r#""s3:PutObject""#, "/*", r#","Condition":{"Null":{"s3:if-none-match":"true"}}"#);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &policy(&[&new])).await;
    for (value, status) in [("\"x\"", 403), ("", 403), ("*", 412)] {
        let header = format!("If-None-Match: {value}\r\n");
        ends(&server, status, OWNER, ("PUT", &format!("{bucket}/k"), &header), "two").await;
    }
    // The source of a copy has one name, however it is written.
    let from = deny(
        r#""s3:PutObject""#,
        "/*",
        &format!(r#","Condition":{{"StringLike":{{"s3:x-amz-copy-source":"{BUCKET}/k*"}}}}"#),
    );
    ends(&server, 204, OWNER, ("PUT", &put, ""), &policy(&[&from])).await;
    for spelling in [format!("{bucket}/k"), format!("{BUCKET}/k"), format!("{BUCKET}/%6b")] {
        let source = format!("x-amz-copy-source: {spelling}\r\n");
        ends(&server, 403, OWNER, ("PUT", &format!("{bucket}/copy"), &source), "").await;
    }
    // How the body is signed is what was signed.
    let signed = deny(
        r#""s3:PutObject""#,
        "/*",
        r#","Condition":{"StringEquals":{"s3:x-amz-content-sha256":"UNSIGNED-PAYLOAD"}}"#,
    );
    let insecure =
        deny(r#""s3:GetObject""#, "/*", r#","Condition":{"Bool":{"aws:SecureTransport":"false"}}"#);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &policy(&[&signed, &insecure])).await;
    let valid = PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry");
    let presigned = server.client(&MAIN).put_object().bucket(BUCKET).key("unsigned").presigned(valid).await;
    let answer = raw_http::request("PUT", presigned.expect("sign").uri(), b"x").await.expect("an answer");
    assert_eq!(answer.status, 403, "a body that is not signed is taken");
    ends(&server, 200, OWNER, ("PUT", &format!("{bucket}/signed"), ""), "x").await;
    ends(&server, 403, OWNER, ("GET", &format!("{bucket}/signed"), ""), "").await;
}

#[tokio::test]
async fn what_is_given_is_judged_as_it_is_given() {
    let server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    let (put, bucket) = (format!("/{BUCKET}?policy"), format!("/{BUCKET}"));
    ends(
        &server,
        200,
        OWNER,
        ("PUT", &format!("{bucket}/o/secret"), "x-amz-tagging: class=secret\r\n"),
        "body",
    )
    .await;
    ends(
        &server,
        200,
        OWNER,
        ("PUT", &format!("{bucket}/o/public"), "x-amz-tagging: class=public\r\n"),
        "body",
    )
    .await;
    let tagged = allow_to(&OTHER, r#"["s3:PutObject","s3:PutObjectTagging"]"#, "/in/*")
        + r#","Condition":{"StringEquals":{"s3:RequestObjectTag/class":"public"}}"#;
    let reads = allow_to(&OTHER, r#"["s3:GetObject","s3:GetObjectTagging"]"#, "/o/*");
    ends(&server, 204, OWNER, ("PUT", &put, ""), &policy(&[&tagged, &reads])).await;
    let copy = |source: &str, more: &str| format!("x-amz-copy-source: {bucket}/o/{source}\r\n{more}");
    let new = format!("{bucket}/in/new");
    // The tags of a copy are its source's, unless they are replaced.
    let lies = copy("secret", "x-amz-tagging: class=public\r\n");
    ends(&server, 403, STRANGER, ("PUT", &new, &lies), "").await;
    ends(&server, 200, STRANGER, ("PUT", &new, &copy("public", "")), "").await;
    let replaces = copy("secret", "x-amz-tagging: class=public\r\nx-amz-tagging-directive: REPLACE\r\n");
    ends(&server, 200, STRANGER, ("PUT", &new, &replaces), "").await;
    let shown = ends(&server, 200, OWNER, ("GET", &format!("{new}?tagging"), ""), "").await;
    assert!(shown.contains("<Value>public</Value>"), "{shown}");

    // What attributes show needs what reading needs.
    let text = policy(&[
        &allow_to(&OTHER, r#""s3:*""#, "/*"),
        &allow_to(&OTHER, r#""s3:ListBucket""#, ""),
        &deny(r#""s3:GetObject""#, "/o/secret", ""),
    ]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &text).await;
    let asks = "x-amz-object-attributes: ETag,ObjectSize\r\n";
    ends(&server, 403, STRANGER, ("GET", &format!("{bucket}/o/secret?attributes"), asks), "").await;
    ends(&server, 200, STRANGER, ("GET", &format!("{bucket}/o/public?attributes"), asks), "").await;
    // A write that is bound to an ETag tells what the ETag is.
    let guess = "If-Match: \"841a2d689ad86bd1611447453c22c6fc\"\r\n";
    ends(&server, 403, STRANGER, ("PUT", &format!("{bucket}/o/secret"), guess), "new").await;
    ends(&server, 403, STRANGER, ("DELETE", &format!("{bucket}/o/secret"), guess), "").await;
    let list =
        "<Delete><Object><Key>o/secret</Key><ETag>841a2d689ad86bd1611447453c22c6fc</ETag></Object></Delete>";
    let sum = digest(list);
    let answer = ends(&server, 200, STRANGER, ("POST", &format!("{bucket}?delete"), &sum), list).await;
    assert!(answer.contains("<Code>AccessDenied</Code>"), "{answer}");
    ends(&server, 200, STRANGER, ("PUT", &format!("{bucket}/o/public"), guess), "new").await;
    // No header meets the conditions of an operation that does not look at it.
    let long = r#","Condition":{"NumericGreaterThan":{"s3:object-lock-remaining-retention-days":"30"}}"#;
    let retains = allow_to(&OTHER, r#""s3:PutObjectRetention""#, "/*") + long;
    ends(&server, 204, OWNER, ("PUT", &put, ""), &policy(&[&retains])).await;
    let header = "x-amz-object-lock-retain-until-date: 2099-01-01T00:00:00Z\r\n";
    let target = format!("{bucket}/o/public?retention");
    ends(&server, 403, STRANGER, ("PUT", &target, header), "<Retention/>").await;
}

#[tokio::test]
async fn a_list_that_nobody_signs_for_may_be_denied() {
    let server = server_with_lists().await;
    let (put, bucket) = (format!("/{BUCKET}?policy"), format!("/{BUCKET}"));
    let text = policy(&[&allow(r#""s3:PutObject""#, "/*"), &deny(r#""s3:PutObjectAcl""#, "/*", "")]);
    ends(&server, 204, OWNER, ("PUT", &put, ""), &text).await;
    ends(&server, 200, NOBODY, ("PUT", &format!("{bucket}/k"), ""), "body").await;
    ends(&server, 403, NOBODY, ("PUT", &format!("{bucket}/k"), "x-amz-acl: public-read\r\n"), "body").await;
}
