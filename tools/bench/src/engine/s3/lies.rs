//! These tests run whole jobs against a small S3 server that sends something other than what was
//! requested.
//!
//! Regression: `ringbolt bench` accepted any body as the object, so that a server that sent nothing
//! won every comparison.

use super::tests::read_request;
use crate::cli::RunOptions;
use crate::engine::testing::job;
use crate::result::JobResult;
use crate::run::{self, Unwatched};
use crate::spec::{BlockSize, ByDirection, Checksum, ErrorKinds, Job, ObjectOp, Plan, Verify};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Says what the server sends instead of the right response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Nothing,
    FlippedByte,
    OtherObject,
    /// Sends the bytes of another range, with the right length and Content-Range.
    OtherBytes,
    /// Sends half of the body, with the length of that half.
    Short,
    Empty,
    /// Sends half of the body, with the length of the whole.
    BrokenOff,
    Longer,
    OtherContentRange,
    /// Sends status 200 and the whole object in response to a range request.
    WholeForRange,
    /// Sends status 206 in response to a request for the whole object.
    RangeForWhole,
    HeadOfOtherLength,
    EmptyListing,
    /// Sends status 200 without a body where a document is expected.
    EmptyDocument,
}

struct Server {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    lie: Lie,
}

/// Starts a server with this lie, and returns its address.
fn server(lie: Lie) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = Arc::new(Server { objects: Mutex::default(), lie });
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let server = server.clone();
            std::thread::spawn(move || {
                while let Some(request) = read_request(&mut stream) {
                    if server.answer(&mut stream, &request).is_none() {
                        return;
                    }
                }
            });
        }
    });
    host
}

impl Server {
    /// Answers one request; returns `None` when the connection ends with the response.
    fn answer(&self, stream: &mut TcpStream, request: &[u8]) -> Option<()> {
        let head_end = request.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_bucket = path.matches('/').count() < 2;
        let mut objects = self.objects.lock().unwrap();
        let answer = match method {
            "GET" if is_bucket => plain(&self.listing(&objects, query)),
            "HEAD" if is_bucket => plain(b""),
            "PUT" if head.contains("x-amz-copy-source") && self.lie != Lie::EmptyDocument => {
                plain(b"<CopyObjectResult/>")
            }
            "PUT" => {
                objects.insert(path.to_owned(), request[head_end..].to_vec());
                plain(b"")
            }
            "DELETE" => {
                objects.remove(path);
                plain(b"")
            }
            "HEAD" => {
                let length = objects.get(path)?.len() + usize::from(self.lie == Lie::HeadOfOtherLength);
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes()
            }
            _ => self.body(&objects, path, &head)?,
        };
        stream.write_all(&answer).ok()?;
        (self.lie != Lie::BrokenOff || method != "GET" || is_bucket).then_some(())
    }

    fn listing(&self, objects: &BTreeMap<String, Vec<u8>>, query: &str) -> Vec<u8> {
        // Preparation lists by label, which ends with a slash; the list operation lists by page.
        if self.lie == Lie::EmptyListing && !query.ends_with("%2F") {
            return Vec::new();
        }
        let entry = |(path, body): (&String, &Vec<u8>)| {
            let key = path.trim_start_matches("/bench/");
            format!("<Contents><Key>{key}</Key><Size>{}</Size></Contents>", body.len())
        };
        objects.iter().map(entry).collect::<String>().into_bytes()
    }

    fn body(&self, objects: &BTreeMap<String, Vec<u8>>, path: &str, head: &str) -> Option<Vec<u8>> {
        let whole = objects.get(path)?;
        let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
        let range = range.and_then(|range| {
            let (first, last) = range.split_once('-')?;
            Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()? + 1))
        });
        let (mut start, mut end) = range.unwrap_or((0, whole.len()));
        let said = format!("bytes {start}-{}/{}", end - 1, whole.len());
        let mut status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let mut header = range.map_or(String::new(), |_| format!("Content-Range: {said}\r\n"));
        let mut source = whole;
        match self.lie {
            Lie::OtherObject => source = objects.iter().find(|(other, _)| *other != path)?.1,
            Lie::OtherBytes if start == 0 => (start, end) = (end, end * 2),
            Lie::OtherBytes => (start, end) = (0, end - start),
            Lie::OtherContentRange => header = "Content-Range: bytes 1-4096/8192\r\n".into(),
            Lie::WholeForRange => (start, end, status) = (0, whole.len(), "200 OK"),
            Lie::RangeForWhole => status = "206 Partial Content",
            _ => {}
        }
        let mut body = source[start..end].to_vec();
        let mut length = body.len();
        match self.lie {
            Lie::FlippedByte => body[length / 2 + 100] ^= 0x20,
            Lie::Short | Lie::BrokenOff => body.truncate(length / 2),
            Lie::Empty => body.clear(),
            Lie::Longer => body.push(7),
            _ => {}
        }
        if self.lie != Lie::BrokenOff {
            length = body.len();
        }
        let head = format!("HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\n\r\n");
        Some([head.into_bytes(), body].concat())
    }
}

fn plain(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// Returns a job of 20 gets of 8 objects that continues after errors.
fn get_job(lie: Lie) -> Job {
    let mut job = job(&server(lie), 4);
    job.block = ByDirection::same(BlockSize::Fixed(16_384));
    job.objects.objects = 8;
    job.objects.ops = Some(vec![(ObjectOp::Get, 1)]);
    (job.number_ios, job.loops) = (Some(5), 4);
    job.continue_on_error = ErrorKinds { read: true, write: true, verify: true };
    job
}

fn run_job(job: &Job) -> JobResult {
    let plan = Plan { jobs: vec![job.clone()], ..Plan::default() };
    run::run(&plan, &RunOptions::default(), &mut Unwatched).unwrap().jobs.remove(0)
}

fn verified(mut job: Job, checksum: Checksum) -> Job {
    job.verify = Some(Verify { read_back: true, fatal: false, by_pattern: false });
    job.checksum = checksum;
    job
}

fn ranged(mut job: Job) -> Job {
    job.objects.range_bytes = Some(8192);
    job
}

#[test]
fn a_body_of_another_length_or_range_is_a_failure_without_verification_too() {
    for (lie, is_ranged) in [
        (Lie::Short, false),
        (Lie::Short, true),
        (Lie::Empty, false),
        (Lie::Empty, true),
        (Lie::BrokenOff, false),
        (Lie::BrokenOff, true),
        (Lie::Longer, false),
        (Lie::Longer, true),
        (Lie::OtherContentRange, true),
        (Lie::WholeForRange, true),
        (Lie::RangeForWhole, false),
    ] {
        let job = if is_ranged { ranged(get_job(lie)) } else { get_job(lie) };
        let result = run_job(&job).by_direction.read;
        assert_eq!((result.ios, result.failed_ios), (0, 20), "{lie:?}");
    }
}

#[test]
fn other_bytes_are_counted_and_named() {
    for checksum in [Checksum::Crc32c, Checksum::Sha256] {
        for (lie, is_ranged, words) in [
            (Lie::FlippedByte, false, "offset 8192: its checksum is "),
            (Lie::FlippedByte, true, "its checksum is "),
            (Lie::OtherObject, false, "offset 0: bytes of object "),
            (Lie::OtherObject, true, "bytes of object "),
            (Lie::OtherBytes, true, "the bytes of offset "),
        ] {
            let job = verified(get_job(lie), checksum);
            let job = if is_ranged { ranged(job) } else { job };
            let result = run_job(&job);
            let text = result.error_text.as_ref().unwrap();
            assert!(text.contains(words) && text.contains("object "), "{lie:?}: {text}");
            assert_eq!(result.by_direction.read.ios, 20, "{lie:?}");
            assert!(result.verify_failures >= 20, "{lie:?}: {}", result.verify_failures);
            let ended = run_job(&Job { continue_on_error: ErrorKinds::default(), ..job });
            assert!(ended.error != 0 && ended.by_direction.read.ios < 20, "{lie:?}");
        }
    }
}

#[test]
fn what_an_honest_server_gives_is_right() {
    for checksum in [Checksum::Crc32c, Checksum::Sha256] {
        for is_ranged in [false, true] {
            let mut job = verified(get_job(Lie::Nothing), checksum);
            job.block = ByDirection::same(BlockSize::Range { least: 5000, most: 20_000 });
            job.objects.ops = Some(vec![(ObjectOp::Get, 1), (ObjectOp::Put, 1), (ObjectOp::Head, 1)]);
            job.number_ios = Some(30);
            let result = run_job(&if is_ranged { ranged(job) } else { job });
            assert_eq!((result.verify_failures, &result.error_text), (0, &None));
            let [read, write] = [&result.by_direction.read, &result.by_direction.write];
            // Each object that was put is read back after each pass.
            assert!((read.failed_ios, write.failed_ios) == (0, 0) && write.ios >= 8 && read.ios >= 24);
        }
    }
}

#[test]
fn what_is_read_back_after_puts_is_checked() {
    let mut job = verified(get_job(Lie::FlippedByte), Checksum::Crc32c);
    job.objects.ops = Some(vec![(ObjectOp::Put, 1)]);
    job.block.write = BlockSize::Fixed(4096);
    let result = run_job(&job);
    assert_eq!((result.by_direction.write.ios, result.by_direction.write.failed_ios), (20, 0));
    assert!(result.verify_failures >= 5 && result.verify_failures == result.by_direction.read.ios);
}

#[test]
fn empty_answers_to_other_operations_are_failures() {
    for (lie, op) in [
        (Lie::HeadOfOtherLength, ObjectOp::Head),
        (Lie::EmptyListing, ObjectOp::List),
        (Lie::EmptyDocument, ObjectOp::Copy),
        (Lie::EmptyDocument, ObjectOp::Multipart),
    ] {
        let mut job = get_job(lie);
        job.objects.ops = Some(vec![(op, 1)]);
        let result = run_job(&job).by_direction;
        assert_eq!(
            (result.read.ios + result.write.ios, result.read.failed_ios + result.write.failed_ios),
            (0, 20),
            "{op:?}"
        );
    }
    for op in [ObjectOp::Head, ObjectOp::List, ObjectOp::Copy] {
        let mut job = get_job(Lie::Nothing);
        job.objects.ops = Some(vec![(op, 1)]);
        let result = run_job(&job).by_direction;
        assert_eq!(result.read.ios + result.write.ios, 20, "{op:?}");
    }
}
