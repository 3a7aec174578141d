//! This module runs operations at a fixed rate, however long each one takes: it measures what a
//! client sees that does not wait.
//!
//! Invariant: latency counts from when an operation was due, so that a stall affects all operations
//! that became due meanwhile. The timer's own granularity, a millisecond, is not counted.

use crate::engine_load::LoadError;
use crate::executor::Executor;
use crate::stats::percentile;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);

/// This is the result of an operation: the bytes that it moved.
pub type Outcome = Pin<Box<dyn Future<Output = Result<u64, LoadError>>>>;

/// Begins an operation.
pub type Operation = Rc<dyn Fn() -> Outcome>;

/// Holds latencies of one kind of operation in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Holds the samples of one kind of operation.
#[derive(Default)]
struct Samples {
    latencies_ns: RefCell<Vec<u32>>,
    in_flight: Cell<usize>,
    failure: RefCell<Option<LoadError>>,
}

impl Samples {
    fn account(&self, due: Instant, outcome: Result<u64, LoadError>) {
        self.in_flight.set(self.in_flight.get() - 1);
        match outcome {
            Ok(_) => {
                self.latencies_ns.borrow_mut().push(due.elapsed().as_nanos().min(u32::MAX as u128) as u32)
            }
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
            }
        }
    }

    fn latency(&self) -> Result<Latency, LoadError> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let us = |fraction| f64::from(percentile(&mut self.latencies_ns.borrow_mut(), fraction)) / 1000.0;
        Ok(Latency { p50_us: us(0.5), p99_us: us(0.99) })
    }
}

/// Runs `count` operations of each kind, `rate` of each per second. The first failed one is the
/// result.
pub fn measure<const KINDS: usize>(
    executor: &Executor,
    rate: u64,
    count: u64,
    kinds: &[Operation; KINDS],
) -> Result<[Latency; KINDS], LoadError> {
    let samples: [Rc<Samples>; KINDS] = std::array::from_fn(|_| Rc::default());
    let environment = executor.environment();
    let pacer = async {
        let started = Instant::now();
        let mut issued = 0;
        while issued < count {
            let wanted = (started.elapsed().as_secs_f64() * rate as f64) as u64;
            while issued < wanted.min(count) {
                let due = started + Duration::from_secs_f64((issued + 1) as f64 / rate as f64);
                for (kind, samples) in kinds.iter().zip(&samples) {
                    issue(executor, kind, samples, Instant::now().min(due + TICK));
                }
                issued += 1;
            }
            environment.sleep(1).await;
        }
        while samples.iter().any(|samples| samples.in_flight.get() > 0) {
            environment.sleep(1).await;
        }
    };
    executor.run(pacer)?;
    let mut latencies = [Latency { p50_us: f64::NAN, p99_us: f64::NAN }; KINDS];
    for (latency, samples) in latencies.iter_mut().zip(&samples) {
        *latency = samples.latency()?;
    }
    Ok(latencies)
}

fn issue(executor: &Executor, operation: &Operation, samples: &Rc<Samples>, due: Instant) {
    samples.in_flight.set(samples.in_flight.get() + 1);
    let (outcome, samples) = (operation(), samples.clone());
    executor.spawn(async move {
        let outcome = outcome.await;
        samples.account(due, outcome);
    });
}
