//! PUTs and GETs at a fixed rate, however long each takes: what a client that does not wait sees.
//!
//! Invariant: latency counts from when an operation was due, so that a stall is paid for by all that came meanwhile.
//! The timer's own granularity, a millisecond, is not counted.

use crate::small::Overwrites;
use crate::{AnyError, Bench};
use ringbolt_benches::engine_load::LoadError;
use ringbolt_benches::stats::percentile;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(1);

/// Latencies of one phase, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub put_p50_us: f64,
    pub put_p99_us: f64,
    pub get_p50_us: f64,
    pub get_p99_us: f64,
}

#[derive(Default)]
struct Samples {
    puts_ns: RefCell<Vec<u32>>,
    gets_ns: RefCell<Vec<u32>>,
    in_flight: Cell<usize>,
    failure: RefCell<Option<LoadError>>,
}

impl Samples {
    fn account(&self, of: &RefCell<Vec<u32>>, due: Instant, outcome: Result<u64, LoadError>) {
        self.in_flight.set(self.in_flight.get() - 1);
        match outcome {
            Ok(_) => of.borrow_mut().push(due.elapsed().as_nanos().min(u32::MAX as u128) as u32),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
            }
        }
    }

    fn latency(&self) -> Latency {
        let us =
            |of: &RefCell<Vec<u32>>, fraction| f64::from(percentile(&mut of.borrow_mut(), fraction)) / 1000.0;
        Latency {
            put_p50_us: us(&self.puts_ns, 0.5),
            put_p99_us: us(&self.puts_ns, 0.99),
            get_p50_us: us(&self.gets_ns, 0.5),
            get_p99_us: us(&self.gets_ns, 0.99),
        }
    }
}

/// `rate` overwrites and `rate` GETs a second for the options' seconds.
pub fn measure(bench: &Bench, overwrites: &Rc<Overwrites>) -> Result<Latency, AnyError> {
    let samples = Rc::new(Samples::default());
    let environment = bench.executor.environment();
    let (rate, seconds) = (bench.options.rate, bench.options.seconds);
    let pacer = async {
        let started = Instant::now();
        let mut issued = 0;
        while issued < rate * seconds {
            let wanted = (started.elapsed().as_secs_f64() * rate as f64) as u64;
            while issued < wanted.min(rate * seconds) {
                let due = started + Duration::from_secs_f64((issued + 1) as f64 / rate as f64);
                issue(bench, overwrites, &samples, Instant::now().min(due + TICK));
                issued += 1;
            }
            environment.sleep(1).await;
        }
        while samples.in_flight.get() > 0 {
            environment.sleep(1).await;
        }
    };
    bench.executor.run(pacer)?;
    match samples.failure.take() {
        Some(error) => Err(error.into()),
        None => Ok(samples.latency()),
    }
}

fn issue(bench: &Bench, overwrites: &Rc<Overwrites>, samples: &Rc<Samples>, due: Instant) {
    samples.in_flight.set(samples.in_flight.get() + 2);
    let (of, kept) = (overwrites.clone(), samples.clone());
    bench.executor.spawn(async move {
        let outcome = of.put().await;
        kept.account(&kept.puts_ns, due, outcome);
    });
    let (of, kept) = (overwrites.clone(), samples.clone());
    bench.executor.spawn(async move {
        let outcome = of.get().await;
        kept.account(&kept.gets_ns, due, outcome);
    });
}
