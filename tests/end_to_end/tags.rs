//! These tests check the tags of objects and buckets, and storage classes: at every way by which an
//! object comes, by version, and through a restart.

use crate::forms::{Form, PLAIN};
use crate::support::{BUCKET, make_bucket};
use ringbolt_tests::client::{MAIN, OTHER};
use ringbolt_tests::raw_http::Answer;
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Server, ServerOptions};

/// Sends signed requests to one server.
pub struct Sender<'a>(pub &'a Server);

impl Sender<'_> {
    pub async fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let signer = Signer { endpoint: self.0.endpoint(), account: &MAIN };
        signer.send(method, target, headers, body.as_bytes()).await.expect("an answer")
    }

    /// Sends a request that must end with this status, and returns its answer as text, head and body.
    pub async fn ends(&self, status: u16, method: &str, target: &str, headers: &str, body: &str) -> String {
        let answer = self.send(method, target, headers, body).await;
        let text = format!("{}\r\n{}", answer.head.to_lowercase(), String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.status, status, "{method} {target}: {text}");
        text
    }

    /// Returns the tags of an object or bucket as `key=value`, in the order of the answer.
    async fn tags(&self, target: &str) -> Vec<String> {
        let text = self.ends(200, "GET", &format!("{target}tagging"), "", "").await;
        let between = |text: &str, tag: &str| {
            let rest = text.split_once(&format!("<{tag}>")).map(|(_, rest)| rest.to_owned());
            rest.and_then(|rest| rest.split_once(&format!("</{tag}>")).map(|(value, _)| value.to_owned()))
        };
        let shown = |one: &str| {
            let (key, value) = (between(one, "Key"), between(one, "Value"));
            format!("{}={}", key.unwrap_or_default(), value.unwrap_or_default())
        };
        text.split("<Tag>").skip(1).map(shown).collect()
    }
}

/// Returns the value of a header of an answer, whose text is in lower case.
pub fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn document(tags: &[(&str, &str)]) -> String {
    let tag = |(key, value): &(&str, &str)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
    format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.iter().map(tag).collect::<String>())
}

const ENABLED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

async fn server() -> Server {
    let server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    server
}

#[tokio::test]
async fn an_object_gets_its_tags_by_every_way_and_keeps_them() {
    let mut server = server().await;
    let sender = Sender(&server);
    let key = |name: &str| format!("/{BUCKET}/{name}");
    sender.ends(200, "PUT", &key("put"), "x-amz-tagging: b=2&a=1\r\n", "body").await;
    assert_eq!(sender.tags(&format!("{}?", key("put"))).await, ["a=1", "b=2"]);
    for method in ["GET", "HEAD"] {
        let answer = sender.ends(200, method, &key("put"), "", "").await;
        assert_eq!(header(&answer, "x-amz-tagging-count"), Some("2"), "{method}");
    }

    let source = format!("x-amz-copy-source: {}\r\n", key("put"));
    sender.ends(200, "PUT", &key("copy"), &source, "").await;
    assert_eq!(sender.tags(&format!("{}?", key("copy"))).await, ["a=1", "b=2"]);
    let others = format!("{source}x-amz-tagging-directive: REPLACE\r\nx-amz-tagging: c=3\r\n");
    sender.ends(200, "PUT", &key("replaced"), &others, "").await;
    assert_eq!(sender.tags(&format!("{}?", key("replaced"))).await, ["c=3"]);
    let itself = format!(
        "x-amz-copy-source: {}\r\nx-amz-metadata-directive: REPLACE\r\nx-amz-meta-a: b\r\n",
        key("replaced")
    );
    sender.ends(200, "PUT", &key("replaced"), &itself, "").await;
    assert_eq!(sender.tags(&format!("{}?", key("replaced"))).await, ["c=3"], "in its own place");

    let begun = sender.ends(200, "POST", &key("parts?uploads"), "x-amz-tagging: m=1\r\n", "").await;
    let id = begun.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<')).expect("an id").0;
    let part = sender.ends(200, "PUT", &key(&format!("parts?partNumber=1&uploadId={id}")), "", "p").await;
    let etag = header(&part, "etag").expect("an etag").replace('"', "");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    sender.ends(200, "POST", &key(&format!("parts?uploadId={id}")), "", &list).await;
    assert_eq!(sender.tags(&format!("{}?", key("parts"))).await, ["m=1"]);

    let tagged = document(&[("f", "x y")]);
    let form = Form {
        fields: &[("key", "form"), ("tagging", &tagged)],
        conditions: r#"["starts-with","$key",""],["starts-with","$tagging",""]"#,
        ..PLAIN
    };
    assert_eq!(form.post(&server, b"file").await.status, 204);
    assert_eq!(sender.tags(&format!("{}?", key("form"))).await, ["f=x y"]);
    let wrong = Form { fields: &[("key", "form"), ("tagging", "<Tagging/>")], ..form };
    assert_eq!(wrong.post(&server, b"file").await.status, 400);

    server.kill();
    server.start_again();
    let sender = Sender(&server);
    for (name, tags) in [("put", 2), ("copy", 2), ("replaced", 1), ("parts", 1), ("form", 1)] {
        assert_eq!(sender.tags(&format!("{}?", key(name))).await.len(), tags, "{name} after a kill");
    }
}

#[tokio::test]
async fn tags_change_by_version_and_nothing_else_does() {
    let server = server().await;
    let sender = Sender(&server);
    let key = format!("/{BUCKET}/k");
    sender.ends(200, "PUT", &format!("/{BUCKET}?versioning"), "", ENABLED).await;
    let mut ids = Vec::new();
    for text in ["one", "two"] {
        let headers = "content-type: text/x\r\nx-amz-meta-m: n\r\nx-amz-storage-class: STANDARD_IA\r\n";
        let answer = sender.ends(200, "PUT", &key, headers, text).await;
        ids.push(header(&answer, "x-amz-version-id").expect("an id").to_owned());
    }
    let before = sender.ends(200, "HEAD", &format!("{key}?versionId={}", ids[0]), "", "").await;
    let first = format!("{key}?versionId={}&", ids[0]);
    let answer = sender.ends(200, "PUT", &format!("{first}tagging"), "", &document(&[("o", "1")])).await;
    assert_eq!(header(&answer, "x-amz-version-id"), Some(ids[0].as_str()));
    assert_eq!(sender.tags(&first).await, ["o=1"]);
    assert_eq!(sender.tags(&format!("{key}?")).await, Vec::<String>::new(), "the other version has none");
    let after = sender.ends(200, "HEAD", &format!("{key}?versionId={}", ids[0]), "", "").await;
    for name in
        ["etag", "last-modified", "content-type", "x-amz-meta-m", "x-amz-storage-class", "content-length"]
    {
        assert!(header(&before, name).is_some(), "{name}");
        assert_eq!(header(&before, name), header(&after, name), "{name}");
    }
    assert_eq!(header(&after, "x-amz-tagging-count"), Some("1"));
    sender.ends(204, "DELETE", &format!("{first}tagging"), "", "").await;
    assert_eq!(sender.tags(&first).await, Vec::<String>::new());

    sender.ends(204, "DELETE", &key, "", "").await;
    for (method, body) in [("GET", String::new()), ("PUT", document(&[])), ("DELETE", String::new())] {
        let answer = sender.ends(405, method, &format!("{key}?tagging"), "", &body).await;
        assert!(answer.contains("MethodNotAllowed"), "{method}: {answer}");
    }
    let never = "0123456789abcdef0123456789abcdef";
    let answer = sender.ends(404, "GET", &format!("{key}?tagging&versionId={never}"), "", "").await;
    assert!(answer.contains("NoSuchVersion"), "{answer}");
    let answer = sender.ends(404, "PUT", &format!("/{BUCKET}/none?tagging"), "", &document(&[])).await;
    assert!(answer.contains("NoSuchKey"), "{answer}");
}

#[tokio::test]
async fn tags_that_can_not_be_change_nothing() {
    let server = server().await;
    let sender = Sender(&server);
    let key = format!("/{BUCKET}/k");
    sender.ends(200, "PUT", &key, "x-amz-tagging: a=1\r\n", "body").await;
    let many: Vec<(String, &str)> = (0..11).map(|number| (format!("k{number}"), "")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    for (body, code) in [
        (document(&many), "InvalidTag"),
        (document(&[("a", ""), ("a", "")]), "InvalidTag"),
        (document(&[("aws:a", "")]), "InvalidTag"),
        ("<Tagging/>".to_owned(), "MalformedXML"),
        ("tags".to_owned(), "MalformedXML"),
    ] {
        let answer = sender.ends(400, "PUT", &format!("{key}?tagging"), "", &body).await;
        assert!(answer.contains(code), "{code}: {answer}");
    }
    let many: Vec<String> = many.iter().map(|(key, _)| format!("{key}=")).collect();
    for header in [many.join("&"), "a=1&a=2".to_owned(), "a=%ff".to_owned()] {
        let headers = format!("x-amz-tagging: {header}\r\n");
        sender.ends(400, "PUT", &key, &headers, "other").await;
        sender.ends(400, "POST", &format!("{key}?uploads"), &headers, "").await;
    }
    assert_eq!(sender.tags(&format!("{key}?")).await, ["a=1"]);
    assert!(sender.ends(200, "GET", &key, "", "").await.ends_with("body"), "it was not overwritten");
    let other = Signer { endpoint: server.endpoint(), account: &OTHER };
    for target in [format!("{key}?tagging"), format!("/{BUCKET}?tagging")] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = other.send(method, &target, "", document(&[]).as_bytes()).await.expect("an answer");
            assert_eq!(answer.status, 403, "{method} {target}");
        }
    }
}

#[tokio::test]
async fn a_bucket_keeps_its_tags() {
    let mut server = server().await;
    let sender = Sender(&server);
    let bucket = format!("/{BUCKET}?");
    let missing = sender.ends(404, "GET", &format!("{bucket}tagging"), "", "").await;
    assert!(missing.contains("NoSuchTagSet"), "{missing}");
    sender.ends(200, "PUT", &format!("{bucket}tagging"), "", &document(&[("team", "a"), ("env", "b")])).await;
    let born = "<CreateBucketConfiguration><Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags>\
                </CreateBucketConfiguration>";
    sender.ends(200, "PUT", "/born-with-tags", "", born).await;
    server.kill();
    server.start_again();
    let sender = Sender(&server);
    assert_eq!(sender.tags(&bucket).await, ["env=b", "team=a"]);
    assert_eq!(sender.tags("/born-with-tags?").await, ["k=v"]);
    sender.ends(204, "DELETE", &format!("{bucket}tagging"), "", "").await;
    sender.ends(404, "GET", &format!("{bucket}tagging"), "", "").await;
}

#[tokio::test]
async fn storage_classes_are_kept_and_shown_and_a_setting_refuses_them() {
    let mut server = server().await;
    let sender = Sender(&server);
    let key = format!("/{BUCKET}/k");
    let class = |name: &str| format!("x-amz-storage-class: {name}\r\n");
    sender.ends(200, "PUT", &key, &class("ONEZONE_IA"), "body").await;
    sender.ends(200, "PUT", &format!("/{BUCKET}/standard"), &class("STANDARD"), "body").await;
    let head = sender.ends(200, "HEAD", &key, "", "").await;
    assert_eq!(header(&head, "x-amz-storage-class"), Some("onezone_ia"));
    let head = sender.ends(200, "HEAD", &format!("/{BUCKET}/standard"), "", "").await;
    assert_eq!(header(&head, "x-amz-storage-class"), None, "S3 does not show the standard class");
    for target in [format!("/{BUCKET}"), format!("/{BUCKET}?list-type=2"), format!("/{BUCKET}?versions")] {
        let list = sender.ends(200, "GET", &target, "", "").await;
        assert!(list.contains("<StorageClass>ONEZONE_IA</StorageClass>"), "{target}: {list}");
        assert!(list.contains("<StorageClass>STANDARD</StorageClass>"), "{target}: {list}");
    }
    let wanted = "x-amz-object-attributes: StorageClass\r\n";
    let attributes = sender.ends(200, "GET", &format!("{key}?attributes"), wanted, "").await;
    assert!(attributes.contains("<StorageClass>ONEZONE_IA</StorageClass>"), "{attributes}");

    let source = format!("x-amz-copy-source: {key}\r\n");
    sender.ends(200, "PUT", &format!("/{BUCKET}/copy"), &source, "").await;
    let head = sender.ends(200, "HEAD", &format!("/{BUCKET}/copy"), "", "").await;
    assert_eq!(header(&head, "x-amz-storage-class"), None, "a copy is of the class that it asks for");
    sender.ends(200, "PUT", &key, &format!("{source}{}", class("GLACIER_IR")), "").await;
    let head = sender.ends(200, "HEAD", &key, "", "").await;
    assert_eq!(header(&head, "x-amz-storage-class"), Some("glacier_ir"));

    let begun =
        sender.ends(200, "POST", &format!("/{BUCKET}/parts?uploads"), &class("STANDARD_IA"), "").await;
    let id = begun.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<')).expect("an id").0;
    for target in [format!("/{BUCKET}/parts?uploadId={id}"), format!("/{BUCKET}?uploads")] {
        let list = sender.ends(200, "GET", &target, "", "").await;
        assert!(list.contains("<StorageClass>STANDARD_IA</StorageClass>"), "{target}: {list}");
    }
    for name in ["GLACIER", "DEEP_ARCHIVE", "COLD"] {
        let refused = sender.ends(400, "PUT", &key, &class(name), "other").await;
        assert!(refused.contains("InvalidStorageClass"), "{name}: {refused}");
    }

    server.stop();
    server.set_flags(&["--storage-classes", "standard"]);
    server.start_again();
    let sender = Sender(&server);
    let refused = sender.ends(400, "PUT", &format!("/{BUCKET}/new"), &class("STANDARD_IA"), "other").await;
    assert!(refused.contains("InvalidStorageClass"), "{refused}");
    let head = sender.ends(200, "HEAD", &key, "", "").await;
    assert_eq!(header(&head, "x-amz-storage-class"), Some("glacier_ir"), "what is stored is still shown");
}
