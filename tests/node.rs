//! This module runs the engine without the server: a real node on a real drive file, with its cores
//! on separate threads.
//!
//! Invariant: no core ends before all have done their work, because each answers the others until
//! then.

use crate::Content;
use futures_util::future::{Either, select};
use ringbolt_engine::Result as EngineResult;
use ringbolt_engine::node::{
    Core, CoreSeed, Environment, FormatOptions, NodeOptions, OpenError, Redundancy, format_drive,
};
use ringbolt_engine::types::{
    BucketCreated, BucketId, Etag, ListItem, ListQuery, ObjectMeta, UploadId, WriteCondition,
};
use ringbolt_tool_common::executor::Executor;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Says how a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Ends with a checkpoint.
    Close,
    /// Ends as after `kill -9`.
    Drop,
}

/// Creates and formats a drive file.
pub fn format(path: &Path, size_bytes: u64, shards: u16, seed: u64) {
    format_set(&[path], size_bytes, shards, Redundancy::NONE, seed);
}

/// Creates and formats the drive files of a set, of which `failures_max` may be lost.
pub fn format_set(paths: &[&Path], size_bytes: u64, shards: u16, redundancy: Redundancy, seed: u64) {
    let seed = [seed, seed + 1, seed + 2, seed + 3];
    let size_bytes = Some(size_bytes);
    let options = FormatOptions { size_bytes, shards, redundancy: Some(redundancy), force: true, seed };
    format_drive(paths, &options, &mut |_, _| {}).expect("a drive is made");
}

pub fn options(path: PathBuf, cores: usize) -> NodeOptions {
    options_of_set(vec![path], cores)
}

pub fn options_of_set(drives: Vec<PathBuf>, cores: usize) -> NodeOptions {
    NodeOptions {
        drives,
        without_drives: Vec::new(),
        cores,
        arena_bytes_per_core: 48 << 20,
        read_cache_bytes_per_core: 0,
        index_bytes_max: 64 << 20,
        register_buffers: false,
        clock_step_max_ms: ringbolt_engine::types::rules::DAY_MS,
    }
}

/// Opens a node, does `work` on each of its cores, and ends it.
///
/// # Errors
/// Fails when the node does not open.
pub fn run<T, W, F>(seeds: Vec<CoreSeed>, end: End, work: W) -> Result<Vec<T>, OpenError>
where
    T: Send,
    W: Fn(Core) -> F + Sync,
    F: Future<Output = T>,
{
    run_in(seeds, end, |core, _| work(core))
}

/// Does the same as [`run`], and gives the work the environment of its core too.
///
/// # Errors
/// Fails when the node does not open.
pub fn run_in<T, W, F>(seeds: Vec<CoreSeed>, end: End, work: W) -> Result<Vec<T>, OpenError>
where
    T: Send,
    W: Fn(Core, Rc<dyn Environment>) -> F + Sync,
    F: Future<Output = T>,
{
    let crew = Crew { left: AtomicUsize::new(seeds.len()), ..Crew::default() };
    let outcomes: Vec<_> = std::thread::scope(|threads| {
        let run = |seed| threads.spawn(|| run_core(seed, &crew, end, &work));
        let cores: Vec<_> = seeds.into_iter().map(run).collect();
        let joined = cores.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|outcome| outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    // The error of the shard itself says more than "elsewhere".
    let elsewhere = |outcome: &Result<T, OpenError>| matches!(outcome, Err(OpenError::Elsewhere));
    match outcomes.iter().position(|outcome| outcome.is_err() && !elsewhere(outcome)) {
        Some(at) => outcomes.into_iter().nth(at).into_iter().collect(),
        None => outcomes.into_iter().collect(),
    }
}

/// Counts the cores that have not ended, and says whether one of them panicked.
#[derive(Default)]
struct Crew {
    left: AtomicUsize,
    panicked: AtomicBool,
}

/// Counts down when dropped, also when the work panics, so that the others do not wait for ever.
struct Leaving<'a>(&'a Crew);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.panicked.fetch_or(std::thread::panicking(), Ordering::SeqCst);
        self.0.left.fetch_sub(1, Ordering::SeqCst);
    }
}

fn run_core<T, F: Future<Output = T>>(
    seed: CoreSeed,
    crew: &Crew,
    end: End,
    work: &impl Fn(Core, Rc<dyn Environment>) -> F,
) -> Result<T, OpenError> {
    let leaving = Leaving(crew);
    let executor = Executor::new().expect("an executor");
    let environment = executor.environment();
    let core = seed.start(environment.clone())?;
    executor.attach(core.driver()).expect("the ring is attached");
    let whole = async {
        let outcome = match core.open().await {
            Ok(()) => Ok(work(core.clone(), environment.clone()).await),
            Err(error) => Err(error),
        };
        if outcome.is_ok() && end == End::Close {
            core.close().await.expect("a clean stop");
        }
        drop(leaving);
        while crew.left.load(Ordering::SeqCst) > 0 {
            environment.sleep(1).await;
        }
        outcome
    };
    let watch = async {
        while !crew.panicked.load(Ordering::SeqCst) {
            environment.sleep(5).await;
        }
    };
    match executor.run(select(pin!(whole), pin!(watch))).expect("the ring works") {
        Either::Left((outcome, _)) => outcome,
        Either::Right(_) => panic!("another core panicked"),
    }
}

/// Returns the bucket of this name, which is created if it is missing.
pub async fn bucket(core: &Core, name: &str) -> BucketId {
    match core.create_bucket(name, "owner", Vec::new()).await.expect("a bucket is made") {
        BucketCreated::New(bucket) | BucketCreated::Exists(bucket) => bucket.id,
    }
}

/// Returns a substitute for the MD5, which the engine does not compute.
pub fn etag(content: Content) -> Etag {
    let mut md5 = [0; 16];
    md5[..8].copy_from_slice(&content.seed.to_le_bytes());
    Etag { md5, parts: 0 }
}

/// Puts an object, and returns the generation of the version.
///
/// # Errors
/// Returns the errors of the engine.
pub async fn put(core: &Core, bucket: BucketId, key: &str, content: Content) -> EngineResult<u64> {
    let mut writer = core.put(bucket, key.as_bytes(), content.size_bytes as u64).await?;
    writer.write(&content.bytes()).await?;
    let meta = ObjectMeta { etag: etag(content), attributes: Vec::new() };
    writer.commit(meta, WriteCondition::default()).await.map(|info| info.generation)
}

/// Puts a part.
///
/// # Errors
/// Returns the errors of the engine.
pub async fn put_part(
    core: &Core,
    bucket: BucketId,
    key: &str,
    (upload, number): (UploadId, u16),
    content: Content,
) -> EngineResult<Etag> {
    let length = content.size_bytes as u64;
    let mut writer = core.put_part(bucket, key.as_bytes(), upload, number, length).await?;
    writer.write(&content.bytes()).await?;
    writer.commit_part(etag(content), Vec::new()).await.map(|part| part.etag)
}

/// Returns the whole body; `None` when there is no such key.
///
/// # Errors
/// Returns the errors of the engine.
pub async fn get(core: &Core, bucket: BucketId, key: &str) -> EngineResult<Option<Vec<u8>>> {
    let Some(mut reader) = core.get(bucket, key.as_bytes()).await? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(reader.info().size_bytes as usize);
    while let Some(chunk) = reader.next().await? {
        bytes.extend_from_slice(chunk.as_ref());
    }
    Ok(Some(bytes))
}

/// Lists every key of a bucket with its size, page by page.
///
/// # Errors
/// Returns the errors of the engine.
pub async fn list_all(core: &Core, bucket: BucketId) -> EngineResult<Vec<(String, usize)>> {
    let mut found = Vec::new();
    let mut query = ListQuery { max_items: 100, ..ListQuery::default() };
    loop {
        let page = core.list(bucket, &query).await?;
        for item in &page.items {
            if let ListItem::Object { key, size_bytes, .. } = item {
                found.push((String::from_utf8_lossy(key).into_owned(), *size_bytes as usize));
            }
        }
        match page.items.last() {
            Some(last) if page.truncated => query.after = last.name().to_vec(),
            _ => return Ok(found),
        }
    }
}
