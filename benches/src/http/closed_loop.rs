//! This module is a closed loop of `ringbolt bench`'s S3 client on the calling thread: every slot has one request in
//! flight, and sends the next when it is answered. Every answer is checked by the client, and the first that is
//! not as expected ends the run.

use super::process::{ACCESS_KEY, SECRET_KEY};
use ringbolt_bench::engine::s3::S3Engine;
use ringbolt_bench::engine::{Clock, Completion, IoEngine, Operation, Verb};
use ringbolt_bench::spec::{BlockSize, ByDirection, ClientWait, Engine, Https, Job, ObjectOp, Objects};
use std::time::Duration;

type AnyError = Box<dyn std::error::Error>;

/// Says what is requested.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names the objects, too.
    pub name: String,
    pub host: String,
    pub https: Https,
    /// This is a GET or a PUT.
    pub op: ObjectOp,
    pub objects: u64,
    pub object_bytes: u64,
    pub connections: u32,
}

impl Plan {
    fn job(&self) -> Job {
        let objects = Objects {
            host: self.host.clone(),
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            objects: self.objects,
            ops: Some(vec![(self.op, 1)]),
            client_wait: ClientWait::Poll,
            https: self.https,
            ..Objects::default()
        };
        let block = ByDirection::same(BlockSize::Fixed(self.object_bytes));
        Job { block, depth: self.connections, objects, ..Job::plain(&self.name, Engine::S3) }
    }
}

/// This is a loop on one server.
pub struct ClosedLoop {
    engine: S3Engine,
    clock: Clock,
    plan: Plan,
    /// Holds when each slot's request was issued.
    issued_ns: Vec<u64>,
    /// Holds the slots without a request in flight.
    idle: Vec<u32>,
}

impl ClosedLoop {
    /// Prepares the bucket and the objects.
    pub fn start(plan: Plan) -> Result<Self, AnyError> {
        let clock = Clock::start();
        let mut engine = S3Engine::new(&plan.job(), 0, clock)?;
        engine.prepare(&mut |_| ())?;
        let (issued_ns, idle) = (vec![0; plan.connections as usize], (0..plan.connections).collect());
        Ok(Self { engine, clock, plan, issued_ns, idle })
    }

    /// Returns how long the client was polling for nothing, in nanoseconds.
    pub fn polling_ns(&self) -> u64 {
        self.engine.idle_ns()
    }

    fn submit(&mut self, slot: u32) {
        let number = fastrand::u64(..self.plan.objects);
        let verb = if self.plan.op == ObjectOp::Put { Verb::Write } else { Verb::Read };
        let operation = Operation { verb, file: 0, offset: 0, length: self.plan.object_bytes, number };
        self.issued_ns[slot as usize] = self.clock.now_ns();
        self.engine.submit(slot, &operation);
    }

    fn reap(&mut self) -> Result<Vec<Completion>, AnyError> {
        let mut done = Vec::new();
        self.engine.reap(1, None, &mut done)?;
        match done.iter().find(|completion| completion.result != self.plan.object_bytes as i64) {
            Some(failed) => {
                Err(format!("a request failed ({}): {:?}", failed.result, self.engine.notes()).into())
            }
            None => Ok(done),
        }
    }

    /// Runs for a time with every slot busy, and returns the latencies in nanoseconds.
    pub fn run_for(&mut self, time: Duration) -> Result<Vec<u32>, AnyError> {
        let end_ns = self.clock.now_ns() + time.as_nanos() as u64;
        std::mem::take(&mut self.idle).into_iter().for_each(|slot| self.submit(slot));
        let mut latencies = Vec::with_capacity(1 << 20);
        while self.clock.now_ns() < end_ns {
            for completion in self.reap()? {
                let since = self.clock.now_ns() - self.issued_ns[completion.slot as usize];
                latencies.push(u32::try_from(since).unwrap_or(u32::MAX));
                self.submit(completion.slot);
            }
        }
        Ok(latencies)
    }

    /// Waits for what is in flight, so that another server's turn is its own.
    pub fn rest(&mut self) -> Result<(), AnyError> {
        while self.idle.len() < self.plan.connections as usize {
            let done = self.reap()?;
            self.idle.extend(done.into_iter().map(|completion| completion.slot));
        }
        Ok(())
    }
}
