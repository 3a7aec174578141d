//! This module overwrites small objects at random on a drive that is 85% full, until ten times the
//! drive's size was stored.

use crate::fill::{Stored, body_from, fill, total, usable_bytes};
use crate::{AnyError, Bench, Options};
use ringbolt_benches::engine_load::{LoadError, get_object, object_body, object_key, put_object};
use ringbolt_benches::executor::Latch;
use ringbolt_benches::steady::{Latency, Operation, measure};
use ringbolt_benches::usage::own_io;
use ringbolt_benches::verdict::{Verdicts, at_least, at_most};
use ringbolt_engine::node::{Core, Counters};
use ringbolt_engine::types::BucketId;
use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Instant;

const SIZES: RangeInclusive<u64> = 4 << 10..=64 << 10;
const DEPTH: usize = 32;

/// Overwrites stored objects with other sizes, and reads them.
pub struct Overwrites {
    core: Core,
    bucket: BucketId,
    objects: u64,
    random: RefCell<fastrand::Rng>,
    /// Bodies are copied from this.
    bytes: Vec<u8>,
    written: Cell<u64>,
}

impl Overwrites {
    fn new(bench: &Bench, stored: &Stored) -> Rc<Self> {
        Rc::new(Self {
            core: bench.core.clone(),
            bucket: bench.bucket,
            objects: stored.len() as u64,
            random: RefCell::new(fastrand::Rng::with_seed(bench.options.seed + 1)),
            bytes: object_body(0, *SIZES.end() as usize),
            written: Cell::new(0),
        })
    }

    /// Overwrites a random object.
    pub async fn put(&self) -> Result<u64, LoadError> {
        let (number, size) = {
            let mut random = self.random.borrow_mut();
            (random.u64(..self.objects), random.u64(SIZES))
        };
        let body = body_from(&self.bytes, number, size);
        put_object(&self.core, self.bucket, &object_key(number), &body).await?;
        self.written.set(self.written.get() + size);
        Ok(size)
    }

    /// Reads a random object.
    pub async fn get(&self) -> Result<u64, LoadError> {
        let number = self.random.borrow_mut().u64(..self.objects);
        get_object(&self.core, self.bucket, number).await
    }
}

pub fn run(options: &Options, verdicts: &mut Verdicts) -> Result<(), AnyError> {
    println!("small objects on {} MiB, {} shards", options.size_mib, options.shards);
    let fresh = Bench::open(options, "aging-full.bin")?;
    let usable = usable_bytes(&fresh, SIZES, DEPTH)?;
    fresh.close()?;
    let bench = Bench::open(options, "aging.bin")?;
    let (stored, _) = fill(&bench, SIZES, usable * options.small_percent / 100, DEPTH)?;
    println!("   stored {:.1} MB, {}% of that", total(&stored) as f64 / 1e6, options.small_percent);
    let overwrites = Overwrites::new(&bench, &stored);

    let before = bench.core.counters();
    let without = at_rate(&bench, &overwrites)?;
    print_latency("without the cleaner", without);
    let moved = bench.core.counters().moved_bytes - before.moved_bytes;
    if moved > 0 {
        return Err(
            "the cleaner ran already: give fewer --seconds, a lower --rate or a larger --size-mib".into()
        );
    }
    let amplification = churn(&bench, &overwrites)?;
    let turns = overwrites.written.get() as f64 / bench.drive_bytes() as f64;
    verdicts.judge("overwritten, times the drive's size", turns, "", at_least(options.small_turns as f64));
    verdicts.judge("write amplification", amplification, "", at_most(4.0));

    let before = bench.core.counters();
    let with = at_rate(&bench, &overwrites)?;
    print_latency("while the cleaner works", with);
    let amplification = print_counters(&before, &bench.core.counters());
    verdicts.judge("write amplification at the fixed rate", amplification, "", at_most(4.0));
    verdicts.judge(
        "PUT p99 with the cleaner over without",
        with[0].p99_us / without[0].p99_us,
        "x",
        at_most(3.0),
    );
    verdicts.judge(
        "GET p99 with the cleaner over without",
        with[1].p99_us / without[1].p99_us,
        "x",
        at_most(3.0),
    );
    bench.close()
}

/// Overwrites as fast as possible, and returns the write amplification of all of it.
fn churn(bench: &Bench, overwrites: &Rc<Overwrites>) -> Result<f64, AnyError> {
    let target = bench.drive_bytes() * bench.options.small_turns;
    let (before, io, started) = (bench.core.counters(), own_io()?, Instant::now());
    let failure: Rc<RefCell<Option<LoadError>>> = Rc::default();
    let latch = Latch::new(DEPTH);
    for _ in 0..DEPTH {
        let (overwrites, failure, latch) = (overwrites.clone(), failure.clone(), latch.clone());
        bench.executor.spawn(async move {
            while overwrites.written.get() < target && failure.borrow().is_none() {
                if let Err(error) = overwrites.put().await {
                    failure.borrow_mut().get_or_insert(error);
                }
            }
            latch.count_down();
        });
    }
    bench.executor.run(latch)?;
    if let Some(error) = failure.take() {
        return Err(error.into());
    }
    let (after, seconds) = (bench.core.counters(), started.elapsed().as_secs_f64());
    println!(
        "   overwrote {:.1} GB in {seconds:.0} s, {:.0} MB/s; the kernel counted {:.1} GB written",
        (after.user_bytes - before.user_bytes) as f64 / 1e9,
        (after.user_bytes - before.user_bytes) as f64 / 1e6 / seconds,
        (own_io()?.write_bytes - io.write_bytes) as f64 / 1e9
    );
    bench.print_space()?;
    Ok(print_counters(&before, &after))
}

fn print_counters(before: &Counters, after: &Counters) -> f64 {
    let change = after.since(before);
    let part = |bytes: u64| bytes as f64 / change.user_bytes as f64;
    println!(
        "   for each byte stored: {:.3} written to the log ({:.3} moved), {:.3} checkpoints ({}), {:.3} superblocks; \
         {:.3} read by the cleaner; {:.1} records in a batch",
        part(change.log_bytes),
        part(change.moved_bytes),
        part(change.checkpoint_bytes),
        change.checkpoints,
        part(change.superblock_bytes),
        part(change.cleaner_read_bytes),
        change.records as f64 / change.batches as f64,
    );
    change.write_amplification()
}

/// Runs overwrites and GETs at the options' rate for their seconds.
fn at_rate(bench: &Bench, overwrites: &Rc<Overwrites>) -> Result<[Latency; 2], AnyError> {
    let (own, other) = (overwrites.clone(), overwrites.clone());
    let put: Operation = Rc::new(move || {
        let overwrites = own.clone();
        Box::pin(async move { overwrites.put().await })
    });
    let get: Operation = Rc::new(move || {
        let overwrites = other.clone();
        Box::pin(async move { overwrites.get().await })
    });
    let Options { rate, seconds, .. } = bench.options;
    Ok(measure(&bench.executor, rate, rate * seconds, &[put, get])?)
}

fn print_latency(when: &str, [put, get]: [Latency; 2]) {
    println!(
        "   {when}: PUT p50 {:.0} p99 {:.0} us, GET p50 {:.0} p99 {:.0} us",
        put.p50_us, put.p99_us, get.p50_us, get.p99_us
    );
}
