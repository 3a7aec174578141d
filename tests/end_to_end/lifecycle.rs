//! These tests check the lifecycle of buckets through S3: its configuration, what answers say of it,
//! and that what is due goes and nothing else, with days of two seconds.

use crate::support::{BUCKET, make_bucket};
use crate::tags::{Sender, header};
use ringbolt_tests::client::{MAIN, OTHER};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Server, ServerOptions};
use std::time::{Duration, Instant};

/// The longest time that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn rule(id: &str, filter: &str, actions: &str) -> String {
    format!("<Rule><ID>{id}</ID><Filter>{filter}</Filter><Status>Enabled</Status>{actions}</Rule>")
}

fn document(rules: &[String]) -> String {
    format!("<LifecycleConfiguration>{}</LifecycleConfiguration>", rules.concat())
}

const DAY: &str = "<Expiration><Days>1</Days></Expiration>";

async fn server(flags: &'static [&'static str]) -> Server {
    let server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    make_bucket(&server.client(&MAIN)).await;
    server
}

#[tokio::test]
async fn a_bucket_keeps_its_rules_until_they_are_deleted() {
    let mut server = server(&[]).await;
    let sender = Sender(&server);
    let target = format!("/{BUCKET}?lifecycle");
    let and = "<And><Prefix>logs/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And>";
    let rules = [rule("first", "<Prefix>tmp/</Prefix>", DAY), rule("second", and, DAY)];
    sender.ends(404, "GET", &target, "", "").await;
    sender.ends(200, "PUT", &target, "", &document(&rules)).await;
    for (bad, code) in [
        (document(&[]), "MalformedXML"),
        (document(&[rule("r", "", "<Expiration><Days>0</Days></Expiration>")]), "InvalidArgument"),
        (document(&[rule("r", "", DAY), rule("r", "", DAY)]), "InvalidArgument"),
        (
            document(&[rule(
                "r",
                "",
                "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>",
            )]),
            "InvalidStorageClass",
        ),
        (String::new(), "MalformedXML"),
    ] {
        let refused = sender.ends(400, "PUT", &target, "", &bad).await;
        assert!(refused.contains(code), "{bad}: {refused}");
    }
    let other = Signer { endpoint: server.endpoint(), account: &OTHER };
    for (method, body) in [("GET", String::new()), ("PUT", document(&rules)), ("DELETE", String::new())] {
        let answer = other.send(method, &target, "", body.as_bytes()).await.expect("an answer");
        assert_eq!(answer.status, 403, "{method}");
    }
    server.kill();
    server.start_again();
    let sender = Sender(&server);
    let shown = sender.ends(200, "GET", &target, "", "").await;
    for part in &rules {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    sender.ends(204, "DELETE", &target, "", "").await;
    sender.ends(404, "GET", &target, "", "").await;
    sender.ends(204, "DELETE", &target, "", "").await;
}

#[tokio::test]
async fn an_operator_sees_what_rules_would_do() {
    let server = server(&["--lifecycle-rate", "0", "--lifecycle-day", "1s"]).await;
    let sender = Sender(&server);
    for key in ["tmp/a", "tmp/b", "keep/a"] {
        sender.ends(200, "PUT", &format!("/{BUCKET}/{key}"), "", "1234567890").await;
    }
    let ask = |more: &str| {
        let mut command = std::process::Command::new(ringbolt_tests::binary::ringbolt());
        ringbolt_tool_common::process::without_settings(&mut command);
        command.args(["lifecycle", "preview", BUCKET, "--data"]).arg(server.data_dir());
        let output = command.args(more.split_whitespace()).output().expect("run ringbolt");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    };
    let (good, said) = ask("");
    assert!(!good && said.contains("has no lifecycle rules"), "{said}");
    let tried = server.data_dir().join("rules.xml");
    std::fs::write(&tried, document(&[rule("all", "", DAY)])).expect("a file");
    let begun = Instant::now();
    loop {
        let (good, said) = ask(&format!("--json --rules {}", tried.display()));
        assert!(good, "{said}");
        let value: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(value["examined"], 3, "{value}");
        if value["due"][0]["versions"] == 3 {
            assert_eq!((&value["due"][0]["bytes"], &value["due"][0]["rule"]), (&30.into(), &"all".into()));
            assert_eq!(value["examples"][0]["key"], "keep/a");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{value}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    sender
        .ends(
            200,
            "PUT",
            &format!("/{BUCKET}?lifecycle"),
            "",
            &document(&[rule("t", "<Prefix>tmp/</Prefix>", DAY)]),
        )
        .await;
    let (good, said) = ask("--examples 1");
    assert!(good && said.contains("tmp/a") && !said.contains("keep/a") && !said.contains("tmp/b"), "{said}");
    let list = sender.ends(200, "GET", &format!("/{BUCKET}"), "", "").await;
    assert_eq!(list.matches("<Contents>").count(), 3, "nothing was changed: {list}");
    std::fs::write(&tried, "<LifecycleConfiguration/>").expect("a file");
    let (good, said) = ask(&format!("--rules {}", tried.display()));
    assert!(!good && said.contains("there is no Rule"), "{said}");
}

#[tokio::test]
async fn answers_say_when_an_object_expires() {
    let server = server(&[]).await;
    let sender = Sender(&server);
    let tagged = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    let rules = [
        rule("by prefix", "<Prefix>tmp/</Prefix>", DAY),
        rule("by-tag", tagged, "<Expiration><Days>3</Days></Expiration>"),
    ];
    sender.ends(200, "PUT", &format!("/{BUCKET}?lifecycle"), "", &document(&rules)).await;
    let expires = |text: &str| header(text, "x-amz-expiration").map(str::to_owned);
    let put = sender.ends(200, "PUT", &format!("/{BUCKET}/tmp/a"), "", "body").await;
    let shown = expires(&put).expect("it expires");
    assert!(shown.starts_with("expiry-date=\"") && shown.ends_with("rule-id=\"by%20prefix\""), "{shown}");
    assert!(shown.contains(" 00:00:00 gmt\""), "it is a midnight: {shown}");
    for method in ["GET", "HEAD"] {
        let answer = sender.ends(200, method, &format!("/{BUCKET}/tmp/a"), "", "").await;
        assert_eq!(expires(&answer).as_deref(), Some(shown.as_str()), "{method}");
    }
    let put = sender.ends(200, "PUT", &format!("/{BUCKET}/plain"), "", "body").await;
    assert_eq!(expires(&put), None);
    let put = sender.ends(200, "PUT", &format!("/{BUCKET}/tagged"), "x-amz-tagging: k=v\r\n", "body").await;
    assert!(expires(&put).is_some_and(|shown| shown.contains("by-tag")), "{put}");
    let copy = format!("x-amz-copy-source: /{BUCKET}/plain\r\n");
    let copied = sender.ends(200, "PUT", &format!("/{BUCKET}/tmp/copy"), &copy, "").await;
    assert!(expires(&copied).is_some(), "{copied}");
    let tags = "<Tagging><TagSet/></Tagging>";
    sender.ends(200, "PUT", &format!("/{BUCKET}/tagged?tagging"), "", tags).await;
    let head = sender.ends(200, "HEAD", &format!("/{BUCKET}/tagged"), "", "").await;
    assert_eq!(expires(&head), None, "the tags of now count");
}

/// Lists the versions of the bucket, until their document satisfies `wanted`.
async fn wait_for(sender: &Sender<'_>, bucket: &str, wanted: impl Fn(&str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let list = sender.ends(200, "GET", &format!("/{bucket}?versions"), "", "").await;
        if wanted(&list) {
            return list;
        }
        assert!(begun.elapsed() < PATIENCE, "it was waited for in vain: {list}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn what_is_due_goes_and_nothing_else() {
    let server = server(&["--lifecycle-day", "2s"]).await;
    let sender = Sender(&server);
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    sender.ends(200, "PUT", "/locked", "x-amz-bucket-object-lock-enabled: true\r\n", "").await;
    sender.ends(200, "PUT", "/versions", "", "").await;
    sender.ends(200, "PUT", "/versions?versioning", "", enabled).await;
    for key in ["tmp/a", "tmp/b", "keep/a"] {
        sender.ends(200, "PUT", &format!("/{BUCKET}/{key}"), "", "body").await;
    }
    sender.ends(200, "PUT", &format!("/{BUCKET}/tagged"), "x-amz-tagging: end=soon\r\n", "body").await;
    sender.ends(200, "PUT", &format!("/{BUCKET}/moved"), "", "body").await;
    sender.ends(200, "POST", &format!("/{BUCKET}/tmp/upload?uploads"), "", "").await;
    for text in ["one", "two", "three"] {
        sender.ends(200, "PUT", "/versions/k", "", text).await;
        sender.ends(200, "PUT", "/locked/k", "x-amz-object-lock-legal-hold: ON\r\n", text).await;
    }
    let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload>";
    let class = "<Transition><Days>0</Days><StorageClass>STANDARD_IA</StorageClass></Transition>";
    let rules = [
        rule("tmp", "<Prefix>tmp/</Prefix>", &format!("{DAY}{abort}")),
        rule("tag", "<Tag><Key>end</Key><Value>soon</Value></Tag>", DAY),
        rule("class", "<Prefix>moved</Prefix>", class),
    ];
    sender.ends(200, "PUT", &format!("/{BUCKET}?lifecycle"), "", &document(&rules)).await;
    let older =
        "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>";
    let all = document(&[rule("all", "", &format!("{DAY}{older}"))]);
    sender.ends(200, "PUT", "/versions?lifecycle", "", &all).await;
    sender.ends(200, "PUT", "/locked?lifecycle", "", &all).await;

    let list = wait_for(&sender, BUCKET, |list| {
        !list.contains("<Key>tmp/") && !list.contains("<Key>tagged<") && list.contains("STANDARD_IA")
    })
    .await;
    assert_eq!(list.matches("<Version>").count(), 2, "{list}");
    let begun = Instant::now();
    while sender.ends(200, "GET", &format!("/{BUCKET}?uploads"), "", "").await.contains("<Upload>") {
        assert!(begun.elapsed() < PATIENCE, "the upload is still there");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // All versions go, and then the marker, which is alone.
    wait_for(&sender, "versions", |list| !list.contains("<Version>") && !list.contains("<DeleteMarker>"))
        .await;
    let list = wait_for(&sender, "locked", |list| list.contains("<DeleteMarker>")).await;
    assert_eq!((list.matches("<Version>").count(), list.matches("<DeleteMarker>").count()), (3, 1), "{list}");
    // Passes go on, and add no second marker.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let list = wait_for(&sender, "locked", |_| true).await;
    assert_eq!((list.matches("<Version>").count(), list.matches("<DeleteMarker>").count()), (3, 1), "{list}");
}
