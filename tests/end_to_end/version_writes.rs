//! These tests check conditions on writes and deletes where a bucket keeps versions, writes and
//! reads that take long beside others, and changes of metadata that leave the data where they are.

use crate::support::{BUCKET, refusal};
use crate::versions::{Bed, NULL, Wanted, code, header, marker, object, text, version};
use aws_sdk_s3::presigning::PresigningConfig;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::raw_http::{self, Answer};
use ringbolt_tests::{Content, ServerOptions};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LONG_AGO: &str = "Thu, 01 Jan 2015 00:00:00 GMT";

async fn etag_of(bed: &Bed, rest: &str) -> String {
    let head = bed.good("HEAD", rest, "", b"").await;
    header(&head, "ETag").expect("an ETag").to_owned()
}

fn if_match(etag: &str) -> String {
    format!("If-Match: {etag}\r\n")
}

/// Puts an object under a condition, and returns the status and the code of the error.
async fn outcome(bed: &Bed, condition: &str) -> (u16, String) {
    let answer = bed.send("PUT", "/k", condition, b"x").await;
    (answer.status, code(&answer))
}

fn failed() -> (u16, String) {
    (412, "PreconditionFailed".to_owned())
}

#[tokio::test]
async fn conditions_of_a_put_are_judged_against_the_newest_version_alone() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let absent = (404, "NoSuchKey".to_owned());
    for condition in ["If-Match: *\r\n", "If-Match: \"bad\"\r\n"] {
        assert_eq!(outcome(&bed, condition).await, absent, "{condition}");
    }
    let first = bed.good("PUT", "/k", "If-None-Match: \"bad\"\r\n", b"1").await;
    let (first, old) = (version(&first).expect("a version"), etag_of(&bed, "/k").await);
    let second = bed.put_version("k", "2").await;
    assert_eq!(outcome(&bed, "If-None-Match: *\r\n").await, failed());
    assert_eq!(outcome(&bed, &if_match(&old)).await, failed(), "an older version");
    let third = bed.good("PUT", "/k", &format!("If-None-Match: {old}\r\n"), b"3").await;
    let third = version(&third).expect("a version");
    let etag = etag_of(&bed, "/k").await;
    let fourth = version(&bed.good("PUT", "/k", &if_match(&etag), b"4").await).expect("a version");
    let gone = bed.mark("k").await;
    // A delete marker is no object.
    for condition in ["If-Match: *\r\n", &if_match(&etag)] {
        assert_eq!(outcome(&bed, condition).await, absent, "{condition}");
    }
    let fifth = bed.good("PUT", "/k", "If-None-Match: *\r\n", b"5").await;
    let stack = [
        object(&version(&fifth).expect("a version"), "5"),
        marker(&gone),
        object(&fourth, "4"),
        object(&third, "3"),
        object(&second, "2"),
        object(&first, "1"),
    ];
    bed.holds_after_a_kill(&[("k", &stack)]).await;
}

/// A condition of a delete, and whether it holds for an object and for a delete marker.
type Condition = (String, bool, bool);

fn conditions(etag: &str, date: &str, size: usize) -> [Condition; 7] {
    let time = |date: &str| format!("x-amz-if-match-last-modified-time: {date}\r\n");
    let bytes = |size: usize| format!("x-amz-if-match-size: {size}\r\n");
    [
        (if_match("\"bad\""), false, false),
        (time(LONG_AGO), false, false),
        (bytes(size + 1), false, false),
        (if_match("*"), true, true),
        (if_match(etag), true, false),
        (time(date), true, true),
        (bytes(size), true, false),
    ]
}

#[tokio::test]
async fn a_conditional_delete_compares_with_the_newest_version() {
    let mut bed = Bed::new(Some("Enabled")).await;
    // Of a key without versions nothing is compared, and nothing is written.
    for (condition, ..) in conditions("\"0\"", LONG_AGO, 1) {
        let answer = bed.send("DELETE", "/k", &condition, b"").await;
        assert_eq!((answer.status, version(&answer)), (204, None), "{condition}{}", text(&answer));
    }
    assert!(bed.versions().await.is_empty());
    let mut stack: Vec<Wanted> = Vec::new();
    for (body, is_marker) in [("1", false), ("2", false), ("", true)] {
        for number in 0..conditions("", "", 0).len() {
            let (etag, date) = if is_marker {
                let id = bed.mark("k").await;
                stack.insert(0, marker(&id));
                let of_marker = bed.send("GET", &format!("/k?versionId={id}"), "", b"").await;
                ("\"0\"".to_owned(), header(&of_marker, "Last-Modified").expect("a date").to_owned())
            } else {
                let id = bed.put_version("k", body).await;
                stack.insert(0, object(&id, body));
                let head = bed.good("HEAD", "/k", "", b"").await;
                (
                    header(&head, "ETag").expect("an ETag").to_owned(),
                    header(&head, "Last-Modified").expect("a date").to_owned(),
                )
            };
            let (condition, for_object, for_marker) = conditions(&etag, &date, body.len())[number].clone();
            let answer = bed.send("DELETE", "/k", &condition, b"").await;
            if if is_marker { for_marker } else { for_object } {
                assert_eq!(answer.status, 204, "{condition}{}", text(&answer));
                assert_eq!(header(&answer, "x-amz-delete-marker"), Some("true"), "{}", text(&answer));
                stack.insert(0, marker(&version(&answer).expect("the marker")));
            } else {
                assert_eq!((answer.status, code(&answer)), failed(), "{condition}{}", text(&answer));
            }
        }
    }
    bed.holds_after_a_kill(&[("k", &stack)]).await;
}

#[tokio::test]
async fn a_conditional_delete_of_a_version_compares_with_that_version() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let mut kept: Vec<Wanted> = Vec::new();
    for number in 0..conditions("", "", 0).len() {
        let body = "x".repeat(number + 2);
        let id = bed.put_version("k", &body).await;
        let head = bed.good("HEAD", "/k", "", b"").await;
        let (etag, date) = (header(&head, "ETag"), header(&head, "Last-Modified"));
        // It is not the newest.
        let newer = bed.put_version("k", "n").await;
        let all = conditions(etag.expect("an ETag"), date.expect("a date"), body.len());
        let (condition, holds, _) = all[number].clone();
        let answer = bed.send("DELETE", &format!("/k?versionId={id}"), &condition, b"").await;
        if holds {
            assert_eq!((answer.status, version(&answer)), (204, Some(id.clone())), "{condition}");
            assert_eq!(header(&answer, "x-amz-delete-marker"), None, "{}", text(&answer));
            // It is gone: nothing is compared any more.
            let again = bed.send("DELETE", &format!("/k?versionId={id}"), &if_match("\"bad\""), b"").await;
            assert_eq!(again.status, 204, "{}", text(&again));
        } else {
            assert_eq!((answer.status, code(&answer)), failed(), "{condition}{}", text(&answer));
            kept.insert(0, object(&id, &body));
        }
        kept.insert(0, object(&newer, "n"));
    }
    bed.holds_after_a_kill(&[("k", &kept)]).await;
}

fn valid() -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(300)).expect("an expiry")
}

/// A PUT of which all but the last byte was sent.
struct SlowPut {
    stream: TcpStream,
    last: u8,
}

impl SlowPut {
    async fn begin(bed: &Bed, headers: &str, body: &[u8]) -> Self {
        let client = bed.server.client(&MAIN);
        let url = client.put_object().bucket(BUCKET).key("k").presigned(valid()).await.expect("signed");
        let (last, first) = body.split_last().expect("a body");
        let sent = raw_http::half_request_with("PUT", url.uri(), headers, body.len(), first).await;
        Self { stream: sent.expect("sent"), last: *last }
    }

    async fn end(mut self) -> Answer {
        self.stream.write_all(&[self.last]).await.expect("sent");
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).await.expect("an answer");
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_owned(), body: body.as_bytes().to_vec() }
    }
}

/// What is committed last is the newest, whenever it began.
#[tokio::test]
async fn a_conditional_put_that_began_before_a_later_put_and_commits_after_it_is_the_newer_one() {
    let mut bed = Bed::new(Some("Enabled")).await;
    let mut stack = vec![object(&bed.put_version("k", "0").await, "0")];
    // One is stored in the log, the other in slices, which are reserved while the body arrives.
    for size in [1000, 9_000_000] {
        let body = Content::new(size as u64, size).bytes();
        let slow = SlowPut::begin(&bed, "If-Match: *\r\n", &body).await;
        let refused = SlowPut::begin(&bed, &if_match(&etag_of(&bed, "/k").await), &body).await;
        stack.insert(0, object(&bed.put_version("k", "between").await, "between"));
        let answer = slow.end().await;
        assert_eq!(answer.status, 200, "{}", text(&answer));
        stack.insert(0, object(&version(&answer).expect("a version"), &body));
        // The version that this one named was the newest when it began, and is not any more.
        let answer = refused.end().await;
        assert_eq!((answer.status, code(&answer)), failed(), "{}", text(&answer));
    }
    // The state of the bucket counts as it is at the end.
    let slow = SlowPut::begin(&bed, "", b"null").await;
    stack.insert(0, object(&bed.put_version("k", "last").await, "last"));
    bed.set("Suspended").await;
    let answer = slow.end().await;
    assert_eq!((answer.status, version(&answer)), (200, None), "{}", text(&answer));
    stack.insert(0, object(NULL, "null"));
    bed.holds_after_a_kill(&[("k", &stack)]).await;
}

/// While one client reads a version slowly, it is deleted, and more is written than the drive holds.
#[tokio::test]
async fn a_long_get_stays_on_the_version_that_it_found() {
    let options = ServerOptions { size: "256MiB", shards: "1", ..ServerOptions::default() };
    let bed = Bed::with(options, Some("Enabled")).await;
    let content = Content::new(1, 48 << 20);
    let id = bed.put_version("k", content.bytes()).await;
    let client = bed.server.client(&MAIN);
    let url = client.get_object().bucket(BUCKET).key("k").presigned(valid()).await.expect("signed");
    let mut stream = raw_http::half_request("GET", url.uri(), 0, b"").await.expect("sent");
    let mut answer = vec![0; 100_000];
    stream.read_exact(&mut answer).await.expect("the beginning");
    let newer = bed.put_version("k", "newer").await;
    bed.remove("k", &id).await;
    bed.holds("k", &[object(&newer, "newer")]).await;
    for number in 0..10 {
        let other = Content::new(2 + number, 20 << 20).bytes();
        let id = bed.put_version("other", &other).await;
        bed.remove("other", &id).await;
    }
    stream.read_to_end(&mut answer).await.expect("the rest");
    let head_bytes = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..head_bytes]).into_owned();
    assert!(head.contains(&id), "{head}");
    assert_eq!(content.difference(&answer[head_bytes..]), None, "the body of the version that was found");
}

/// Returns the bytes written to drives and logs, and stored for users, so far.
async fn written(bed: &Bed) -> u64 {
    let url = format!("{}/ringbolt/metrics", bed.server.admin_endpoint());
    let answer = raw_http::request("GET", &url, b"").await.expect("an answer");
    let page = String::from_utf8(answer.body).expect("text");
    let of_drives = page.lines().filter(|line| line.starts_with("ringbolt_drive_written_bytes_total{"));
    let values: Vec<u64> =
        of_drives.map(|line| line.rsplit_once(' ').expect("a value").1.parse().expect("a number")).collect();
    assert!(!values.is_empty(), "{page}");
    values.iter().sum()
}

#[tokio::test]
async fn a_copy_onto_itself_with_other_metadata_leaves_the_data_where_they_are() {
    const SIZE: usize = 64 << 20;
    let mut bed = Bed::new(None).await;
    let content = Content::new(5, SIZE);
    let client = bed.server.client(&MAIN);
    let put = client.put_object().bucket(BUCKET).key("k").metadata("a", "before").content_type("text/plain");
    put.body(content.bytes().into()).send().await.map_err(refusal).expect("put");
    let asks = "x-amz-checksum-mode: ENABLED\r\n";
    let before = bed.good("HEAD", "/k", asks, b"").await;
    let was_written = written(&bed).await;
    let source = format!("{BUCKET}/k");
    let replace = "x-amz-metadata-directive: REPLACE\r\nx-amz-meta-b: after\r\n";
    let copied = bed.copy("k", &source, replace).await;
    assert_eq!((copied.status, version(&copied)), (200, None), "{}", text(&copied));
    let writes = written(&bed).await - was_written;
    assert!(writes < SIZE as u64 / 16, "{writes} bytes were written for {SIZE} bytes that stay");
    // The time of a change is that of the object; an answer shows whole seconds.
    let changed = loop {
        let head = bed.good("HEAD", "/k", asks, b"").await;
        if header(&head, "Last-Modified") != header(&before, "Last-Modified") {
            break head;
        }
        assert_eq!(bed.copy("k", &source, replace).await.status, 200);
    };
    for life in 0..2 {
        let head = bed.good("HEAD", "/k", asks, b"").await;
        for name in ["Last-Modified", "x-amz-meta-b"] {
            assert_eq!(header(&head, name), header(&changed, name), "life {life}");
        }
        assert_eq!(header(&head, "x-amz-meta-b"), Some("after"));
        assert_eq!(
            (header(&head, "x-amz-meta-a"), header(&head, "Content-Type")),
            (None, Some("binary/octet-stream"))
        );
        for name in ["ETag", "x-amz-checksum-crc32", "x-amz-checksum-type", "Content-Length"] {
            assert!(header(&head, name).is_some(), "{name}: {}", head.head);
            assert_eq!(header(&head, name), header(&before, name), "life {life}");
        }
        let whole = bed.good("GET", "/k", "", b"").await;
        assert_eq!(content.difference(&whole.body), None, "life {life}");
        bed.server.kill();
        bed.server.start_again();
    }
    bed.good("DELETE", "/k", "", b"").await;
}
