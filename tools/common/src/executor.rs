//! This module is a single-threaded executor that owns its thread and drives one core of the
//! engine. It adds as little as possible between a benchmark and the engine.
//!
//! Invariants: tasks and their wakers stay on the thread that created the executor (a wake from
//! another thread panics, because it would be lost). A woken task is queued once until it runs. The
//! main future is polled before the tasks that are ready, and so are tasks that it or its caller
//! wakes: a load generator thus replaces each operation that has ended before it examines the next
//! one, and the drive keeps its depth. The thread blocks in the kernel only when no task is ready
//! and no timer is due.

use mio::unix::SourceFd;
use ringbolt_engine::node::Driver;
use ringbolt_engine::node::{Environment, LocalTask};
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Timers nearer than this are exact; others may be late by one I/O while I/O is in flight.
const EXACT_TIMER_US: u64 = 2_000;
/// Operations that the kernel refused are tried again after this time, if nothing else happens.
const REFUSED_US: u64 = 1_000;

/// The main future and what it woke may be polled this many times before the other tasks and the
/// ring get a turn.
const FIRST_MAX: usize = 64;

const MAIN_TASK: usize = usize::MAX;

thread_local! {
    static READY: RefCell<Ready> = const { RefCell::new(Ready::new()) };
}

/// Holds the tasks that have been woken and not polled.
struct Ready {
    /// Holds the main future, and what it or its caller woke.
    first: VecDeque<Arc<TaskWaker>>,
    others: VecDeque<Arc<TaskWaker>>,
    /// Says that a task is being polled, or that the ring or the timers wake tasks.
    in_tasks: bool,
    /// Counts the polls that are left of each kind before the ring gets a turn.
    first_left: usize,
    others_left: usize,
}

impl Ready {
    const fn new() -> Self {
        Self {
            first: VecDeque::new(),
            others: VecDeque::new(),
            in_tasks: false,
            first_left: FIRST_MAX,
            others_left: 0,
        }
    }

    fn push(&mut self, woken: Arc<TaskWaker>) {
        // A main future that wakes itself waits for the others.
        let is_first = (woken.slot == MAIN_TASK) == self.in_tasks;
        if is_first { self.first.push_back(woken) } else { self.others.push_back(woken) }
    }

    fn pop(&mut self) -> Option<Arc<TaskWaker>> {
        if self.first_left > 0
            && let Some(woken) = self.first.pop_front()
        {
            self.first_left -= 1;
            return Some(woken);
        }
        self.others_left = self.others_left.checked_sub(1)?;
        self.others.pop_front()
    }

    /// Limits the turn to tasks that are ready now: tasks that wake each other must not keep the
    /// ring waiting.
    fn begin_turn(&mut self) {
        (self.first_left, self.others_left) = (FIRST_MAX, self.others.len());
    }

    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.others.is_empty()
    }
}

/// Marks, while it exists, that tasks do the waking.
struct InTasks;

impl InTasks {
    fn enter() -> Self {
        READY.with_borrow_mut(|ready| ready.in_tasks = true);
        Self
    }
}

impl Drop for InTasks {
    fn drop(&mut self) {
        READY.with_borrow_mut(|ready| ready.in_tasks = false);
    }
}

struct TaskWaker {
    /// This is a slot in the task table, or `MAIN_TASK`.
    slot: usize,
    queued: AtomicBool,
    home: ThreadId,
}

impl TaskWaker {
    fn new(slot: usize) -> Arc<Self> {
        Arc::new(Self { slot, queued: AtomicBool::new(false), home: thread::current().id() })
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        assert_eq!(
            thread::current().id(),
            self.home,
            "a task of this executor was woken from another thread"
        );
        if !self.queued.swap(true, Ordering::Relaxed) {
            READY.with_borrow_mut(|ready| ready.push(self));
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.clone().wake();
    }
}

/// Holds a spawned task. Its waker distinguishes it from a later task in the same slot.
struct Task {
    future: LocalTask,
    waker: Arc<TaskWaker>,
}

#[derive(Default)]
struct TaskTable {
    slots: Vec<Option<Task>>,
    free: Vec<usize>,
}

/// Implements the engine's environment on this executor.
pub struct CoreEnvironment {
    started: Instant,
    tasks: RefCell<TaskTable>,
    timers: RefCell<BinaryHeap<Reverse<(u64, u64)>>>,
    /// Holds the wakers by timer number; numbers ascend, so the map does too.
    timer_wakers: RefCell<std::collections::BTreeMap<u64, Waker>>,
    next_timer: Cell<u64>,
    random: RefCell<fastrand::Rng>,
}

impl CoreEnvironment {
    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn wake_due_timers(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = self.now_us();
        while let Some(number) = self.pop_timer_due_by(now) {
            let waker = self.timer_wakers.borrow_mut().remove(&number);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn pop_timer_due_by(&self, now_us: u64) -> Option<u64> {
        let mut timers = self.timers.borrow_mut();
        match timers.peek() {
            Some(Reverse((deadline, _))) if *deadline <= now_us => {
                timers.pop().map(|Reverse((_, number))| number)
            }
            _ => None,
        }
    }

    fn microseconds_to_next_timer(&self) -> Option<u64> {
        let deadline = self.timers.borrow().peek().map(|Reverse((deadline, _))| *deadline)?;
        Some(deadline.saturating_sub(self.now_us()))
    }
}

impl Environment for Shared {
    fn wall_clock_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn monotonic_us(&self) -> u64 {
        self.0.now_us()
    }

    fn random_u64(&self) -> u64 {
        self.0.random.borrow_mut().u64(..)
    }

    fn spawn(&self, future: LocalTask) {
        let mut tasks = self.0.tasks.borrow_mut();
        let slot = tasks.free.pop().unwrap_or(tasks.slots.len());
        let waker = TaskWaker::new(slot);
        let task = Some(Task { future, waker: waker.clone() });
        if slot == tasks.slots.len() {
            tasks.slots.push(task);
        } else {
            tasks.slots[slot] = task;
        }
        waker.wake();
    }

    fn sleep(&self, milliseconds: u64) -> LocalTask {
        let number = self.0.next_timer.replace(self.0.next_timer.get() + 1);
        let deadline_us = self.0.now_us() + milliseconds * 1000;
        Box::pin(Sleep { environment: self.0.clone(), number, deadline_us, armed: false })
    }
}

/// This is a [`CoreEnvironment`] as the engine holds it.
#[derive(Clone)]
struct Shared(Rc<CoreEnvironment>);

struct Sleep {
    environment: Rc<CoreEnvironment>,
    number: u64,
    deadline_us: u64,
    armed: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.environment.now_us() >= self.deadline_us {
            return Poll::Ready(());
        }
        if !self.armed {
            self.armed = true;
            self.environment.timers.borrow_mut().push(Reverse((self.deadline_us, self.number)));
        }
        self.environment.timer_wakers.borrow_mut().insert(self.number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.environment.timer_wakers.borrow_mut().remove(&self.number);
        if self.armed {
            let number = self.number;
            self.environment.timers.borrow_mut().retain(|Reverse((_, other))| *other != number);
        }
    }
}

/// Says how the thread waits when nothing is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// Waits for the descriptor and the next timer, which is right in every phase.
    Poll,
    /// Waits in the ring itself, with one system call for submit and wait, which is for phases in
    /// which I/O is always in flight.
    Ring,
}

/// Runs tasks and the engine's ring on the thread that created it.
pub struct Executor {
    environment: Shared,
    driver: RefCell<Option<Driver>>,
    poll: RefCell<mio::Poll>,
    events: RefCell<mio::Events>,
}

impl Executor {
    pub fn new() -> io::Result<Self> {
        let environment = CoreEnvironment {
            started: Instant::now(),
            tasks: RefCell::default(),
            timers: RefCell::default(),
            timer_wakers: RefCell::default(),
            next_timer: Cell::new(0),
            random: RefCell::new(fastrand::Rng::new()),
        };
        Ok(Self {
            environment: Shared(Rc::new(environment)),
            driver: RefCell::new(None),
            poll: RefCell::new(mio::Poll::new()?),
            events: RefCell::new(mio::Events::with_capacity(8)),
        })
    }

    /// Returns the environment for `CoreSeed::start`.
    pub fn environment(&self) -> Rc<dyn Environment> {
        Rc::new(self.environment.clone())
    }

    /// Makes the executor drive this ring.
    pub fn attach(&self, driver: Driver) -> io::Result<()> {
        let descriptor = driver.raw_fd();
        let registry = self.poll.borrow().registry().try_clone()?;
        registry.register(&mut SourceFd(&descriptor), mio::Token(0), mio::Interest::READABLE)?;
        *self.driver.borrow_mut() = Some(driver);
        Ok(())
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.environment.spawn(Box::pin(task));
    }

    /// Runs `future` to its end; the other tasks run meanwhile.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        self.run_with(Idle::Poll, future)
    }

    /// Runs `future` as [`Executor::run`] does, but waits in the ring. `future` must keep I/O in
    /// flight until it ends.
    pub fn run_loaded<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        self.run_with(Idle::Ring, future)
    }

    fn run_with<T>(&self, idle: Idle, future: impl Future<Output = T>) -> io::Result<T> {
        let mut future = pin!(future);
        let main = TaskWaker::new(MAIN_TASK);
        // The main future comes after what the caller woke.
        main.queued.store(true, Ordering::Relaxed);
        READY.with_borrow_mut(|ready| ready.first.push_back(main.clone()));
        let waker = Waker::from(main.clone());
        // This continues a turn that the last future ended early.
        loop {
            while let Some(ready) = READY.with_borrow_mut(Ready::pop) {
                ready.queued.store(false, Ordering::Relaxed);
                if ready.slot != MAIN_TASK {
                    self.poll_task(&ready);
                } else if Arc::ptr_eq(&ready, &main)
                    && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    return Ok(output);
                }
            }
            let _in_tasks = InTasks::enter();
            self.turn_ring(idle)?;
            self.environment.0.wake_due_timers();
            READY.with_borrow_mut(Ready::begin_turn);
        }
    }

    fn poll_task(&self, ready: &Arc<TaskWaker>) {
        let table = &self.environment.0.tasks;
        let taken = match table.borrow_mut().slots.get_mut(ready.slot) {
            Some(slot) if slot.as_ref().is_some_and(|task| Arc::ptr_eq(&task.waker, ready)) => slot.take(),
            _ => None,
        };
        let Some(mut task) = taken else { return };
        let waker = Waker::from(task.waker.clone());
        let _in_tasks = InTasks::enter();
        match task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => table.borrow_mut().slots[ready.slot] = Some(task),
            Poll::Ready(()) => table.borrow_mut().free.push(ready.slot),
        }
    }

    /// Submits and reaps; blocks if that woke no task.
    fn turn_ring(&self, idle: Idle) -> io::Result<()> {
        let driver = self.driver.borrow();
        let is_idle = || READY.with_borrow(Ready::is_empty);
        let timer_us = self.environment.0.microseconds_to_next_timer();
        let Some(driver) = driver.as_ref() else {
            return if is_idle() { self.wait_for_descriptor(timer_us) } else { Ok(()) };
        };
        driver.reap();
        if !is_idle() {
            driver.submit();
            return Ok(());
        }
        // With nothing in flight, only a timer can wake a task, and a wait in the ring would miss
        // it.
        if idle == Idle::Ring && driver.in_flight() > 0 && timer_us.is_none_or(|wait| wait > EXACT_TIMER_US) {
            driver.submit_and_wait();
            driver.reap();
            return Ok(());
        }
        driver.submit();
        // The descriptor is registered edge-triggered: a completion after this reap gives an event,
        // so none is missed.
        if driver.reap() == 0 && is_idle() {
            // If the kernel refused all operations, no completion would wake this thread.
            let refused_us = driver.is_refused().then_some(REFUSED_US);
            let timer_us = timer_us.into_iter().chain(refused_us).min();
            self.wait_for_descriptor(timer_us)?;
            driver.reap();
        }
        Ok(())
    }

    fn wait_for_descriptor(&self, timer_us: Option<u64>) -> io::Result<()> {
        // epoll counts in milliseconds and mio rounds up, so a timer is due when this returns.
        let timeout = timer_us.map(Duration::from_micros);
        match self.poll.borrow_mut().poll(&mut self.events.borrow_mut(), timeout) {
            // Completions run as task work of this thread and interrupt the wait.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }
}

/// Breaks a cycle: tasks hold the engine, which holds the environment, which holds the tasks.
impl Drop for Executor {
    fn drop(&mut self) {
        loop {
            let table = std::mem::take(&mut *self.environment.0.tasks.borrow_mut());
            if table.slots.is_empty() {
                return;
            }
            // Tasks that are spawned by the drop are dropped in the next round.
            drop(table);
        }
    }
}

/// Resolves when it has been counted down `count` times.
#[derive(Clone)]
pub struct Latch(Rc<LatchState>);

struct LatchState {
    left: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Latch {
    pub fn new(count: usize) -> Self {
        Self(Rc::new(LatchState { left: Cell::new(count), waker: RefCell::new(None) }))
    }

    pub fn count_down(&self) {
        self.0.left.set(self.0.left.get() - 1);
        if self.0.left.get() == 0
            && let Some(waker) = self.0.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

impl Future for Latch {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.left.get() == 0 {
            return Poll::Ready(());
        }
        *self.0.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spawned_tasks_run_and_slots_are_used_again() {
        let executor = Executor::new().unwrap();
        for _ in 0..3 {
            let latch = Latch::new(10);
            for _ in 0..10 {
                let latch = latch.clone();
                executor.spawn(async move { latch.count_down() });
            }
            executor.run(latch).unwrap();
        }
        assert_eq!(executor.environment.0.tasks.borrow().slots.len(), 10);
    }

    #[test]
    fn sleeps_end_in_the_order_of_their_deadlines() {
        let executor = Executor::new().unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        let latch = Latch::new(3);
        for milliseconds in [30, 5, 15] {
            let (order, latch, environment) = (order.clone(), latch.clone(), executor.environment());
            executor.spawn(async move {
                environment.sleep(milliseconds).await;
                order.borrow_mut().push(milliseconds);
                latch.count_down();
            });
        }
        let started = Instant::now();
        executor.run(latch).unwrap();
        assert_eq!(*order.borrow(), [5, 15, 30]);
        assert!(started.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn a_dropped_executor_drops_its_tasks() {
        let executor = Executor::new().unwrap();
        let (environment, held) = (executor.environment(), Rc::new(()));
        let (keeps, keeps_environment) = (held.clone(), environment.clone());
        environment.spawn(Box::pin(async move {
            let _keeps = (keeps, keeps_environment);
            std::future::pending::<()>().await;
        }));
        executor.run(async {}).unwrap();
        drop(executor);
        assert_eq!(Rc::strong_count(&held), 1);
    }

    #[test]
    fn a_dropped_sleep_leaves_no_timer() {
        let executor = Executor::new().unwrap();
        let environment = executor.environment();
        executor
            .run(async {
                let mut sleep = environment.sleep(60_000);
                let polled = std::future::poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
                assert!(polled.is_pending());
            })
            .unwrap();
        assert_eq!(executor.environment.0.microseconds_to_next_timer(), None);
    }

    /// Waits until its bell is rung once.
    #[derive(Clone, Default)]
    struct Bell(Rc<(Cell<bool>, RefCell<Option<Waker>>)>);

    impl Bell {
        fn ring(&self) {
            self.0.0.set(true);
            if let Some(waker) = self.0.1.take() {
                waker.wake();
            }
        }

        async fn heard(&self) {
            std::future::poll_fn(|context| {
                *self.0.1.borrow_mut() = Some(context.waker().clone());
                if self.0.0.replace(false) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Regression: a load saw the ends of all operations that the ring had returned together, and
    /// the drive had no operations left until the last of their tasks had run.
    #[test]
    fn the_main_future_and_what_it_wakes_go_before_tasks_that_are_ready() {
        let executor = Executor::new().unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        let bells: [Bell; 4] = Default::default();
        let (start, one_ended) = (Bell::default(), Bell::default());
        for (name, bell) in ["first", "second", "third", "successor"].into_iter().zip(bells.clone()) {
            let (order, one_ended) = (order.clone(), one_ended.clone());
            executor.spawn(async move {
                bell.heard().await;
                order.borrow_mut().push(name);
                one_ended.ring();
            });
        }
        let (woken, heard) = (bells.clone(), start.clone());
        executor.spawn(async move {
            heard.heard().await;
            woken[..3].iter().for_each(Bell::ring);
        });
        executor
            .run(async {
                start.ring();
                one_ended.heard().await;
                order.borrow_mut().push("main");
                bells[3].ring();
                while order.borrow().len() < 5 {
                    one_ended.heard().await;
                }
            })
            .unwrap();
        assert_eq!(*order.borrow(), ["first", "main", "successor", "second", "third"]);
    }

    #[test]
    fn a_turn_that_was_left_early_goes_on_with_the_next_future() {
        let executor = Executor::new().unwrap();
        let count = Rc::new(Cell::new(0));
        let (environment, counted) = (executor.environment(), count.clone());
        executor.spawn(async move {
            environment.sleep(0).await;
            counted.set(counted.get() + 1);
            loop {
                // The future is always ready, like a load whose operations need no I/O.
                let mut waited = false;
                std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                counted.set(counted.get() + 1);
            }
        });
        // These futures are ready at once; the others must get their turn nevertheless.
        for _ in 0..20 * FIRST_MAX {
            executor.run(async {}).unwrap();
        }
        assert!(count.get() > 10, "the task was polled {} times", count.get());
    }
}
