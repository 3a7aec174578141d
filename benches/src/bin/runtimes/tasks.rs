//! A minimal executor on the engine's ring: the least code that runs tasks on it.
//!
//! Invariants: tasks and their wakers stay on the thread that runs them. The thread blocks in the kernel only when no
//! task is ready, and whatever the ready tasks have queued goes to the kernel with the same call.

use ringbolt_engine::ring::Ring;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

thread_local! {
    static READY: RefCell<VecDeque<usize>> = const { RefCell::new(VecDeque::new()) };
}

/// A task that ends with success or with the error that ends the measurement.
pub type Task = Pin<Box<dyn Future<Output = io::Result<()>>>>;

struct TaskWaker(usize);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        READY.with_borrow_mut(|ready| ready.push_back(self.0));
    }
}

/// Runs all tasks to their end on `ring`, which belongs to this thread.
///
/// # Errors
/// The first error of a task; the others are dropped.
pub fn run(ring: &Ring, tasks: Vec<Task>) -> io::Result<()> {
    let wakers: Vec<Waker> = (0..tasks.len()).map(|index| Waker::from(Arc::new(TaskWaker(index)))).collect();
    let mut tasks: Vec<Option<Task>> = tasks.into_iter().map(Some).collect();
    READY.set((0..tasks.len()).collect());
    let mut running = tasks.len();
    while running > 0 {
        while let Some(index) = READY.with_borrow_mut(VecDeque::pop_front) {
            let Some(task) = &mut tasks[index] else { continue };
            if let Poll::Ready(outcome) = task.as_mut().poll(&mut Context::from_waker(&wakers[index])) {
                outcome?;
                tasks[index] = None;
                running -= 1;
            }
        }
        if running > 0 {
            ring.submit_and_wait();
            ring.reap();
        }
    }
    Ok(())
}
