//! This module prepares the bucket, and the objects that reads need, before the clock starts.

use super::failure::Failure;
use super::line::{Call, Line};
use super::operation::put;
use super::shared::Shared;
use super::sign::push_encoded;
use crate::engine::objects::{KEYS_OF_A_PAGE, ObjectSet};
use crate::spec::Direction;
use ringbolt_tool_common::s3::answer::elements;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// This region must be given without a location (S3, CreateBucket).
const FIRST_REGION: &str = "us-east-1";
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Says which objects this thread stores: those whose number modulo `threads` is `thread`.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub thread: u64,
    pub threads: u64,
}

/// Creates the bucket if it is missing.
///
/// # Errors
/// Fails when the server refuses.
pub async fn bucket(shared: &Shared) -> Result<(), Failure> {
    let mut line = shared.line(0);
    let mut body = Box::<[u8]>::default();
    shared.name_bucket(&mut line);
    line.render(&shared.signer, "HEAD", None);
    let call = Call { head_only: true, ..Call::PLAIN };
    match shared.watched(0, line.exchange(call, &mut body)).await {
        Err(failure) if failure.status() == Some(404) => {}
        outcome => return outcome.map(|_| ()),
    }
    if shared.region != FIRST_REGION {
        let region = &shared.region;
        let document = format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        );
        body = document.into_bytes().into();
    }
    match shared.watched(0, put(shared, &mut line, body.len() as u64, &mut body)).await {
        // Another thread was faster.
        Err(failure) if failure.status() == Some(409) => Ok(()),
        outcome => outcome.map(|_| ()),
    }
}

/// Stores the objects that reads need and that are missing or have another size.
///
/// # Errors
/// Returns the first failure.
pub async fn objects(
    shared: &Rc<Shared>,
    share: Share,
    progress: &mut dyn FnMut(f64),
) -> Result<(), Failure> {
    let present = present(shared).await?;
    let is_missing = |number: &u64| !present[*number as usize];
    let missing: Vec<u64> = (0..shared.objects.count)
        .filter(|number| number % share.threads == share.thread)
        .filter(is_missing)
        .collect();
    let work = Rc::new(Work { next: Cell::new(0), stopped: Cell::new(false), missing });
    let workers: Vec<_> = (0..shared.watches.len())
        .map(|slot| monoio::spawn(store(shared.clone(), work.clone(), slot)))
        .collect();
    let all = work.missing.len();
    while work.next.get() < all && !work.stopped.get() {
        progress(work.next.get() as f64 / all as f64);
        monoio::time::sleep(PROGRESS_EVERY).await;
    }
    for worker in workers {
        worker.await?;
    }
    progress(1.0);
    Ok(())
}

struct Work {
    missing: Vec<u64>,
    next: Cell<usize>,
    stopped: Cell<bool>,
}

async fn store(shared: Rc<Shared>, work: Rc<Work>, slot: usize) -> Result<(), Failure> {
    let mut line = shared.line(slot);
    let mut buffer = vec![0; shared.objects.largest_bytes as usize].into_boxed_slice();
    while let Some(number) = work.missing.get(work.next.get()).copied()
        && !work.stopped.get()
    {
        work.next.set(work.next.get() + 1);
        let length = shared.objects.size_bytes(Direction::Read, number);
        let body = &mut buffer[..length as usize];
        ObjectSet::fill(number, body);
        shared.objects.stamp(Direction::Read, number, 0, body);
        shared.name(&mut line, Direction::Read, number);
        let stored = shared.watched(slot, put(&shared, &mut line, length, &mut buffer)).await;
        work.stopped.set(work.stopped.get() || stored.is_err());
        stored?;
    }
    Ok(())
}

/// Returns for each number whether the object exists with the right size.
async fn present(shared: &Shared) -> Result<Vec<bool>, Failure> {
    let mut present = vec![false; shared.objects.count as usize];
    let mut line = shared.line(0);
    let mut after = String::new();
    loop {
        let page = page(shared, &mut line, shared.objects.label(Direction::Read), &after).await?;
        for (key, size) in &page.entries {
            let number = shared.objects.number_of(key).filter(|number| *number < shared.objects.count);
            if let Some(number) = number {
                present[number as usize] = *size == Some(shared.objects.size_bytes(Direction::Read, number));
            }
        }
        match page.entries.into_iter().next_back() {
            Some((last, _)) if page.has_more => after = last,
            _ => return Ok(present),
        }
    }
}

/// Holds a page of a listing.
pub struct Page {
    /// Holds the keys, and their sizes if they could be read.
    pub entries: Vec<(String, Option<u64>)>,
    pub has_more: bool,
}

/// Lists one page of the keys that begin with `label` and come after `after`.
///
/// # Errors
/// Fails when the server refuses.
pub async fn page(shared: &Shared, line: &mut Line, label: &str, after: &str) -> Result<Page, Failure> {
    shared.name_bucket(line);
    let query = &mut line.pieces.query;
    query.extend_from_slice(format!("list-type=2&max-keys={KEYS_OF_A_PAGE}&prefix=").as_bytes());
    push_encoded(label.as_bytes(), query);
    if !after.is_empty() {
        query.extend_from_slice(b"&start-after=");
        push_encoded(after.as_bytes(), query);
    }
    line.render(&shared.signer, "GET", None);
    let mut none = Box::default();
    shared.watched(0, line.exchange(Call::PLAIN, &mut none)).await?;
    let text = String::from_utf8_lossy(&line.text).into_owned();
    let field = |entry, name| elements(entry, name).next().unwrap_or_default();
    let entry = |entry| (field(entry, "Key").to_owned(), field(entry, "Size").parse().ok());
    Ok(Page {
        entries: elements(&text, "Contents").map(entry).collect(),
        has_more: elements(&text, "IsTruncated").next() == Some("true"),
    })
}
