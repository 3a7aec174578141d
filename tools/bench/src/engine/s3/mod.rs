//! This module puts load on an S3 endpoint: one thread, one runtime, and as many connections as the
//! job's depth, each with one request in flight.
//!
//! With `client_wait=poll` the thread polls instead of sleeping while responses keep arriving
//! ([`waiting`] gives the reason); when none has arrived for [`SPIN`], it sleeps. Under load, the
//! CPU time of this engine's thread is therefore that of a whole core; the cost of a request can be
//! measured only when the server is slow. With `client_wait=sleep` the thread waits in the ring for
//! the next response.
//!
//! Invariants: a request's buffers belong to its slot and are reused; nothing is allocated for a
//! GET, PUT, HEAD or DELETE that succeeds. An operation without a complete response within
//! `request_timeout` fails, and one in flight when the run ends is aborted; neither blocks the
//! thread, which waits only in its ring.

mod chunked;
mod endpoint;
mod failure;
mod head;
mod line;
mod operation;
mod prepare;
mod remove;
mod shared;
mod sign;
mod tls;
mod waiting;
mod wire;

pub use self::tls::Credulous;

use self::failure::Failure;
use self::line::Line;
use self::prepare::Share;
use self::shared::Shared;
use super::slots::Desk;
use super::{Account, Clock, Completion, EngineError, IoEngine, Operation};
use crate::spec::{ClientWait, Job};
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

const RING_ENTRIES: u32 = 1024;
/// The thread polls for this long without a response before it sleeps.
const SPIN: Duration = Duration::from_micros(200);
/// Timers have a resolution of a millisecond: the thread does not sleep when a deadline is nearer
/// than this.
const NEAR: Duration = Duration::from_millis(2);
/// The thread checks for operations that hang at this interval.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs the requests of one thread.
pub struct S3Engine {
    runtime: Runtime<TimeDriver<IoUringDriver>>,
    shared: Rc<Shared>,
    share: Share,
    desk: Desk,
    started: bool,
    look_ns: u64,
}

impl S3Engine {
    /// Creates the engine for thread number `thread` of the job.
    ///
    /// # Errors
    /// Fails when the job is not valid, or when the kernel refuses a ring.
    pub fn new(job: &Job, thread: u32, clock: Clock) -> Result<Self, EngineError> {
        let shared = Rc::new(Shared::of(job, clock)?);
        // Completions are taken when the loop asks for them: over loopback, an interrupt for each
        // would cost the server time.
        let mut ring = io_uring::IoUring::builder();
        ring.setup_single_issuer().setup_coop_taskrun();
        let builder = || RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).enable_timer();
        let runtime = builder().uring_builder(ring).build().or_else(|_| builder().build());
        let runtime =
            runtime.map_err(|error| EngineError(format!("the kernel gives no io_uring: {error}")))?;
        let share = Share { thread: u64::from(thread), threads: u64::from(job.threads.max(1)) };
        let desk = Desk::new(&shared.slots, shared.objects.largest_bytes);
        Ok(Self { runtime, shared, share, desk, started: false, look_ns: 0 })
    }

    /// Deletes what jobs like this one have put, and returns the number of objects deleted.
    ///
    /// # Errors
    /// Fails when the server cannot be reached, or when it refuses a request.
    pub fn remove(&mut self) -> Result<u64, EngineError> {
        let shared = self.shared.clone();
        self.runtime.block_on(async {
            guarded(&shared, remove::objects(&shared)).await.map_err(|failure| shared.at_server(&failure))
        })
    }

    /// Returns the time in ns in which the thread polled or slept with nothing to do.
    pub fn idle_ns(&self) -> u64 {
        self.shared.idle_ns.get()
    }

    /// Connects the slots and spawns their tasks.
    fn start(&mut self) -> Result<(), EngineError> {
        let shared = self.shared.clone();
        self.started = true;
        self.runtime.block_on(async move {
            for number in 0..shared.slots.count() {
                let mut line = shared.line(number as usize);
                // An operation may have been queued before.
                let queued_ns = shared.watches[number as usize].busy_since_ns.get();
                let connected = guarded(&shared, shared.watched(number as usize, line.connect())).await;
                connected.map_err(|failure| shared.at_server(&failure))?;
                shared.watches[number as usize].busy_since_ns.set(queued_ns);
                shared.slots.tasks.set(shared.slots.tasks.get() + 1);
                monoio::spawn(counted(shared.clone(), serve(shared.clone(), line, number)));
            }
            monoio::spawn(spin(shared.clone()));
            Ok(())
        })
    }

    /// Ends the tasks; operations in flight are aborted.
    fn leave(&mut self) {
        let shared = self.shared.clone();
        self.runtime.block_on(std::future::poll_fn(|context| {
            shared.slots.main.remember(context);
            shared.slots.leave();
            // Idle connections close in order; the tasks of the others end because their
            // connections are cut.
            shared.cut();
            shared.spinner.ring();
            if shared.slots.tasks.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
        }));
    }
}

impl Drop for S3Engine {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Serves the operations of a slot on its connection.
async fn serve(shared: Rc<Shared>, mut line: Line, slot: u32) {
    while let Some((operation, mut buffer)) = shared.slots.next(slot).await {
        let outcome = operation::carry_out(&shared, &mut line, &operation, &mut buffer).await;
        shared.complete(slot, outcome, buffer);
    }
    line.close().await;
    shared.slots.end_task();
}

/// Runs `work`, and meanwhile aborts it when it takes too long or the run is to end.
async fn guarded<T>(shared: &Shared, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut work = pin!(work);
    loop {
        let mut timer = pin!(monoio::time::sleep(LOOK_EVERY));
        let turn = std::future::poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => timer.as_mut().poll(context).map(|()| None),
        });
        if let Some(outcome) = turn.await {
            return outcome;
        }
        shared.end_old();
        if shared.is_stopped() {
            shared.cut();
        }
    }
}

/// Counts the polls of a task: a turn of the loop without one was idle.
fn counted(shared: Rc<Shared>, task: impl Future<Output = ()>) -> impl Future<Output = ()> {
    let mut task = Box::pin(task);
    std::future::poll_fn(move |context| {
        shared.polls.set(shared.polls.get() + 1);
        task.as_mut().poll(context)
    })
}

/// Keeps the runtime from sleeping while the thread polls: the task is always ready then, so the
/// runtime submits and reaps without waiting.
fn spin(shared: Rc<Shared>) -> impl Future<Output = ()> {
    std::future::poll_fn(move |context| {
        if shared.slots.is_leaving() {
            return Poll::Ready(());
        }
        shared.spinner.remember(context);
        if shared.spinning.get() {
            // The thread's loop rings this task again, which puts it behind all others. A task that wakes itself
            // goes before them, and they would never run.
            shared.slots.main.ring();
        }
        Poll::Pending
    })
}

/// Waits for the completions or the deadline of one call of `reap`.
struct Wait<'a> {
    shared: &'a Shared,
    at_least: usize,
    deadline_ns: Option<u64>,
    /// Counts the turns of the loop.
    turns: u32,
    /// This is the time when the last response arrived, or when the call began.
    active_ns: u64,
    seen: usize,
    /// This is the time of the last turn; `last_polls` is how often tasks had been polled by then.
    last_ns: u64,
    last_polls: u64,
}

enum Verdict {
    Enough,
    /// The thread polls.
    Spin,
    /// The thread sleeps for at most this long.
    Sleep(Duration),
}

impl Wait<'_> {
    fn judge(&mut self) -> Verdict {
        let now = self.shared.clock.now_ns();
        let done = self.shared.slots.done();
        self.turns += 1;
        let polls = self.shared.polls.get();
        if polls == self.last_polls {
            self.shared.idle_ns.set(self.shared.idle_ns.get() + (now - self.last_ns));
        }
        (self.last_ns, self.last_polls) = (now, polls);
        // What was queued in this turn is submitted in the next. A thread that sleeps submits
        // before it does.
        let sleeps = self.shared.client_wait == ClientWait::Sleep && self.at_least > 0;
        if (sleeps || self.turns > 2)
            && done >= self.at_least
            && (self.at_least > 0 || self.deadline_ns.is_none())
        {
            return Verdict::Enough;
        }
        if self.deadline_ns.is_some_and(|deadline| now >= deadline) {
            return Verdict::Enough;
        }
        if done != self.seen {
            (self.seen, self.active_ns) = (done, now);
        }
        let left = self.deadline_ns.map(|deadline| Duration::from_nanos(deadline - now));
        let quiet = now.saturating_sub(self.active_ns) > SPIN.as_nanos() as u64;
        if !sleeps && (self.turns <= 2 || !quiet) || left.is_some_and(|left| left < NEAR) {
            return Verdict::Spin;
        }
        Verdict::Sleep(left.map_or(LOOK_EVERY, |left| (left - NEAR / 2).min(LOOK_EVERY)))
    }

    async fn run(mut self) {
        loop {
            let sleep = match std::future::poll_fn(|context| self.turn(context)).await {
                None => break,
                Some(sleep) => sleep,
            };
            let mut timer = pin!(monoio::time::sleep(sleep));
            let before = self.shared.slots.done();
            let answered = std::future::poll_fn(|context| {
                self.shared.slots.main.remember(context);
                if self.shared.slots.done() > before {
                    return Poll::Ready(true);
                }
                timer.as_mut().poll(context).map(|()| false)
            });
            if !answered.await {
                self.shared.end_old();
            }
            // The time of a sleep is idle, whatever ended it.
            let now = self.shared.clock.now_ns();
            self.shared.idle_ns.set(self.shared.idle_ns.get() + (now - self.last_ns));
            (self.last_ns, self.last_polls) = (now, self.shared.polls.get());
        }
        self.shared.spinning.set(false);
    }

    /// Returns ready with `None` when the wait is over, or with a duration when the thread may
    /// sleep.
    fn turn(&mut self, context: &Context<'_>) -> Poll<Option<Duration>> {
        self.shared.slots.main.remember(context);
        match self.judge() {
            Verdict::Enough => Poll::Ready(None),
            Verdict::Sleep(time) => {
                self.shared.spinning.set(false);
                Poll::Ready(Some(time))
            }
            Verdict::Spin => {
                self.shared.spinning.set(true);
                self.shared.spinner.ring();
                Poll::Pending
            }
        }
    }
}

impl IoEngine for S3Engine {
    fn prepare(&mut self, progress: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        let (shared, share) = (self.shared.clone(), self.share);
        self.runtime.block_on(async {
            let work = async {
                prepare::bucket(&shared).await?;
                if shared.objects.needs_objects {
                    prepare::objects(&shared, share, progress).await?;
                }
                Ok(())
            };
            guarded(&shared, work).await.map_err(|failure| shared.at_server(&failure))
        })?;
        self.start()
    }

    fn heed(&mut self, stop: &Arc<AtomicBool>) {
        self.shared.stop.replace(stop.clone());
    }

    fn cut(&mut self) {
        self.shared.cut();
    }

    fn buffer(&mut self, slot: u32) -> &mut [u8] {
        self.desk.buffer(slot)
    }

    fn submit(&mut self, slot: u32, operation: &Operation) {
        self.shared.watches[slot as usize].begin(self.shared.clock.now_ns());
        self.desk.submit(&self.shared.slots, slot, operation);
    }

    fn reap(
        &mut self,
        at_least: usize,
        deadline_ns: Option<u64>,
        done: &mut Vec<Completion>,
    ) -> Result<(), EngineError> {
        if !self.started {
            self.start()?;
        }
        let shared = self.shared.clone();
        let possible = shared.slots.in_flight() + shared.slots.done();
        let now = shared.clock.now_ns();
        if now >= self.look_ns {
            self.look_ns = now + LOOK_EVERY.as_nanos() as u64;
            shared.end_old();
        }
        let wait = Wait {
            shared: &shared,
            at_least: at_least.min(possible),
            deadline_ns,
            turns: 0,
            active_ns: now,
            seen: shared.slots.done(),
            last_ns: now,
            last_polls: shared.polls.get(),
        };
        self.runtime.block_on(async {
            self.desk.ring(&shared.slots);
            wait.run().await;
        });
        self.desk.collect(&shared.slots, done);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.leave();
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        self.shared.failures.borrow().lines()
    }

    fn account(&self) -> Account {
        let again = self.shared.watches.iter().map(|watch| watch.control.again.get());
        Account {
            failures: Some(self.shared.failures.borrow().clone()),
            reconnections: Some(again.sum()),
            client_wait: Some(self.shared.client_wait),
        }
    }
}

#[cfg(test)]
mod lies;
#[cfg(test)]
mod stuck;
#[cfg(test)]
mod tests;
