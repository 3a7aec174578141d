//! A task that does not keep others of its core from running, whatever its peer does.
//!
//! monoio runs a task that wakes itself before all others, and looks at sockets and timers only when none
//! is ready. hyper wakes itself when it has done much at once, for example while a client sends requests
//! faster than they are answered: such a connection would have the core for itself.
//!
//! Invariant: a task that has woken itself more than [`STREAK_MAX`] times in a row waits until all others
//! had their turn, and the core has looked at its sockets and timers.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// How often in a row a task may wake itself: more than a request with a body does.
const STREAK_MAX: u32 = 8;

/// Runs a future as a fair task.
pub struct Fair<F> {
    future: Pin<Box<F>>,
    own: Arc<Own>,
    waker: Waker,
    /// How often in a row it has woken itself.
    streak: u32,
}

/// What is woken in place of the task.
#[derive(Default)]
struct Own {
    /// The task runs now, so that whoever wakes it is the task itself.
    runs: AtomicBool,
    woke_itself: AtomicBool,
    task: OnceLock<Waker>,
}

impl Wake for Own {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.runs.load(Relaxed) {
            self.woke_itself.store(true, Relaxed);
        } else if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl<F> Fair<F> {
    /// Makes a fair task of a future.
    pub fn new(future: F) -> Self {
        let own = Arc::new(Own::default());
        Self { future: Box::pin(future), waker: own.clone().into(), own, streak: 0 }
    }
}

impl<F: Future> Future for Fair<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let task = this.own.task.get_or_init(|| context.waker().clone());
        if !task.will_wake(context.waker()) {
            this.own = Arc::new(Own::default());
            this.waker = this.own.clone().into();
            let _ = this.own.task.set(context.waker().clone());
        }
        this.own.runs.store(true, Relaxed);
        let polled = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
        this.own.runs.store(false, Relaxed);
        if polled.is_pending() {
            if !this.own.woke_itself.swap(false, Relaxed) {
                this.streak = 0;
            } else if this.streak < STREAK_MAX {
                this.streak += 1;
                context.waker().wake_by_ref();
            } else {
                let task = context.waker().clone();
                monoio::spawn(async move {
                    all_run().await;
                    task.wake();
                });
            }
        }
        polled
    }
}

/// Resolves after all tasks of this core that are ready now have run, and it has looked at its sockets and
/// timers.
pub async fn all_run() {
    // A time that has passed is seen only by a core that looks at its timers.
    monoio::time::sleep(Duration::ZERO).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io::Write;
    use std::rc::Rc;
    use std::time::Instant;

    /// Runs something on a ring as that of a core.
    fn on_core<F: Future>(future: F) -> F::Output {
        let mut ring = io_uring::IoUring::builder();
        ring.setup_single_issuer().setup_defer_taskrun();
        let builder = monoio::RuntimeBuilder::<monoio::FusionDriver>::new().with_entries(256);
        builder.uring_builder(ring).enable_timer().build().unwrap().block_on(future)
    }

    /// Wakes itself until it is told to end, or for far too long.
    fn busy(ends: Rc<Cell<u32>>) -> impl Future<Output = bool> {
        let began = Instant::now();
        std::future::poll_fn(move |context| {
            if ends.get() >= 3 || began.elapsed() > Duration::from_secs(20) {
                return Poll::Ready(ends.get() >= 3);
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[test]
    fn a_task_that_wakes_itself_for_ever_lets_others_timers_and_sockets_through() {
        let were_heard = on_core(async {
            let ends = Rc::new(Cell::new(0));
            let heard = |ends: &Rc<Cell<u32>>| ends.set(ends.get() + 1);
            let two = [Fair::new(busy(ends.clone())), Fair::new(busy(ends.clone()))].map(monoio::spawn);
            let (by_task, by_timer, by_socket) = (ends.clone(), ends.clone(), ends.clone());
            monoio::spawn(async move { heard(&by_task) });
            monoio::spawn(async move {
                monoio::time::sleep(Duration::from_millis(3)).await;
                heard(&by_timer);
            });
            let (mut sends, receives) = std::os::unix::net::UnixStream::pair().unwrap();
            let receives = monoio::net::UnixStream::from_std(receives).unwrap();
            monoio::spawn(async move {
                receives.readable(false).await.unwrap();
                heard(&by_socket);
            });
            std::thread::spawn(move || sends.write_all(b"x").unwrap());
            let [one, other] = two;
            one.await && other.await
        });
        assert!(were_heard);
    }

    #[test]
    fn a_task_that_is_woken_by_others_goes_on_at_once() {
        on_core(async {
            let (sender, receiver) = futures_util::future::AbortHandle::new_pair();
            let waits = futures_util::future::Abortable::new(std::future::pending::<()>(), receiver);
            let task = monoio::spawn(Fair::new(waits));
            monoio::spawn(async move { sender.abort() });
            assert!(task.await.is_err());
        });
    }
}
