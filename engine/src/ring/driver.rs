//! The engine's ring, for whoever owns the thread.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::select;

use super::Ring;
use crate::env::Environment;

/// How long nothing is tried again that the kernel refused while it had nothing to complete.
const REFUSED_PAUSE_MS: u64 = 1;

/// The loop is: when [`Driver::pending`] resolves, [`Driver::submit`] and [`Driver::reap`]; and [`Driver::attend`] for
/// what comes in.
#[derive(Clone)]
pub struct Driver {
    ring: Ring,
    environment: Rc<dyn Environment>,
}

/// Reaps first, arms after: `ready` waits for something to reap, and does not wait when there is something already.
/// The other way round, what came in between would be seen only with the next completion. Ends when `ready` says so.
pub(crate) async fn attend(mut reap: impl FnMut(), mut ready: impl AsyncFnMut() -> bool) {
    loop {
        reap();
        if !ready().await {
            return;
        }
    }
}

impl Driver {
    pub(crate) fn new(ring: Ring, environment: Rc<dyn Environment>) -> Self {
        Self { ring, environment }
    }

    /// Readable (POLLIN) when completions or messages from other cores wait to be reaped.
    pub fn raw_fd(&self) -> i32 {
        self.ring.raw_fd()
    }

    /// The same, as a descriptor of one's own.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn duplicate_fd(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.ring.duplicate_fd()
    }

    /// Resolves when operations wait to be submitted. What the kernel has refused waits for a completion, or for a
    /// moment when there is none: a task that submits after each call does not spin. For one waiting task.
    pub async fn pending(&self) {
        self.ring.pending().await;
        if self.ring.is_refused() {
            select(pin!(self.ring.relieved()), self.environment.sleep(REFUSED_PAUSE_MS)).await;
        }
    }

    /// Hands what is queued to the kernel; does not wait.
    pub fn submit(&self) {
        self.ring.submit();
    }

    /// Whether the kernel did not take what it was offered last. A loop that is idle then must not wait for the
    /// descriptor alone: perhaps nothing is under way that could wake it.
    pub fn is_refused(&self) -> bool {
        self.ring.is_refused()
    }

    /// Takes completions and wakes their tasks; returns how many. No system call, unless the completion queue was too
    /// small.
    pub fn reap(&self) -> usize {
        self.ring.reap()
    }

    /// Reaps for as long as `ready` gives true, which resolves when [`Driver::raw_fd`] is readable.
    pub async fn attend(&self, ready: impl AsyncFnMut() -> bool) {
        attend(|| _ = self.reap(), ready).await;
    }

    /// Submits, then blocks until there is at least one completion (for loops that own the thread alone).
    pub fn submit_and_wait(&self) {
        self.ring.submit_and_wait();
    }

    /// Operations the kernel has not answered yet.
    pub fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::Future;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicI32;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::env::LocalTask;
    use crate::ring::Pool;
    use crate::ring::uring::Target;

    /// Time that passes when the test says so.
    #[derive(Default)]
    struct Stopped {
        sleeps: Cell<u64>,
        is_over: Rc<Cell<bool>>,
    }

    impl Environment for Stopped {
        fn wall_clock_ms(&self) -> u64 {
            0
        }

        fn monotonic_us(&self) -> u64 {
            0
        }

        fn random_u64(&self) -> u64 {
            0
        }

        fn spawn(&self, _: LocalTask) {
            panic!("nothing is spawned here");
        }

        fn sleep(&self, _: u64) -> LocalTask {
            self.sleeps.set(self.sleeps.get() + 1);
            let is_over = self.is_over.clone();
            Box::pin(std::future::poll_fn(
                move |_| if is_over.get() { Poll::Ready(()) } else { Poll::Pending },
            ))
        }
    }

    fn is_ready(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// A refused submission made the server's task call the kernel again and again, and nothing else ever ran.
    #[test]
    fn a_refused_submission_waits_for_time_or_a_completion() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let pool = Pool::new(0).expect("memory");
        let peers = Arc::new(vec![AtomicI32::new(-1)]);
        let ring = Ring::new(0, peers, &[reader.as_raw_fd()], pool.clone(), false).expect("a ring");
        // Closed before the ring waits for a read, should the test fail.
        let mut writer = writer;
        let environment = Rc::new(Stopped::default());
        let driver = Driver::new(ring.clone(), environment.clone());
        let read = || {
            let buffer = pool.try_take(4096).expect("a buffer");
            ring.read(Target { file: 0, offset: 0, skip: 0, length: 4096 }, buffer)
        };
        let first = read();
        assert!(is_ready(pin!(driver.pending())), "nothing was refused yet");
        driver.submit();
        assert!(!is_ready(pin!(driver.pending())), "nothing to submit");
        let refusing = Rc::new(Cell::new(true));
        let asked = refusing.clone();
        ring.hook(Box::new(move |call| {
            let refused = asked.get() && call.offered > 0;
            refused.then(|| Err(std::io::Error::from_raw_os_error(libc::EAGAIN)))
        }));
        let second = read();
        assert!(is_ready(pin!(driver.pending())));
        driver.submit();
        {
            let mut pending = pin!(driver.pending());
            assert!(!is_ready(pending.as_mut()) && !is_ready(pending.as_mut()), "it must not spin");
            environment.is_over.set(true);
            assert!(is_ready(pending), "time has passed");
        }
        environment.is_over.set(false);
        driver.submit();
        {
            let mut pending = pin!(driver.pending());
            assert!(!is_ready(pending.as_mut()), "refused again");
            writer.write_all(&[1; 8192]).expect("written");
            driver.submit_and_wait();
            assert_eq!(driver.reap(), 1);
            assert!(is_ready(pending), "something was completed");
        }
        assert_eq!(environment.sleeps.get(), 2);
        refusing.set(false);
        driver.submit();
        while driver.in_flight() > 0 {
            driver.submit_and_wait();
            driver.reap();
        }
        assert!(is_ready(pin!(first)) && is_ready(pin!(second)));
    }
}
