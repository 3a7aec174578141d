//! These tests check object lock through S3: what is protected, who passes over it, and what a
//! restart and a clock that steps change.

use crate::forms::{Form, PLAIN};
use crate::support::{BUCKET, make_bucket};
use crate::tags::{Sender, header};
use ringbolt_tests::client::{MAIN, OTHER};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::version_2::base64_of;
use ringbolt_tests::{Server, ServerOptions};
use ringbolt_tool_common::s3::sign::sha256_hex;

const FUTURE: &str = "2140-01-01T00:00:00Z";
const BYPASS: &str = "x-amz-bypass-governance-retention: true\r\n";
const LOCKED: &str = "locked";

fn retention(mode: &str, until: &str) -> String {
    format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
}

fn hold(status: &str) -> String {
    format!("<LegalHold><Status>{status}</Status></LegalHold>")
}

fn default_rule(inner: &str) -> String {
    format!(
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{inner}\
         </DefaultRetention></Rule></ObjectLockConfiguration>"
    )
}

async fn server() -> Server {
    let server = Server::start(ServerOptions::default());
    let sender = Sender(&server);
    let created = format!("/{LOCKED}");
    sender.ends(200, "PUT", &created, "x-amz-bucket-object-lock-enabled: true\r\n", "").await;
    server
}

/// Puts an object, and returns the path of its version.
async fn write(sender: &Sender<'_>, key: &str, headers: &str) -> String {
    let answer = sender.ends(200, "PUT", &format!("/{LOCKED}/{key}"), headers, "body").await;
    format!("/{LOCKED}/{key}?versionId={}", header(&answer, "x-amz-version-id").expect("an id"))
}

fn locking(mode: &str, until: &str) -> String {
    format!("x-amz-object-lock-mode: {mode}\r\nx-amz-object-lock-retain-until-date: {until}\r\n")
}

#[tokio::test]
async fn what_is_locked_stays_and_plain_writes_go_on() {
    let mut server = server().await;
    let sender = Sender(&server);
    let versioning = sender.ends(200, "GET", &format!("/{LOCKED}?versioning"), "", "").await;
    assert!(versioning.contains("<Status>Enabled</Status>"), "{versioning}");
    let governance = write(&sender, "governance", &locking("GOVERNANCE", FUTURE)).await;
    let compliance = write(&sender, "compliance", &locking("COMPLIANCE", FUTURE)).await;
    let held = write(&sender, "held", "x-amz-object-lock-legal-hold: ON\r\n").await;
    let free = write(&sender, "free", "").await;
    for (version, mode) in [(&governance, "governance"), (&compliance, "compliance")] {
        let head = sender.ends(200, "HEAD", version, "", "").await;
        assert_eq!(header(&head, "x-amz-object-lock-mode"), Some(mode));
        let until = header(&head, "x-amz-object-lock-retain-until-date").expect("a date");
        assert!(until.starts_with("2140-01-01t00:00:00"), "{until}");
    }
    refuse_all(&sender, [&governance, &compliance, &held]).await;
    server.kill();
    server.start_again();
    let sender = Sender(&server);
    refuse_all(&sender, [&governance, &compliance, &held]).await;
    for key in ["governance", "compliance", "held"] {
        let target = format!("/{LOCKED}/{key}");
        sender.ends(200, "PUT", &target, "", "a new version").await;
        let marked = sender.ends(204, "DELETE", &target, "", "").await;
        assert_eq!(header(&marked, "x-amz-delete-marker"), Some("true"), "{key}");
    }
    let list = |entries: &[&str]| {
        let object = |path: &&str| {
            let (key, id) =
                path.trim_start_matches(&format!("/{LOCKED}/")).split_once("?versionId=").expect("an id");
            format!("<Object><Key>{key}</Key><VersionId>{id}</VersionId></Object>")
        };
        format!("<Delete>{}</Delete>", entries.iter().map(object).collect::<String>())
    };
    let digest = |document: &str| format!("x-amz-checksum-sha256: {}\r\n", sha256(document));
    let all = list(&[&governance, &compliance, &held, &free]);
    let answer = sender.ends(200, "POST", &format!("/{LOCKED}?delete"), &digest(&all), &all).await;
    assert_eq!(answer.matches("<Code>AccessDenied</Code>").count(), 3, "{answer}");
    assert_eq!(answer.matches("<Deleted>").count(), 1, "{answer}");
    let some = list(&[&governance, &compliance]);
    let headers = format!("{}{BYPASS}", digest(&some));
    let answer = sender.ends(200, "POST", &format!("/{LOCKED}?delete"), &headers, &some).await;
    assert_eq!(answer.matches("<Code>AccessDenied</Code>").count(), 1, "{answer}");
    sender.ends(404, "HEAD", &governance, "", "").await;
    sender.ends(200, "HEAD", &compliance, "", "").await;
}

/// Checks that none of the three versions, of which the first is one of governance, can be deleted.
async fn refuse_all(sender: &Sender<'_>, versions: [&str; 3]) {
    for version in versions {
        let refused = sender.ends(403, "DELETE", version, "", "").await;
        assert!(refused.contains("AccessDenied"), "{version}: {refused}");
    }
    for version in &versions[1..] {
        sender.ends(403, "DELETE", version, BYPASS, "").await;
    }
}

pub fn sha256(text: &str) -> String {
    let hex = sha256_hex(text.as_bytes());
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits");
    base64_of(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>())
}

#[tokio::test]
async fn a_retention_only_becomes_longer_unless_it_is_passed_over() {
    let server = server().await;
    let sender = Sender(&server);
    let version = write(&sender, "k", "").await;
    let target = format!("{version}&retention");
    sender.ends(404, "GET", &target, "", "").await;
    sender.ends(200, "PUT", &target, "", &retention("GOVERNANCE", "2100-01-03T00:00:00Z")).await;
    sender.ends(200, "PUT", &target, "", &retention("GOVERNANCE", "2100-01-05T00:00:00Z")).await;
    for shorter in [
        retention("GOVERNANCE", "2100-01-04T00:00:00Z"),
        retention("COMPLIANCE", "2100-01-06T00:00:00Z"),
        "<Retention/>".to_owned(),
    ] {
        let refused = sender.ends(403, "PUT", &target, "", &shorter).await;
        assert!(refused.contains("AccessDenied"), "{shorter}: {refused}");
    }
    sender.ends(200, "PUT", &target, BYPASS, &retention("GOVERNANCE", "2100-01-01T00:00:00Z")).await;
    sender.ends(200, "PUT", &target, BYPASS, "<Retention/>").await;
    sender.ends(404, "GET", &target, "", "").await;
    sender.ends(200, "PUT", &target, "", &retention("COMPLIANCE", "2100-01-02T00:00:00Z")).await;
    for shorter in [
        retention("COMPLIANCE", "2100-01-01T00:00:00Z"),
        retention("GOVERNANCE", "2100-01-09T00:00:00Z"),
        "<Retention/>".to_owned(),
    ] {
        sender.ends(403, "PUT", &target, BYPASS, &shorter).await;
    }
    sender.ends(200, "PUT", &target, "", &retention("COMPLIANCE", "2100-01-03T00:00:00Z")).await;
    let shown = sender.ends(200, "GET", &target, "", "").await;
    assert!(shown.contains("COMPLIANCE") && shown.contains("2100-01-03T00:00:00"), "{shown}");
    for (bad, code) in [
        (retention("GOVERNANCE", "2001-01-01T00:00:00Z"), "InvalidArgument"),
        (retention("governance", FUTURE), "MalformedXML"),
        ("<Retention><Mode>GOVERNANCE</Mode></Retention>".to_owned(), "MalformedXML"),
    ] {
        let refused = sender.ends(400, "PUT", &target, "", &bad).await;
        assert!(refused.contains(code), "{bad}: {refused}");
    }
    // Tags are changed beside it, and metadata by a copy that is another version.
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    sender.ends(200, "PUT", &format!("{version}&tagging"), "", tags).await;
    sender.ends(403, "DELETE", &version, BYPASS, "").await;
}

#[tokio::test]
async fn a_hold_ends_when_it_is_said_to() {
    let server = server().await;
    let sender = Sender(&server);
    let version = write(&sender, "k", "").await;
    let target = format!("{version}&legal-hold");
    sender.ends(404, "GET", &target, "", "").await;
    for status in ["ON", "OFF", "ON"] {
        sender.ends(200, "PUT", &target, "", &hold(status)).await;
        let shown = sender.ends(200, "GET", &target, "", "").await;
        assert!(shown.contains(&format!("<Status>{status}</Status>")), "{shown}");
    }
    sender.ends(403, "DELETE", &version, BYPASS, "").await;
    sender.ends(400, "PUT", &target, "", &hold("abc")).await;
    sender.ends(200, "PUT", &target, "", &hold("OFF")).await;
    sender.ends(204, "DELETE", &version, "", "").await;
}

#[tokio::test]
async fn a_bucket_s_default_is_given_to_what_brings_none() {
    let server = server().await;
    let sender = Sender(&server);
    let target = format!("/{LOCKED}?object-lock");
    let shown = sender.ends(200, "GET", &target, "", "").await;
    assert!(shown.contains("Enabled") && !shown.contains("<Rule>"), "{shown}");
    let before = write(&sender, "before", "").await;
    sender.ends(200, "PUT", &target, "", &default_rule("<Mode>GOVERNANCE</Mode><Days>2</Days>")).await;
    let shown = sender.ends(200, "GET", &target, "", "").await;
    assert!(shown.contains("<Days>2</Days>") && shown.contains("GOVERNANCE"), "{shown}");
    for bad in ["<Mode>GOVERNANCE</Mode><Days>0</Days>", "<Mode>GOVERNANCE</Mode><Days>36501</Days>"] {
        let refused = sender.ends(400, "PUT", &target, "", &default_rule(bad)).await;
        assert!(refused.contains("InvalidRetentionPeriod"), "{refused}");
    }

    let plain = write(&sender, "plain", "").await;
    let own = write(&sender, "own", &locking("COMPLIANCE", FUTURE)).await;
    let held = write(&sender, "held", "x-amz-object-lock-legal-hold: OFF\r\n").await;
    let mode = |text: &str| header(text, "x-amz-object-lock-mode").map(str::to_owned);
    assert_eq!(mode(&sender.ends(200, "HEAD", &plain, "", "").await).as_deref(), Some("governance"));
    assert_eq!(mode(&sender.ends(200, "HEAD", &own, "", "").await).as_deref(), Some("compliance"));
    assert_eq!(mode(&sender.ends(200, "HEAD", &held, "", "").await).as_deref(), Some("governance"));
    assert_eq!(mode(&sender.ends(200, "HEAD", &before, "", "").await), None, "what was there before");

    let marked = sender.ends(204, "DELETE", &format!("/{LOCKED}/plain"), "", "").await;
    let marker = header(&marked, "x-amz-version-id").expect("an id").to_owned();
    for operation in ["retention", "legal-hold"] {
        sender.ends(405, "GET", &format!("/{LOCKED}/plain?versionId={marker}&{operation}"), "", "").await;
        sender.ends(405, "GET", &format!("/{LOCKED}/plain?{operation}"), "", "").await;
    }
    sender.ends(405, "PUT", &format!("/{LOCKED}/plain?legal-hold"), "", &hold("ON")).await;
    sender.ends(204, "DELETE", &format!("/{LOCKED}/plain?versionId={marker}"), "", "").await;
    sender.ends(403, "DELETE", &plain, "", "").await;
    sender.ends(204, "DELETE", &plain, BYPASS, "").await;

    let begun = sender.ends(200, "POST", &format!("/{LOCKED}/parts?uploads"), "", "").await;
    let id = begun.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<')).expect("an id").0;
    let part = sender.ends(200, "PUT", &format!("/{LOCKED}/parts?partNumber=1&uploadId={id}"), "", "p").await;
    let etag = header(&part, "etag").expect("an etag").replace('"', "");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let done = sender.ends(200, "POST", &format!("/{LOCKED}/parts?uploadId={id}"), "", &list).await;
    let version = header(&done, "x-amz-version-id").expect("an id").to_owned();
    sender.ends(403, "DELETE", &format!("/{LOCKED}/parts?versionId={version}"), "", "").await;

    let fields = [
        ("key", "form"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", FUTURE),
    ];
    let conditions = r#"["starts-with","$key",""],["starts-with","$x-amz-object-lock-mode",""],
        ["starts-with","$x-amz-object-lock-retain-until-date",""]"#;
    make_bucket(&server.client(&MAIN)).await;
    let refused = Form { fields: &fields, conditions, ..PLAIN }.post(&server, b"file").await;
    assert_eq!(refused.status, 400, "{BUCKET} has no object lock: {refused:?}");
}

#[tokio::test]
async fn a_form_locks_what_it_uploads() {
    let server = server().await;
    let sender = Sender(&server);
    sender.ends(200, "PUT", &format!("/{BUCKET}"), "x-amz-bucket-object-lock-enabled: true\r\n", "").await;
    let fields = [
        ("key", "form"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", FUTURE),
        ("x-amz-object-lock-legal-hold", "ON"),
    ];
    let conditions = r#"["starts-with","$key",""],["starts-with","$x-amz-object-lock-mode",""],
        ["starts-with","$x-amz-object-lock-retain-until-date",""],["starts-with","$x-amz-object-lock-legal-hold",""]"#;
    let posted = Form { fields: &fields, conditions, ..PLAIN }.post(&server, b"file").await;
    assert_eq!(posted.status, 204, "{posted:?}");
    let head = sender.ends(200, "HEAD", &format!("/{BUCKET}/form"), "", "").await;
    assert_eq!(header(&head, "x-amz-object-lock-mode"), Some("compliance"));
    assert_eq!(header(&head, "x-amz-object-lock-legal-hold"), Some("on"));
    let version = header(&head, "x-amz-version-id").expect("an id");
    sender.ends(403, "DELETE", &format!("/{BUCKET}/form?versionId={version}"), BYPASS, "").await;
}

#[tokio::test]
async fn a_bucket_gets_a_lock_only_with_versions_and_keeps_both() {
    let server = server().await;
    let sender = Sender(&server);
    make_bucket(&server.client(&MAIN)).await;
    let versioning = |status: &str| {
        format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>")
    };
    let (lock, rule) =
        (format!("/{BUCKET}?object-lock"), default_rule("<Mode>GOVERNANCE</Mode><Days>1</Days>"));
    for status in [None, Some("Suspended")] {
        if let Some(status) = status {
            sender.ends(200, "PUT", &format!("/{BUCKET}?versioning"), "", &versioning(status)).await;
        }
        let refused = sender.ends(409, "PUT", &lock, "", &rule).await;
        assert!(refused.contains("InvalidBucketState"), "{refused}");
    }
    sender.ends(200, "PUT", &format!("/{BUCKET}/k"), "", "null").await;
    for (target, body) in [("retention", retention("GOVERNANCE", FUTURE)), ("legal-hold", hold("ON"))] {
        let refused = sender.ends(400, "PUT", &format!("/{BUCKET}/k?{target}"), "", &body).await;
        assert!(refused.contains("InvalidRequest"), "{refused}");
    }
    let refused = sender.ends(400, "PUT", &format!("/{BUCKET}/k"), &locking("GOVERNANCE", FUTURE), "x").await;
    assert!(refused.contains("InvalidRequest"), "{refused}");

    sender.ends(200, "PUT", &format!("/{BUCKET}?versioning"), "", &versioning("Enabled")).await;
    sender.ends(200, "PUT", &lock, "", &rule).await;
    let refused =
        sender.ends(409, "PUT", &format!("/{BUCKET}?versioning"), "", &versioning("Suspended")).await;
    assert!(refused.contains("InvalidBucketState"), "{refused}");
    sender.ends(200, "PUT", &format!("/{BUCKET}/k?versionId=null&legal-hold"), "", &hold("ON")).await;
    sender.ends(403, "DELETE", &format!("/{BUCKET}/k?versionId=null"), "", "").await;

    let other = Signer { endpoint: server.endpoint(), account: &OTHER };
    for (target, body) in
        [("?object-lock", rule), ("/k?retention", "<Retention/>".to_owned()), ("/k?legal-hold", hold("OFF"))]
    {
        for (method, body) in [("GET", ""), ("PUT", body.as_str())] {
            let target = format!("/{BUCKET}{target}");
            let answer = other.send(method, &target, BYPASS, body.as_bytes()).await.expect("an answer");
            assert_eq!(answer.status, 403, "{method} {target}");
        }
    }
}
