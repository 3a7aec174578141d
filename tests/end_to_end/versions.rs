//! These tests check the versions of keys over S3: what each write and delete does with the stack of
//! a key, what reads and copies of a version answer, and that a kill changes none of it.
//!
//! Every stack is compared as a whole: by its listing, by reading each version by its id, by the
//! plain GET, and by both listings of objects ([`Bed::holds`]).

use crate::forms::PLAIN;
use crate::multipart::PART_BYTES;
use crate::support::{BUCKET, refusal};
use aws_sdk_s3::types::{Delete, DeletedObject, ObjectIdentifier};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::raw_http::{self, Answer};
use ringbolt_tests::{Content, Server, ServerOptions};
use ringbolt_tool_common::s3::answer::elements;
use ringbolt_tool_common::s3::sign::{Canonical, Credentials, authorization, sha256_hex, timestamp_now};

pub const NULL: &str = "null";
/// No key has a version with this id, which is well-formed.
const NO_ID: &str = "0123456789abcdef0123456789abcdef";

/// A server whose bucket keeps versions.
pub struct Bed {
    pub server: Server,
}

/// One version as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub id: String,
    pub is_latest: bool,
    /// Holds the size of an object, and nothing of a delete marker.
    pub size_bytes: Option<usize>,
}

/// A version that must be there: its id, and its body unless it is a delete marker.
pub type Wanted = (String, Option<Vec<u8>>);

pub fn object(id: &str, body: impl AsRef<[u8]>) -> Wanted {
    (id.to_owned(), Some(body.as_ref().to_vec()))
}

pub fn marker(id: &str) -> Wanted {
    (id.to_owned(), None)
}

pub fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub fn text(answer: &Answer) -> String {
    format!("{}\n{}", answer.head, String::from_utf8_lossy(&answer.body))
}

/// Returns the code of an error.
pub fn code(answer: &Answer) -> String {
    elements(&text(answer), "Code").next().unwrap_or_default().to_owned()
}

/// Returns the version that an answer names.
pub fn version(answer: &Answer) -> Option<String> {
    header(answer, "x-amz-version-id").map(str::to_owned)
}

fn is_marker(answer: &Answer) -> bool {
    match header(answer, "x-amz-delete-marker") {
        None => false,
        Some("true") => true,
        Some(other) => panic!("x-amz-delete-marker is {other}: {}", text(answer)),
    }
}

/// Returns the versions and delete markers of a page, in its order.
pub fn listed(page: &str) -> Vec<Listed> {
    let of = |name: &'static str| {
        let open = format!("<{name}>");
        let places: Vec<usize> = page.match_indices(&open).map(|(at, _)| at).collect();
        places.into_iter().zip(elements(page, name).map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut found = [of("Version"), of("DeleteMarker")].concat();
    found.sort_unstable();
    let entry = |(_, inner): (usize, String)| {
        let one = |name| elements(&inner, name).next().unwrap_or_else(|| panic!("no {name} in {inner}"));
        assert_eq!(elements(&inner, "ETag").count(), elements(&inner, "Size").count(), "{inner}");
        Listed {
            key: one("Key").to_owned(),
            id: one("VersionId").to_owned(),
            is_latest: one("IsLatest") == "true",
            size_bytes: elements(&inner, "Size").next().map(|size| size.parse().expect("a size")),
        }
    };
    found.into_iter().map(entry).collect()
}

impl Bed {
    /// Starts a server whose bucket has the given versioning, or none that was ever set.
    pub async fn new(versioning: Option<&str>) -> Self {
        Self::with(ServerOptions::default(), versioning).await
    }

    pub async fn with(options: ServerOptions, versioning: Option<&str>) -> Self {
        let bed = Self { server: Server::start(options) };
        assert_eq!(bed.send("PUT", "", "", b"").await.status, 200, "create the bucket");
        if let Some(versioning) = versioning {
            bed.set(versioning).await;
        }
        bed
    }

    /// Sends a request for what is behind the bucket's name. As S3 demands, all `x-amz-*` of `headers`
    /// are signed.
    pub async fn send(&self, method: &str, rest: &str, headers: &str, body: &[u8]) -> Answer {
        let (path, payload, timestamp) = (format!("/{BUCKET}{rest}"), sha256_hex(body), timestamp_now());
        let host = self.server.endpoint().trim_start_matches("http://");
        let own = [("host", host), ("x-amz-content-sha256", &payload), ("x-amz-date", &timestamp)];
        let given = headers.lines().filter_map(|line| line.split_once(": "));
        let signed = own.into_iter().chain(given.filter(|(name, _)| name.starts_with("x-amz-")));
        let canonical = Canonical {
            method,
            path: &path,
            headers: signed.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            payload: &payload,
            timestamp: &timestamp,
        };
        let credentials = Credentials {
            access_key: MAIN.access_key.to_owned(),
            secret_key: MAIN.secret_key.to_owned(),
            region: "us-east-1".to_owned(),
        };
        let head = format!(
            "x-amz-content-sha256: {payload}\r\nx-amz-date: {timestamp}\r\nAuthorization: {}\r\n{headers}",
            authorization(&credentials, &canonical)
        );
        let url = format!("{}{path}", self.server.endpoint());
        raw_http::request_with(method, &url, &head, body).await.expect("an answer")
    }

    /// Sends a request that must succeed.
    pub async fn good(&self, method: &str, rest: &str, headers: &str, body: &[u8]) -> Answer {
        let answer = self.send(method, rest, headers, body).await;
        assert!((200..300).contains(&answer.status), "{method} {rest}: {}", text(&answer));
        answer
    }

    pub async fn set(&self, versioning: &str) {
        let document = format!(
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Status>{versioning}</Status></VersioningConfiguration>"
        );
        self.good("PUT", "?versioning", "", document.as_bytes()).await;
        let shown = text(&self.good("GET", "?versioning", "", b"").await);
        assert_eq!(elements(&shown, "Status").next(), Some(versioning), "{shown}");
    }

    /// Puts an object and returns the version that the answer names.
    pub async fn put(&self, key: &str, body: impl AsRef<[u8]>) -> Option<String> {
        version(&self.good("PUT", &format!("/{key}"), "", body.as_ref()).await)
    }

    /// Puts an object where a version must be named.
    pub async fn put_version(&self, key: &str, body: impl AsRef<[u8]>) -> String {
        self.put(key, body).await.expect("the answer names the version")
    }

    /// Deletes without a version id, where a marker must be added, and returns the marker's id.
    pub async fn mark(&self, key: &str) -> String {
        let answer = self.good("DELETE", &format!("/{key}"), "", b"").await;
        assert!(answer.status == 204 && is_marker(&answer), "{}", text(&answer));
        version(&answer).expect("the answer names the marker")
    }

    /// Deletes a version for good; says whether the answer calls it a marker.
    pub async fn remove(&self, key: &str, id: &str) -> bool {
        let answer = self.good("DELETE", &format!("/{key}?versionId={id}"), "", b"").await;
        assert_eq!((answer.status, version(&answer).as_deref()), (204, Some(id)), "{}", text(&answer));
        is_marker(&answer)
    }

    /// Copies `source` (bucket, key and perhaps version) and returns the answer.
    pub async fn copy(&self, key: &str, source: &str, headers: &str) -> Answer {
        let headers = format!("x-amz-copy-source: {source}\r\n{headers}");
        self.send("PUT", &format!("/{key}"), &headers, b"").await
    }

    /// Uploads one part and completes the upload; returns the answer and the upload's id.
    pub async fn upload(&self, key: &str, body: &[u8]) -> (Answer, String) {
        let created = text(&self.good("POST", &format!("/{key}?uploads"), "", b"").await);
        let id = elements(&created, "UploadId").next().expect("an id").to_owned();
        let part = self.good("PUT", &format!("/{key}?partNumber=1&uploadId={id}"), "", body).await;
        let etag = header(&part, "ETag").expect("an ETag").to_owned();
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let rest = format!("/{key}?uploadId={id}");
        let done = self.good("POST", &rest, "", document.as_bytes()).await;
        assert_eq!(version(&done), version(&self.good("POST", &rest, "", document.as_bytes()).await));
        (done, id)
    }

    /// Returns the whole listing of versions.
    pub async fn versions(&self) -> Vec<Listed> {
        listed(&text(&self.good("GET", "?versions", "", b"").await))
    }

    /// Fails the test unless the versions of `key` are these, the newest first.
    pub async fn holds(&self, key: &str, wanted: &[Wanted]) {
        let all = self.versions().await.into_iter().filter(|version| version.key == key);
        let expected: Vec<Listed> = wanted
            .iter()
            .enumerate()
            .map(|(at, (id, body))| Listed {
                key: key.to_owned(),
                id: id.clone(),
                is_latest: at == 0,
                size_bytes: body.as_ref().map(Vec::len),
            })
            .collect();
        assert_eq!(all.collect::<Vec<_>>(), expected, "the versions of {key}");
        for (id, body) in wanted {
            self.reads(key, Some(id), Some((id, body.as_deref()))).await;
        }
        let newest = wanted.first().map(|(id, body)| (id.as_str(), body.as_deref()));
        self.reads(key, None, newest).await;
        let is_object = newest.is_some_and(|(_, body)| body.is_some());
        for list in ["?list-type=2", ""] {
            let page = text(&self.good("GET", list, "", b"").await);
            let there = elements(&page, "Key").any(|found| found == key);
            assert_eq!(there, is_object, "{key} in the listing {list}: {page}");
        }
    }

    /// Fails the test unless GET and HEAD of `key` find this version, a delete marker, or nothing.
    async fn reads(&self, key: &str, id: Option<&str>, wanted: Option<(&str, Option<&[u8]>)>) {
        let rest = id.map_or(format!("/{key}"), |id| format!("/{key}?versionId={id}"));
        let (get, head) = (self.send("GET", &rest, "", b"").await, self.send("HEAD", &rest, "", b"").await);
        let (status, error) = match (wanted, id) {
            (Some((_, Some(_))), _) => (200, None),
            (Some((_, None)), Some(_)) => (405, Some("MethodNotAllowed")),
            (None, Some(_)) => (404, Some("NoSuchVersion")),
            (_, None) => (404, Some("NoSuchKey")),
        };
        for answer in [&get, &head] {
            assert_eq!(answer.status, status, "{rest}: {}", text(answer));
            assert_eq!(version(answer).as_deref(), wanted.map(|(id, _)| id), "{rest}: {}", text(answer));
            let marks = matches!(wanted, Some((_, None)));
            assert_eq!(is_marker(answer), marks, "{rest}: {}", text(answer));
            if status == 405 {
                assert_eq!(header(answer, "Allow"), Some("DELETE"), "{}", text(answer));
                let date = header(answer, "Last-Modified").unwrap_or_default();
                assert!(date.ends_with(" GMT"), "{}", text(answer));
            }
        }
        assert!(head.body.is_empty(), "{}", text(&head));
        match (error, wanted) {
            (Some(error), _) => assert_eq!(code(&get), error, "{}", text(&get)),
            (None, Some((_, Some(body)))) => assert!(get.body == body, "{rest} has another body"),
            (None, _) => unreachable!("only an object is 200"),
        }
    }

    /// Fails the test unless the keys hold these versions, now and after a kill and a restart.
    pub async fn holds_after_a_kill(&mut self, stacks: &[(&str, &[Wanted])]) {
        for life in 0..2 {
            for (key, wanted) in stacks {
                self.holds(key, wanted).await;
            }
            if life == 0 {
                self.server.kill();
                self.server.start_again();
            }
        }
    }
}

#[tokio::test]
async fn what_a_suspended_bucket_writes_replaces_the_null_version_wherever_it_stands() {
    let mut bed = Bed::new(None).await;
    assert_eq!(bed.put("k", "0").await, None, "the bucket keeps no versions");
    bed.put("other", "copied").await;
    bed.set("Enabled").await;
    bed.holds("k", &[object(NULL, "0")]).await;
    let first = bed.put_version("k", "1").await;
    bed.holds("k", &[object(&first, "1"), object(NULL, "0")]).await;
    bed.set("Suspended").await;
    // Deletes collapse onto one null marker, which replaced the null version beneath.
    for _ in 0..3 {
        assert_eq!(bed.mark("k").await, NULL);
        bed.holds("k", &[marker(NULL), object(&first, "1")]).await;
    }
    assert_eq!(bed.put("k", "2").await, None, "the null version is not named");
    bed.holds("k", &[object(NULL, "2"), object(&first, "1")]).await;
    bed.set("Enabled").await;
    let third = bed.put_version("k", "3").await;
    bed.set("Suspended").await;
    assert_eq!(bed.put("k", "4").await, None);
    bed.holds("k", &[object(NULL, "4"), object(&third, "3"), object(&first, "1")]).await;
    // A null marker beneath other versions is replaced by a copy, and that by a Complete.
    assert_eq!(bed.mark("k").await, NULL);
    bed.set("Enabled").await;
    let fifth = bed.put_version("k", "5").await;
    bed.holds("k", &[object(&fifth, "5"), marker(NULL), object(&third, "3"), object(&first, "1")]).await;
    bed.set("Suspended").await;
    let copied = bed.copy("k", &format!("{BUCKET}/other"), "").await;
    assert_eq!((copied.status, version(&copied)), (200, None), "{}", text(&copied));
    assert_eq!(header(&copied, "x-amz-copy-source-version-id"), Some(NULL), "{}", text(&copied));
    let below = [object(&fifth, "5"), object(&third, "3"), object(&first, "1")];
    bed.holds("k", &[&[object(NULL, "copied")], &below[..]].concat()).await;
    bed.set("Enabled").await;
    let sixth = bed.put_version("k", "6").await;
    bed.set("Suspended").await;
    let body = Content::new(1, 100_000).bytes();
    assert_eq!(version(&bed.upload("k", &body).await.0), None);
    let stack = [&[object(NULL, &body), object(&sixth, "6")], &below[..]].concat();
    bed.holds_after_a_kill(&[("k", &stack), ("other", &[object(NULL, "copied")])]).await;
}

#[tokio::test]
async fn every_delete_of_an_enabled_bucket_adds_a_marker_and_a_removal_brings_back_the_next_version() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let one = bed.put_version("k", "one").await;
    let two = bed.put_version("k", "two").await;
    let markers = [bed.mark("k").await, bed.mark("k").await, bed.mark("k").await];
    let never = bed.mark("never").await;
    let stack = [
        marker(&markers[2]),
        marker(&markers[1]),
        marker(&markers[0]),
        object(&two, "two"),
        object(&one, "one"),
    ];
    bed.holds_after_a_kill(&[("k", &stack), ("never", &[marker(&never)])]).await;
    // Each removal of the newest brings back what is beneath it.
    for (at, (id, body)) in stack.iter().enumerate() {
        assert_eq!(bed.remove("k", id).await, body.is_none());
        bed.holds("k", &stack[at + 1..]).await;
    }
    assert!(bed.remove("never", &never).await);
    assert!(bed.versions().await.is_empty());
    bed.server.kill();
    bed.server.start_again();
    assert!(bed.versions().await.is_empty());
    bed.good("DELETE", "", "", b"").await;
}

#[tokio::test]
async fn an_id_that_names_no_version_is_not_found_and_one_that_is_none_is_refused() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let there = bed.put_version("k", "k").await;
    let gone = bed.put_version("k", "gone").await;
    bed.remove("k", &gone).await;
    let other = bed.put_version("other", "other").await;
    for id in [gone.as_str(), other.as_str(), NO_ID, NULL] {
        bed.reads("k", Some(id), None).await;
        let deleted = bed.send("DELETE", &format!("/k?versionId={id}"), "", b"").await;
        assert_eq!((deleted.status, is_marker(&deleted)), (204, false), "{id}: {}", text(&deleted));
        let copied = bed.copy("copy", &format!("{BUCKET}/k?versionId={id}"), "").await;
        assert_eq!((copied.status, code(&copied).as_str()), (404, "NoSuchVersion"), "{}", text(&copied));
    }
    let long = format!("{there}0");
    for id in ["x", "Null", "0123456789ABCDEF0123456789ABCDEF", &there[1..], &long] {
        for method in ["GET", "DELETE"] {
            let refused = bed.send(method, &format!("/k?versionId={id}"), "", b"").await;
            assert_eq!((refused.status, code(&refused).as_str()), (400, "InvalidArgument"), "{id}");
        }
        assert_eq!(bed.send("HEAD", &format!("/k?versionId={id}"), "", b"").await.status, 400, "{id}");
        let refused = bed.copy("copy", &format!("{BUCKET}/k?versionId={id}"), "").await;
        assert_eq!((refused.status, code(&refused).as_str()), (400, "InvalidArgument"), "{id}");
    }
    bed.holds_after_a_kill(&[("k", &[object(&there, "k")]), ("other", &[object(&other, "other")])]).await;
}

#[tokio::test]
async fn a_copy_brings_an_old_version_back_and_says_which_it_was() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let large = Content::new(3, 300_000).bytes();
    let old = version(&bed.good("PUT", "/k", "x-amz-meta-a: b\r\n", &large).await).expect("a version");
    let new = bed.put_version("k", "new").await;
    let gone = bed.mark("k").await;
    let of_marker = bed.copy("copy", &format!("{BUCKET}/k"), "").await;
    assert_eq!((of_marker.status, code(&of_marker).as_str()), (404, "NoSuchKey"), "{}", text(&of_marker));
    let restored = bed.copy("k", &format!("{BUCKET}/k?versionId={old}"), "").await;
    assert_eq!(restored.status, 200, "{}", text(&restored));
    assert_eq!(header(&restored, "x-amz-copy-source-version-id"), Some(old.as_str()));
    let restored = version(&restored).expect("a version");
    // Unchanged onto itself: a further version.
    let again = bed.copy("k", &format!("{BUCKET}/k"), "").await;
    assert_eq!(again.status, 200, "{}", text(&again));
    assert_eq!(header(&again, "x-amz-copy-source-version-id"), Some(restored.as_str()));
    let again = version(&again).expect("a version");
    let stack = [
        object(&again, &large),
        object(&restored, &large),
        marker(&gone),
        object(&new, "new"),
        object(&old, &large),
    ];
    bed.holds_after_a_kill(&[("k", &stack)]).await;
    for id in [&again, &restored, &old] {
        let head = bed.good("HEAD", &format!("/k?versionId={id}"), "", b"").await;
        assert_eq!(header(&head, "x-amz-meta-a"), Some("b"), "{}", text(&head));
    }
}

#[tokio::test]
async fn parts_and_forms_become_versions() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let first = Content::new(1, PART_BYTES + 4321).bytes();
    let (done, _) = bed.upload("k", &first).await;
    let one = version(&done).expect("a version");
    let two = bed.put_version("k", "two").await;
    // A part is copied out of the version that is named, though it is not the newest.
    let created = text(&bed.good("POST", "/k?uploads", "", b"").await);
    let id = elements(&created, "UploadId").next().expect("an id").to_owned();
    let source = format!(
        "x-amz-copy-source: {BUCKET}/k?versionId={one}\r\nx-amz-copy-source-range: bytes=4321-{}\r\n",
        first.len() - 1
    );
    let part = bed.good("PUT", &format!("/k?partNumber=7&uploadId={id}"), &source, b"").await;
    assert_eq!(header(&part, "x-amz-copy-source-version-id"), Some(one.as_str()), "{}", text(&part));
    let etag = elements(&text(&part), "ETag").next().expect("an ETag").to_owned();
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>7</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let done = bed.good("POST", &format!("/k?uploadId={id}"), "", document.as_bytes()).await;
    let three = version(&done).expect("a version");
    let form = PLAIN.post(&bed.server, b"form").await;
    assert_eq!(form.status, 204, "{}", text(&form));
    let four = version(&form).expect("the answer to a form names the version");
    let part = bed.good("GET", &format!("/k?partNumber=7&versionId={three}"), "", b"").await;
    assert!(part.status == 206 && part.body == first[4321..], "{}", part.head);
    let stack =
        [object(&four, "form"), object(&three, &first[4321..]), object(&two, "two"), object(&one, &first)];
    bed.holds_after_a_kill(&[("k", &stack)]).await;
    bed.set("Suspended").await;
    assert_eq!(version(&PLAIN.post(&bed.server, b"null").await), None);
    let stack = [&[object(NULL, "null")], &stack[..]].concat();
    bed.holds_after_a_kill(&[("k", &stack)]).await;
}

#[tokio::test]
async fn one_request_deletes_versions_and_adds_and_removes_markers() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let one = bed.put_version("k", "one").await;
    let two = bed.put_version("k", "two").await;
    let old = bed.mark("k").await;
    let kept = bed.put_version("kept", "kept").await;
    let named = [
        ("k", Some(one.as_str())),
        ("k", Some(&old)),
        ("kept", None),
        ("never", None),
        ("k", Some(NO_ID)),
        ("k", Some("no id")),
    ];
    let mut list = Delete::builder();
    for (key, id) in named {
        let object = ObjectIdentifier::builder().key(key).set_version_id(id.map(str::to_owned));
        list = list.objects(object.build().expect("a key"));
    }
    let client = bed.server.client(&MAIN);
    let request = client.delete_objects().bucket(BUCKET).delete(list.build().expect("keys"));
    let answer = request.send().await.map_err(refusal).expect("delete");
    let shown = |deleted: &DeletedObject| {
        let DeletedObject { version_id, delete_marker, delete_marker_version_id, .. } = deleted.clone();
        (version_id, delete_marker, delete_marker_version_id)
    };
    let deleted: Vec<_> = answer.deleted().iter().map(shown).collect();
    // Where a marker was removed or added, it is named; where an object was removed, nothing is said.
    let added = [2, 3].map(|at| deleted[at].2.clone().expect("the marker's id"));
    let is_added = |marker: &String| (None, Some(true), Some(marker.clone()));
    let expected = [
        (Some(one.clone()), None, None),
        (Some(old.clone()), Some(true), Some(old)),
        is_added(&added[0]),
        is_added(&added[1]),
        (Some(NO_ID.to_owned()), None, None),
    ];
    assert_eq!(deleted, expected);
    let errors: Vec<_> = answer.errors().iter().map(|error| (error.code(), error.version_id())).collect();
    assert_eq!(errors, [(Some("InvalidArgument"), Some("no id"))]);
    let (k, kept) = ([object(&two, "two")], [marker(&added[0]), object(&kept, "kept")]);
    bed.holds_after_a_kill(&[("k", &k), ("kept", &kept), ("never", &[marker(&added[1])])]).await;
}
