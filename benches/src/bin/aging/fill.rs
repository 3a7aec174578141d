//! This module stores objects of random sizes until the drive is full, or up to a number of bytes.
//!
//! Invariant: sizes follow from the seed, so two fills with the same seed store the same objects.

use crate::{AnyError, Bench};
use ringbolt_benches::engine_load::{object_body, object_key, put_object};
use ringbolt_benches::executor::Latch;
use ringbolt_engine::EngineError;
use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;

/// Holds stored objects as number and size. An object's number is its key.
pub type Stored = Vec<(u64, u64)>;

struct Filling {
    random: RefCell<fastrand::Rng>,
    sizes: RangeInclusive<u64>,
    bytes_max: u64,
    next: Cell<u64>,
    bytes: Cell<u64>,
    stored: RefCell<Stored>,
    full: Cell<bool>,
    failure: RefCell<Option<EngineError>>,
}

impl Filling {
    /// Returns the next object; `None` when there are enough.
    fn next(&self) -> Option<(u64, u64)> {
        if self.full.get() || self.bytes.get() >= self.bytes_max || self.failure.borrow().is_some() {
            return None;
        }
        let size = self.random.borrow_mut().u64(self.sizes.clone());
        self.bytes.set(self.bytes.get() + size);
        Some((self.next.replace(self.next.get() + 1), size))
    }

    fn account(&self, number: u64, size: u64, outcome: Result<(), EngineError>) {
        match outcome {
            Ok(()) => self.stored.borrow_mut().push((number, size)),
            Err(EngineError::NoSpace { .. }) => {
                self.bytes.set(self.bytes.get() - size);
                self.full.set(true);
            }
            Err(error) => *self.failure.borrow_mut() = Some(error),
        }
    }
}

/// Stores objects of `sizes` bytes with `depth` in flight until there are `bytes_max`, or until the
/// drive is full; returns the objects, and whether the drive is full.
pub fn fill(
    bench: &Bench,
    sizes: RangeInclusive<u64>,
    bytes_max: u64,
    depth: usize,
) -> Result<(Stored, bool), AnyError> {
    let filling = Rc::new(Filling {
        random: RefCell::new(fastrand::Rng::with_seed(bench.options.seed)),
        sizes,
        bytes_max,
        next: Cell::new(0),
        bytes: Cell::new(0),
        stored: RefCell::default(),
        full: Cell::new(false),
        failure: RefCell::new(None),
    });
    let latch = Latch::new(depth);
    for _ in 0..depth {
        let (core, bucket, filling, latch) =
            (bench.core.clone(), bench.bucket, filling.clone(), latch.clone());
        bench.executor.spawn(async move {
            while let Some((number, size)) = filling.next() {
                let body = object_body(number, size as usize);
                let outcome = put_object(&core, bucket, &object_key(number), &body).await;
                filling.account(number, size, outcome);
            }
            latch.count_down();
        });
    }
    bench.executor.run(latch)?;
    match filling.failure.take() {
        Some(error) => Err(error.into()),
        None => Ok((filling.stored.take(), filling.full.get())),
    }
}

/// Returns how many bytes of such objects a freshly formatted drive accepts before it refuses one.
pub fn usable_bytes(bench: &Bench, sizes: RangeInclusive<u64>, depth: usize) -> Result<u64, AnyError> {
    let (stored, _) = fill(bench, sizes, u64::MAX, depth)?;
    let bytes = total(&stored);
    println!(
        "   full with {} objects of {:.1} MB together: {:.1}% of the drive is for users",
        stored.len(),
        bytes as f64 / 1e6,
        bytes as f64 * 100.0 / bench.drive_bytes() as f64
    );
    bench.print_space()?;
    Ok(bytes)
}

/// Returns a body of `size` bytes for object `number`, copied from `bytes`: generating one for each
/// PUT would be most of the work.
pub fn body_from(bytes: &[u8], number: u64, size: u64) -> Vec<u8> {
    let mut body = bytes[..size as usize].to_vec();
    body[..8].copy_from_slice(&number.to_le_bytes());
    body
}

pub fn total(stored: &Stored) -> u64 {
    stored.iter().map(|(_, size)| size).sum()
}
