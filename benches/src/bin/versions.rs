//! Compares a key of very many versions with as many keys of one version each, on a real drive file;
//! then ends the node as a kill does, opens it again, scrubs it, and checks the drive.
//!
//! `cargo run --release -p ringbolt-benches --bin versions`
//!
//! What is compared is CPU time for an operation, in turns on the same open node. It also lists a
//! prefix under which every key has only a delete marker: as objects, of which there are none, and as
//! versions.

use clap::Parser;
use ringbolt_benches::executor::Executor;
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::{own_cpu_us, pin_to_core};
use ringbolt_benches::verdict::exit_code;
use ringbolt_engine::check::{Finding, Progress, Watcher, check, open_media};
use ringbolt_engine::node::{
    Core, Environment, FormatOptions, NodeOptions, NodePlan, Opened, Redundancy, ScrubOptions, format_drive,
};
use ringbolt_engine::types::{
    BucketCreated, BucketId, Deleted, ListQuery, ObjectMeta, Version, VersionItem, Versioning, VersionsQuery,
    WriteCondition,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The key that has all versions.
const TALL: &[u8] = b"tall/key";
const PAGE: usize = 1000;

#[derive(Parser, Debug)]
#[command(about = "One key of very many versions, against as many keys of one version")]
struct Options {
    /// Versions of the key, keys of one version each, and keys with only a delete marker.
    #[arg(long, default_value_t = 1_000_000)]
    versions: u64,
    /// Where the drive file is made; must be on a file system with direct I/O.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Size of the drive file, GiB.
    #[arg(long, default_value_t = 6)]
    size_gib: u64,
    /// Turns of each side.
    #[arg(long, default_value_t = 11)]
    repeats: usize,
    /// Operations of a turn.
    #[arg(long, default_value_t = 2000)]
    operations: u64,
}

type AnyError = Box<dyn std::error::Error>;

/// The buckets and what is known of them.
struct Filled {
    tall: BucketId,
    wide: BucketId,
    marked: BucketId,
    /// Generations of the versions of the key, oldest first.
    generations: Vec<u64>,
}

fn wide_key(number: u64) -> Vec<u8> {
    format!("wide/{number:012}").into_bytes()
}

async fn bucket(core: &Core, name: &str) -> Result<BucketId, AnyError> {
    match core.create_bucket(name, "bench", Vec::new()).await? {
        BucketCreated::New(bucket) | BucketCreated::Exists(bucket) => Ok(bucket.id),
    }
}

async fn put(core: &Core, bucket: BucketId, key: &[u8]) -> Result<u64, AnyError> {
    let body = [7; 100];
    let mut writer = core.put(bucket, key, body.len() as u64).await?;
    writer.write(&body).await?;
    Ok(writer.commit(ObjectMeta::default(), WriteCondition::default()).await?.generation)
}

/// Puts with many in flight, so that they share group commits.
async fn fill(core: &Core, versions: u64) -> Result<Filled, AnyError> {
    const AT_ONCE: u64 = 64;
    let (tall, wide, marked) =
        (bucket(core, "tall").await?, bucket(core, "wide").await?, bucket(core, "marked").await?);
    // The null versions come first, and are the oldest.
    let mut generations = vec![put(core, tall, TALL).await?];
    for id in [tall, marked] {
        core.set_versioning(id, Versioning::Enabled).await?;
    }
    for first in (0..versions).step_by(AT_ONCE as usize) {
        let numbers = first..versions.min(first + AT_ONCE);
        let puts = numbers.clone().map(|_| put(core, tall, TALL));
        for generation in futures_util::future::join_all(puts).await {
            generations.push(generation?);
        }
        let puts = numbers.clone().map(|number| async move { put(core, wide, &wide_key(number)).await });
        for done in futures_util::future::join_all(puts).await {
            done?;
        }
        let marks = numbers.map(|number| async move {
            core.delete(marked, &wide_key(number), WriteCondition::default()).await
        });
        for done in futures_util::future::join_all(marks).await {
            done?;
        }
    }
    core.set_versioning(wide, Versioning::Enabled).await?;
    Ok(Filled { tall, wide, marked, generations })
}

async fn read(core: &Core, bucket: BucketId, key: &[u8], version: Version) -> Result<(), AnyError> {
    let Opened::Object(mut reader) = core.open_version(bucket, key, version).await? else {
        return Err(format!("{version:?} of {} is missing", String::from_utf8_lossy(key)).into());
    };
    while reader.next().await?.is_some() {}
    Ok(())
}

/// The operations that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    GetNewest,
    GetById,
    GetNull,
    ListVersions,
    PutSuspended,
    DeleteById,
}

impl Operation {
    const ALL: [Self; 6] = [
        Self::GetNewest,
        Self::GetById,
        Self::GetNull,
        Self::ListVersions,
        Self::PutSuspended,
        Self::DeleteById,
    ];
}

/// Does one operation on the key of many versions, or on one of many keys.
async fn once(core: &Core, filled: &mut Filled, operation: Operation, tall: bool) -> Result<(), AnyError> {
    let count = filled.generations.len() as u64 - 1;
    let key = if tall { TALL.to_vec() } else { wide_key(fastrand::u64(..count)) };
    let bucket = if tall { filled.tall } else { filled.wide };
    match operation {
        Operation::GetNewest => read(core, bucket, &key, Version::Newest).await,
        // The keys of one version have it from before their bucket kept versions.
        Operation::GetNull => read(core, bucket, &key, Version::Null).await,
        Operation::GetById => {
            let version = match tall {
                true => {
                    let at = fastrand::usize(1..filled.generations.len());
                    Version::Generation(filled.generations[at])
                }
                false => {
                    let newest = core.head(bucket, &key).await?.ok_or("a key is missing")?;
                    Version::Generation(newest.generation)
                }
            };
            read(core, bucket, &key, version).await
        }
        Operation::ListVersions => {
            let after_version = tall.then(|| {
                Version::Generation(filled.generations[fastrand::usize(PAGE + 1..filled.generations.len())])
            });
            let max_items = PAGE;
            let query =
                VersionsQuery { after_key: key, after_version, max_items, ..VersionsQuery::default() };
            let page = core.list_versions(bucket, &query).await?;
            if page.items.is_empty() { Err("a page is empty".into()) } else { Ok(()) }
        }
        Operation::PutSuspended => put(core, bucket, &key).await.map(drop),
        Operation::DeleteById => {
            // Each version is deleted once, and the key of one version is put again.
            let deleted = match tall {
                true => {
                    let at = fastrand::usize(1..filled.generations.len());
                    let generation = filled.generations.swap_remove(at);
                    let version = Version::Generation(generation);
                    core.delete_version(bucket, &key, version, WriteCondition::default()).await?
                }
                false => core.delete_version(bucket, &key, Version::Null, WriteCondition::default()).await?,
            };
            match deleted {
                Deleted::Removed { .. } => Ok(()),
                Deleted::Absent if !tall => Ok(()),
                other => Err(format!("a delete gives {other:?}").into()),
            }
        }
    }
}

/// Returns the CPU time of `operations` operations, microseconds for each.
async fn timed(
    core: &Core,
    filled: &mut Filled,
    operation: Operation,
    (tall, operations): (bool, u64),
) -> Result<f64, AnyError> {
    let before = own_cpu_us()?;
    for _ in 0..operations {
        once(core, filled, operation, tall).await?;
    }
    Ok((own_cpu_us()? - before) as f64 / operations as f64)
}

async fn compare(core: &Core, filled: &mut Filled, options: &Options) -> Result<bool, AnyError> {
    println!("CPU us an operation, medians of {} turns", options.repeats);
    println!("{:<16}{:>14}{:>14}{:>8}", "", "many versions", "many keys", "ratio");
    let mut well = true;
    for operation in Operation::ALL {
        let suspends = operation == Operation::PutSuspended;
        for id in [filled.tall, filled.wide].into_iter().filter(|_| suspends) {
            core.set_versioning(id, Versioning::Suspended).await?;
        }
        let operations = match operation {
            Operation::ListVersions => options.operations / 100 + 1,
            _ => options.operations,
        };
        let (mut tall, mut wide) = (Vec::new(), Vec::new());
        for _ in 0..options.repeats {
            tall.push(timed(core, filled, operation, (true, operations)).await?);
            wide.push(timed(core, filled, operation, (false, operations)).await?);
        }
        let (tall, wide) = (median(&tall), median(&wide));
        println!("{:<16}{tall:>14.2}{wide:>14.2}{:>8.2}", format!("{operation:?}"), tall / wide);
        well &= tall <= 2.0 * wide;
    }
    Ok(well)
}

/// Lists all keys that have only a delete marker, as objects and as versions.
async fn compare_markers(core: &Core, bucket: BucketId) -> Result<bool, AnyError> {
    let begun = own_cpu_us()?;
    let mut query = ListQuery { max_items: PAGE, ..ListQuery::default() };
    let (mut pages, mut slowest) = (0, Duration::ZERO);
    loop {
        let at = Instant::now();
        let page = core.list(bucket, &query).await?;
        slowest = slowest.max(at.elapsed());
        pages += 1;
        if !page.items.is_empty() {
            return Err("a deleted key is listed".into());
        }
        if !page.truncated {
            break;
        }
        query.after = page.next;
    }
    let as_objects = own_cpu_us()? - begun;
    let begun = own_cpu_us()?;
    let count = count_versions(core, bucket).await?;
    let as_versions = own_cpu_us()? - begun;
    println!(
        "{count} keys with only a delete marker: {as_objects} us of CPU as objects ({pages} pages, the slowest \
         {slowest:?}), {as_versions} us as versions"
    );
    Ok(as_objects <= as_versions)
}

async fn count_versions(core: &Core, bucket: BucketId) -> Result<u64, AnyError> {
    let mut query = VersionsQuery { max_items: PAGE, ..VersionsQuery::default() };
    let (mut count, mut last): (u64, Option<(Vec<u8>, u64)>) = (0, None);
    loop {
        let page = core.list_versions(bucket, &query).await?;
        count += page.items.len() as u64;
        for item in &page.items {
            let VersionItem::Version { key, generation, .. } = item else { continue };
            let follows =
                |(before, newer): &(Vec<u8>, u64)| before < key || before == key && newer > generation;
            if !last.as_ref().is_none_or(follows) {
                return Err("versions are not in order".into());
            }
            last = Some((key.clone(), *generation));
        }
        if !page.truncated {
            return Ok(count);
        }
        query.after_key = page.next.key;
        query.after_version = Some(Version::Generation(page.next.generation));
    }
}

fn open(executor: &Executor, drive: &Path) -> Result<Core, AnyError> {
    let at = Instant::now();
    let seeds = NodePlan::open(NodeOptions {
        drives: vec![drive.to_owned()],
        without_drives: Vec::new(),
        cores: 1,
        arena_bytes_per_core: 128 << 20,
        // Without a read cache, every read goes the same way.
        read_cache_bytes_per_core: 0,
        index_bytes_max: 4 << 30,
        register_buffers: false,
        clock_step_max_ms: ringbolt_engine::types::rules::DAY_MS,
    })?;
    let core = seeds.into_iter().next().ok_or("the node has no core")?.start(executor.environment())?;
    executor.attach(core.driver())?;
    executor.run(core.open())??;
    println!("opened in {:.2?}", at.elapsed());
    Ok(core)
}

/// Reads everything once, and returns what was found damaged.
async fn scrub(core: &Core, environment: &dyn Environment) -> Result<u64, AnyError> {
    core.start_scrub(ScrubOptions { bytes_per_second: 4 << 30, every_ms: 24 * 60 * 60 * 1000 });
    loop {
        let metrics = core.metrics().await?;
        let passes = metrics.shards.iter().map(|shard| shard.scrub.passes).min().unwrap_or(0);
        if passes > 0 {
            let objects: u64 = metrics.shards.iter().map(|shard| shard.scrub.objects).sum();
            println!("scrubbed {objects} versions");
            return Ok(metrics.shards.iter().map(|shard| shard.scrub.findings).sum());
        }
        environment.sleep(20).await;
    }
}

struct Count(u64);

impl Watcher for Count {
    fn finding(&mut self, finding: &Finding) {
        println!("check: {finding:?}");
        self.0 += 1;
    }

    fn progress(&mut self, _: &Progress) {}
}

fn run(options: &Options) -> Result<bool, AnyError> {
    pin_to_core(1)?;
    std::fs::create_dir_all(&options.dir)?;
    let drive = options.dir.join("versions.bin");
    let seed = [fastrand::u64(..), fastrand::u64(..), fastrand::u64(..), fastrand::u64(..)];
    let size_bytes = Some(options.size_gib << 30);
    let format =
        FormatOptions { size_bytes, shards: 1, redundancy: Some(Redundancy::NONE), force: true, seed };
    format_drive(&[drive.as_path()], &format, &mut |_, _| {})?;
    let (well, counts, ids) = {
        let executor = Executor::new()?;
        let core = open(&executor, &drive)?;
        let mut filled = executor.run(fill(&core, options.versions))??;
        let mut well = executor.run(compare(&core, &mut filled, options))??;
        well &= executor.run(compare_markers(&core, filled.marked))??;
        let ids = [filled.tall, filled.wide, filled.marked];
        let mut counts = Vec::new();
        for id in ids {
            counts.push(executor.run(count_versions(&core, id))??);
        }
        (well, counts, ids)
        // The node is dropped here, as after a kill: no checkpoint, no close.
    };
    let executor = Executor::new()?;
    let core = open(&executor, &drive)?;
    for (id, count) in ids.into_iter().zip(&counts) {
        let found = executor.run(count_versions(&core, id))??;
        if found != *count {
            return Err(format!("{found} versions after a kill, {count} before").into());
        }
    }
    println!("all {counts:?} versions are there after a kill");
    let findings = executor.run(scrub(&core, &*executor.environment()))??;
    executor.run(core.close())??;
    drop((core, executor));
    let mut seen = Count(0);
    let at = Instant::now();
    let outcome = check(&open_media(std::slice::from_ref(&drive))?, true, &mut seen)?;
    println!("checked {} versions in {:.2?}: {} findings", outcome.totals.objects, at.elapsed(), seen.0);
    std::fs::remove_file(&drive)?;
    Ok(well && findings == 0 && outcome.damage() == 0)
}

fn main() -> ExitCode {
    exit_code("versions", run(&Options::parse()))
}
