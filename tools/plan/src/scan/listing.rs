//! This module lists all objects of a bucket, page by page.
//!
//! Invariants: one page is in memory at a time, and a page counts only when it is complete. A
//! listing that would never end is an error: a token that occurs twice, a page that begins like an
//! earlier one, or too many pages without an object.

use super::collector::{Collector, Listed};
use super::endpoint::S3Source;
use super::error::ScanError;
use super::page::{Page, PageError, server_error};
use super::progress::Progress;
use crate::http::Http;
use ringbolt_tool_common::s3::sign::timestamp_now;
use std::time::Duration;

/// The limit is generous: 1000 keys of 1024 bytes, percent-encoded, with the XML around them, are a
/// quarter of this.
const PAGE_BYTES_MAX: u64 = 16 << 20;
/// Includes the first attempt.
const ATTEMPTS_MAX: u32 = 7;
/// The wait doubles after each attempt, up to the limit.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Servers may return empty pages where they skip deleted objects.
const EMPTY_PAGES_MAX: u64 = 10_000;

/// Adds every object of `source` to `collector`.
///
/// # Errors
/// Fails when the server cannot be reached, refuses, or returns something else than a listing.
pub fn scan(
    source: &S3Source,
    collector: &mut Collector,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ScanError> {
    let http = Http::default();
    let mut page = 0;
    let fetch = |token: Option<&str>| {
        page += 1;
        with_retries(tell, wait, || fetch_page(&http, source, page, token))
    };
    walk(fetch, collector, progress)
}

/// Reports the first failed attempt, because further ones may take long.
fn tell(error: &ScanError) {
    eprintln!("{error}; trying again");
}

fn wait(time: Duration) {
    // This is not a sleep that hides a race: the server asked for time, and there is no event to
    // wait for.
    let _ = std::sync::mpsc::channel::<()>().1.recv_timeout(time);
}

fn with_retries<T>(
    tell: impl Fn(&ScanError),
    mut wait: impl FnMut(Duration),
    mut ask: impl FnMut() -> Result<T, ScanError>,
) -> Result<T, ScanError> {
    let mut time = FIRST_WAIT;
    for attempt in 1..ATTEMPTS_MAX {
        match ask() {
            Err(error) if is_transient(&error) => {
                if attempt == 1 {
                    tell(&error);
                }
                // The wait is up to half as long again, so that clients that were refused together
                // do not return together.
                wait(time.mul_f64(1.0 + fastrand::f64() / 2.0));
                time = (time * 2).min(WAIT_MAX);
            }
            outcome => return outcome,
        }
    }
    ask()
}

fn is_transient(error: &ScanError) -> bool {
    match error {
        ScanError::Http(error) => error.is_transient(),
        ScanError::Server { status, .. } => *status >= 500 && *status != 501 || *status == 429,
        _ => false,
    }
}

fn fetch_page(http: &Http, source: &S3Source, page: u64, token: Option<&str>) -> Result<Page, ScanError> {
    // Each attempt is signed again, because a signature is valid for minutes only.
    let request = source.request(token, &timestamp_now());
    let answer = http.get(&request.url, &request.headers, PAGE_BYTES_MAX)?;
    let server_said = |(code, message): (String, String)| {
        let advice = advice(answer.status, &code);
        ScanError::Server { url: source.url(), status: answer.status, code, message, advice }
    };
    if answer.status != 200 {
        return Err(server_said(server_error(&answer.body)));
    }
    Page::parse(&answer.body).map_err(|error| match error {
        // Some servers detect an error after they have sent status 200.
        PageError::NoListing(root) if root == "<Error>" => server_said(server_error(&answer.body)),
        source_error => ScanError::Page { url: source.url(), page, source: source_error },
    })
}

fn advice(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "NoSuchBucket") => "; check the name of the bucket",
        (_, "AuthorizationHeaderMalformed" | "PermanentRedirect") | (301 | 307, _) => {
            "; the bucket is in another region: give it with --region, and the endpoint of that region"
        }
        (_, "RequestTimeTooSkewed") => "; set the clock of this machine",
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch") => {
            "; check access key and secret: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or RINGBOLT_ACCESS_KEY and \
             RINGBOLT_SECRET_KEY, which win"
        }
        (401 | 403, _) => {
            "; check the credentials in the environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or \
             RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY, which win), and that they may list this bucket \
             (s3:ListBucket)"
        }
        (501, _) | (400, _) => "; does this server have ListObjectsV2?",
        _ => "",
    }
}

/// Remembers an earlier page that later ones are compared with. It is kept for twice as many pages
/// each time (Brent's algorithm), so that a cycle of any length is found within a few rounds, with
/// the memory of one key.
#[derive(Default)]
struct Earlier {
    page: u64,
    first_key: Vec<u8>,
    until: u64,
}

fn walk(
    mut fetch: impl FnMut(Option<&str>) -> Result<Page, ScanError>,
    collector: &mut Collector,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ScanError> {
    let (mut token, mut number, mut empty) = (None::<String>, 0, 0);
    let mut earlier = Earlier::default();
    loop {
        let page = fetch(token.as_deref())?;
        number += 1;
        match page.objects.first() {
            Some(first) => {
                empty = 0;
                earlier.compare(number, &first.key)?;
            }
            None => empty += 1,
        }
        for object in &page.objects {
            collector.add(&Listed {
                key: &object.key,
                size_bytes: object.size_bytes,
                etag: object.etag.as_deref(),
                storage_class: object.storage_class.as_deref(),
            })?;
        }
        progress(Progress { objects: collector.objects(), total_bytes: collector.total_bytes() });
        let Some(next) = page.next_token else { return Ok(()) };
        if token.as_ref() == Some(&next) {
            return Err(ScanError::SameToken(next));
        }
        if empty >= EMPTY_PAGES_MAX {
            return Err(ScanError::EmptyPages(empty));
        }
        token = Some(next);
    }
}

impl Earlier {
    fn compare(&mut self, page: u64, first_key: &[u8]) -> Result<(), ScanError> {
        if self.page > 0 && self.first_key == first_key {
            let key = String::from_utf8_lossy(first_key).into_owned();
            return Err(ScanError::Circle { page, earlier: self.page, key });
        }
        if page >= self.until {
            *self = Self { page, first_key: first_key.to_vec(), until: page * 2 };
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
