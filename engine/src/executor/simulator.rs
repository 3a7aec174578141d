//! A single-threaded executor with virtual time that picks among ready tasks by a seed.
//!
//! Invariants:
//! - Time moves only when no task is ready, and then to the next timer.
//! - Task ids are given in the order of spawning and never used again, so a trace names the same
//!   tasks in every run.
//! - No internal borrow is held while a task is polled or dropped, because both may spawn and wake
//!   tasks.
//! - While a core is paused none of its tasks runs, whatever wakes it. Tasks of other cores, and of
//!   no core, do run.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use super::random::Random;
use crate::env::{Environment, LocalTask};
use crate::ring::Pool;

/// The start of the virtual wall clock, 2026-01-01T00:00:00Z in Unix milliseconds, so that stored
/// times look real.
const START_MS: u64 = 1_767_225_600_000;

/// One poll of a task: its time and the task's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceStep {
    pub at_us: u64,
    pub task: u64,
}

/// The probability and length of an event. It happens once in `one_in` times (never if that is 0),
/// and takes between 1 and `most_us` microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odds {
    pub one_in: u64,
    pub most_us: u64,
}

impl Odds {
    /// Returns the length in microseconds if the event happens now. If it never happens, no random
    /// number is drawn.
    pub fn draw(self, random: &Random) -> Option<u64> {
        (self.one_in > 0 && random.one_in(self.one_in)).then(|| 1 + random.below(self.most_us.max(1)))
    }
}

/// The executor and its virtual world. Clones share the world.
#[derive(Clone)]
pub struct Simulator(Rc<World>);

struct World {
    random: Random,
    now_us: Cell<u64>,
    /// Offset of the wall clock beside the time that has passed, milliseconds.
    wall_offset_ms: Cell<i64>,
    /// Number of times that the process was killed.
    life: Cell<u64>,
    next_task: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: RefCell<Vec<u64>>,
    waking: mpsc::Sender<u64>,
    woken: mpsc::Receiver<u64>,
    /// Timers, ordered by time and then by the order in which they were set.
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    next_timer: Cell<u64>,
    polls: Cell<u64>,
    digest: Cell<u64>,
    trace: RefCell<Option<Vec<TraceStep>>>,
    /// The buffers of each core, with their size. They are kept from life to life, because mapping
    /// and clearing memory is the largest cost of opening a small node.
    pools: RefCell<Vec<(usize, Pool)>>,
    /// The cores that are paused.
    paused: RefCell<HashMap<usize, Pause>>,
    core_stalls: Cell<Odds>,
}

struct Pause {
    until_us: u64,
    /// Tasks that would be ready without the pause.
    tasks: Vec<u64>,
}

struct Task {
    core: Option<usize>,
    /// The task's future; `None` while it is being polled.
    future: Option<LocalTask>,
    waker: Arc<TaskWaker>,
}

struct TaskWaker {
    id: u64,
    /// Set while the task is in `ready` or on its way there.
    queued: AtomicBool,
    waking: mpsc::Sender<u64>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            // The receiver is gone only when the whole world is.
            let _ = self.waking.send(self.id);
        }
    }
}

impl World {
    fn set_timer(&self, until_us: u64, waker: Waker) {
        let number = self.next_timer.get();
        self.next_timer.set(number + 1);
        self.timers.borrow_mut().insert((until_us, number), waker);
    }

    /// Makes the tasks of cores whose pause has ended ready again.
    fn end_pauses(&self) {
        let now_us = self.now_us.get();
        let mut ready = self.ready.borrow_mut();
        // The order must not be that of a hash table, because the run must follow from the seed.
        let mut freed: Vec<u64> = Vec::new();
        self.paused.borrow_mut().retain(|_, pause| {
            let goes_on = pause.until_us <= now_us;
            if goes_on {
                freed.append(&mut pause.tasks);
            }
            !goes_on
        });
        freed.sort_unstable();
        ready.append(&mut freed);
    }

    /// Returns whether the task belongs to a paused core, and keeps it until the pause ends.
    fn keeps_back(&self, id: u64) -> bool {
        let core = self.tasks.borrow().get(&id).and_then(|task| task.core);
        let mut paused = self.paused.borrow_mut();
        let Some(pause) = core.and_then(|core| paused.get_mut(&core)) else { return false };
        pause.tasks.push(id);
        true
    }
}

impl Simulator {
    pub fn new(seed: u64) -> Self {
        let (waking, woken) = mpsc::channel();
        Self(Rc::new(World {
            random: Random::new(seed),
            now_us: Cell::new(0),
            wall_offset_ms: Cell::new(0),
            life: Cell::new(0),
            next_task: Cell::new(0),
            tasks: RefCell::default(),
            ready: RefCell::default(),
            waking,
            woken,
            timers: RefCell::default(),
            next_timer: Cell::new(0),
            polls: Cell::new(0),
            digest: Cell::new(0),
            trace: RefCell::new(None),
            pools: RefCell::default(),
            paused: RefCell::default(),
            core_stalls: Cell::default(),
        }))
    }

    /// Returns the source of every choice.
    pub fn random(&self) -> &Random {
        &self.0.random
    }

    pub fn now_us(&self) -> u64 {
        self.0.now_us.get()
    }

    /// Returns how often the process was killed so far.
    pub fn life(&self) -> u64 {
        self.0.life.get()
    }

    /// Moves the wall clock forward or back. The monotonic clock does not change.
    pub fn jump_wall_clock(&self, by_ms: i64) {
        self.0.wall_offset_ms.set(self.0.wall_offset_ms.get() + by_ms);
    }

    /// Pauses a core for some microseconds: none of its tasks runs, as if its thread did not get
    /// the processor.
    pub fn pause_core(&self, core: usize, microseconds: u64) {
        let until_us = self.now_us() + microseconds;
        let mut paused = self.0.paused.borrow_mut();
        let pause = paused.entry(core).or_insert(Pause { until_us, tasks: Vec::new() });
        pause.until_us = pause.until_us.max(until_us);
        drop(paused);
        self.set_timer(until_us, Waker::noop().clone());
    }

    /// Sets how often a core is paused after one of its tasks ran, and for how long.
    pub fn set_core_stalls(&self, odds: Odds) {
        self.0.core_stalls.set(odds);
    }

    /// Returns the buffers of a core, `bytes` bytes in all.
    ///
    /// # Errors
    /// Returns an error when there is no memory.
    ///
    /// # Panics
    /// Panics when an earlier node, which is gone, still holds one of the buffers.
    pub(crate) fn pool(&self, core: usize, bytes: usize) -> std::io::Result<Pool> {
        let mut pools = self.0.pools.borrow_mut();
        while pools.len() <= core {
            pools.push((bytes, Pool::new(bytes)?));
        }
        let (chunks, free) = pools[core].1.chunks();
        assert_eq!(free, chunks, "a node that is gone holds buffers");
        if pools[core].0 != bytes {
            pools[core] = (bytes, Pool::new(bytes)?);
        }
        Ok(pools[core].1.clone())
    }

    /// Records every step from now on.
    pub fn record_trace(&self) {
        *self.0.trace.borrow_mut() = Some(Vec::new());
    }

    /// Returns the recorded steps.
    pub fn trace(&self) -> Vec<TraceStep> {
        self.0.trace.borrow().clone().unwrap_or_default()
    }

    /// Returns the number of polls so far, and a digest of the time and task of each. Equal digests
    /// mean equal runs.
    pub fn digest(&self) -> (u64, u64) {
        (self.0.polls.get(), self.0.digest.get())
    }

    /// Starts a task that belongs to no core.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawn_boxed(None, Box::pin(task));
    }

    /// Starts a task on a core, which may be paused.
    pub fn spawn_on(&self, core: usize, task: impl Future<Output = ()> + 'static) {
        self.spawn_boxed(Some(core), Box::pin(task));
    }

    /// Starts a task that is boxed already, on a core or on none.
    pub(crate) fn spawn_boxed(&self, core: Option<usize>, future: LocalTask) {
        let id = self.0.next_task.get();
        self.0.next_task.set(id + 1);
        let waker = Arc::new(TaskWaker { id, queued: AtomicBool::new(true), waking: self.0.waking.clone() });
        self.0.tasks.borrow_mut().insert(id, Task { core, future: Some(future), waker });
        self.0.ready.borrow_mut().push(id);
    }

    /// Waits until `microseconds` have passed.
    pub fn sleep_us(&self, microseconds: u64) -> impl Future<Output = ()> + 'static {
        let world = self.0.clone();
        let until = world.now_us.get() + microseconds;
        let mut set: Option<Waker> = None;
        poll_fn(move |context| {
            if world.now_us.get() >= until {
                return Poll::Ready(());
            }
            // Another task may go on with what one began.
            if !set.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                world.set_timer(until, context.waker().clone());
                set = Some(context.waker().clone());
            }
            Poll::Pending
        })
    }

    fn set_timer(&self, until_us: u64, waker: Waker) {
        self.0.set_timer(until_us, waker);
    }

    /// Waits between 1 and `most` microseconds, chosen by the seed.
    pub fn pause_us(&self, most: u64) -> impl Future<Output = ()> + 'static {
        self.sleep_us(1 + self.0.random.below(most))
    }

    /// Polls one task. Returns false when no task is ready and no timer is set.
    pub fn step(&self) -> bool {
        let world = &self.0;
        loop {
            world.ready.borrow_mut().extend(world.woken.try_iter());
            if world.ready.borrow().is_empty() {
                let Some(((at, _), waker)) = world.timers.borrow_mut().pop_first() else { return false };
                world.now_us.set(world.now_us.get().max(at));
                waker.wake();
                world.end_pauses();
                continue;
            }
            let id = {
                let mut ready = world.ready.borrow_mut();
                let at = world.random.below(ready.len() as u64) as usize;
                ready.swap_remove(at)
            };
            if !world.keeps_back(id) {
                self.poll(id);
                return true;
            }
        }
    }

    fn poll(&self, id: u64) {
        let taken = self.0.tasks.borrow_mut().get_mut(&id).and_then(|task| {
            task.waker.queued.store(false, Ordering::Relaxed);
            task.future.take().map(|future| (future, task.waker.clone(), task.core))
        });
        // A task may be woken after its end.
        let Some((mut future, waker, core)) = taken else { return };
        self.note(id);
        let waker = Waker::from(waker);
        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if done {
            self.0.tasks.borrow_mut().remove(&id);
        } else if let Some(task) = self.0.tasks.borrow_mut().get_mut(&id) {
            task.future = Some(future);
        }
        if let Some(core) = core
            && let Some(microseconds) = self.0.core_stalls.get().draw(&self.0.random)
        {
            self.pause_core(core, microseconds);
        }
    }

    fn note(&self, task: u64) {
        let at_us = self.0.now_us.get();
        self.0.polls.set(self.0.polls.get() + 1);
        let mixed = (self.0.digest.get() ^ at_us).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) ^ task;
        self.0.digest.set(mixed);
        if let Some(trace) = self.0.trace.borrow_mut().as_mut() {
            trace.push(TraceStep { at_us, task });
        }
    }

    /// Runs until no task is ready and no timer is set. Tasks that wait for each other are left
    /// waiting.
    pub fn run_until_idle(&self) {
        while self.step() {}
    }

    /// Polls at most `steps` times. Returns false when there was nothing left to do before that.
    pub fn run_steps(&self, steps: u64) -> bool {
        (0..steps).all(|_| self.step())
    }

    /// Runs the world until `future` ends, and returns its result.
    ///
    /// # Panics
    /// Panics on a deadlock, when nothing can ever wake the future again.
    pub fn block_on<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let slot = Rc::new(RefCell::new(None));
        let into = slot.clone();
        self.spawn(async move {
            let value = future.await;
            *into.borrow_mut() = Some(value);
        });
        loop {
            if let Some(value) = slot.borrow_mut().take() {
                return value;
            }
            assert!(self.step(), "deadlock: the task waits, and nothing is left that could wake it");
        }
    }

    /// Drops every task where it stands, as when the process dies.
    pub fn kill(&self) {
        self.0.life.set(self.0.life.get() + 1);
        self.0.core_stalls.take();
        loop {
            let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            let timers = std::mem::take(&mut *self.0.timers.borrow_mut());
            if tasks.is_empty() && timers.is_empty() {
                break;
            }
            // Tasks that are spawned by dropping these are dropped in the next round.
            drop((tasks, timers));
        }
        self.0.paused.borrow_mut().clear();
        self.0.ready.borrow_mut().clear();
        self.0.woken.try_iter().for_each(drop);
    }

    /// Returns the number of tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.0.tasks.borrow().len()
    }
}

impl Environment for Simulator {
    fn wall_clock_ms(&self) -> u64 {
        (START_MS + self.0.now_us.get() / 1000).saturating_add_signed(self.0.wall_offset_ms.get())
    }

    fn monotonic_us(&self) -> u64 {
        self.0.now_us.get()
    }

    fn random_u64(&self) -> u64 {
        self.0.random.next_u64()
    }

    fn spawn(&self, task: LocalTask) {
        self.spawn_boxed(None, task);
    }

    fn sleep(&self, milliseconds: u64) -> LocalTask {
        Box::pin(self.sleep_us(milliseconds * 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64) -> (Vec<TraceStep>, Vec<u64>) {
        let sim = Simulator::new(seed);
        sim.record_trace();
        let order = Rc::new(RefCell::new(Vec::new()));
        for number in 0..8 {
            let (world, order) = (sim.clone(), order.clone());
            sim.spawn(async move {
                for _ in 0..3 {
                    world.pause_us(50).await;
                    order.borrow_mut().push(number);
                }
            });
        }
        sim.run_until_idle();
        let order = order.borrow().clone();
        (sim.trace(), order)
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        assert_eq!(run(7), run(7));
        assert_ne!(run(7).1, run(8).1);
    }

    #[test]
    fn time_moves_to_the_next_timer() {
        let sim = Simulator::new(1);
        let slept = sim.sleep_us(5_000_000);
        sim.block_on(slept);
        assert_eq!((sim.now_us(), sim.wall_clock_ms()), (5_000_000, START_MS + 5000));
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn a_deadlock_is_seen() {
        Simulator::new(1).block_on(std::future::pending::<()>());
    }

    #[test]
    fn killed_tasks_are_dropped_with_what_they_spawn() {
        struct SpawnsOnDrop(Simulator);
        impl Drop for SpawnsOnDrop {
            fn drop(&mut self) {
                self.0.spawn(std::future::pending());
            }
        }
        let sim = Simulator::new(1);
        let guard = SpawnsOnDrop(sim.clone());
        sim.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        sim.run_until_idle();
        sim.kill();
        assert_eq!(sim.tasks(), 0);
    }
}
