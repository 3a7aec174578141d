//! The interface to the engine's ring for the owner of the thread.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::select;

use super::Ring;
use crate::env::Environment;

/// Milliseconds after which refused entries are offered again when the kernel has nothing to
/// complete.
const REFUSED_PAUSE_MS: u64 = 1;

/// Drives the ring of one core. The loop of the thread's owner calls [`Driver::submit`] and
/// [`Driver::reap`] when [`Driver::pending`] resolves, and runs [`Driver::attend`] for completions
/// and messages.
#[derive(Clone)]
pub struct Driver {
    ring: Ring,
    environment: Rc<dyn Environment>,
}

/// Reaps first and waits afterwards: `ready` waits for something to reap, and does not wait when
/// there is something already. In the reverse order, what arrives in between would be seen only
/// with the next completion. The loop ends when `ready` returns false.
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

    /// Returns a descriptor that is readable (POLLIN) when completions or messages from other cores
    /// wait to be reaped.
    pub fn raw_fd(&self) -> i32 {
        self.ring.raw_fd()
    }

    /// Returns a duplicate of [`Self::raw_fd`] that the caller owns.
    ///
    /// # Errors
    /// Returns an error when the process has no descriptor left.
    pub fn duplicate_fd(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.ring.duplicate_fd()
    }

    /// Resolves when operations wait to be submitted. After a refusal by the kernel it resolves at
    /// the next completion or after a pause, so that a task that submits after each call does not
    /// spin. Only one task may wait.
    pub async fn pending(&self) {
        self.ring.pending().await;
        if self.ring.is_refused() {
            select(pin!(self.ring.relieved()), self.environment.sleep(REFUSED_PAUSE_MS)).await;
        }
    }

    /// Hands what is queued to the kernel, without waiting.
    pub fn submit(&self) {
        self.ring.submit();
    }

    /// Returns whether the kernel has refused what it was offered last. An idle loop must then not
    /// wait for the descriptor alone, because there may be no operation in flight that could wake
    /// it.
    pub fn is_refused(&self) -> bool {
        self.ring.is_refused()
    }

    /// Takes completions and wakes their tasks, and serves the messages of other cores that they
    /// announce. Returns the number of completions. It makes no system call unless the completion
    /// queue was too small.
    pub fn reap(&self) -> usize {
        self.ring.reap()
    }

    /// Reaps in a loop until `ready` returns false. `ready` must resolve when [`Driver::raw_fd`] is
    /// readable.
    pub async fn attend(&self, ready: impl AsyncFnMut() -> bool) {
        attend(|| _ = self.reap(), ready).await;
    }

    /// Submits, then blocks until there is at least one completion. It is for loops that own the
    /// thread alone.
    pub fn submit_and_wait(&self) {
        self.ring.submit_and_wait();
    }

    /// Returns the number of operations that the kernel has not answered yet.
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

    /// A clock that advances only when the test says so.
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

    /// A refused submission made the server's task call the kernel again and again, and no other
    /// task ever ran.
    #[test]
    fn a_refused_submission_waits_for_time_or_a_completion() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let pool = Pool::new(0).expect("memory");
        let peers = Arc::new(vec![AtomicI32::new(-1)]);
        let ring = Ring::new(0, peers, &[reader.as_raw_fd()], pool.clone(), false).expect("a ring");
        // The pipe is closed before the ring waits for a read, should the test fail.
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
