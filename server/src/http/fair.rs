//! A task that does not keep others of its core from running, whatever its peer does.
//!
//! monoio runs a task that wakes itself before all others, and looks at sockets and timers only when none
//! is ready. hyper wakes itself when it has done much at once, for example while a client sends requests
//! faster than they are answered: such a connection would have the core for itself.
//!
//! Invariant: a task that has woken itself more than [`STREAK_MAX`] times in a row, or that does so when the core
//! has not looked at its sockets and timers for [`LOOKS_AGAIN`], waits until all others had their turn.

use std::cell::RefCell;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use monoio::net::UnixStream;

/// How often in a row a task may wake itself: more than a request with a body does.
const STREAK_MAX: u32 = 8;
/// A core that is busy looks at its sockets and timers after this time.
const LOOKS_AGAIN: Duration = Duration::from_micros(80);
/// Timers of monoio end at the next whole millisecond.
const TIMER_STEP: Duration = Duration::from_millis(1);

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
            } else if is_to_look() {
                wake_after_look(context.waker());
            } else if this.streak < STREAK_MAX {
                this.streak += 1;
                context.waker().wake_by_ref();
            } else {
                let task = context.waker().clone();
                monoio::spawn(async move { task.wake() });
            }
        }
        polled
    }
}

/// The looks of a core at its sockets and timers that are made while it is busy. A core's thread has one runtime, as
/// long as it lives.
#[derive(Default)]
struct Looks {
    /// When the last one ended.
    last: Option<Instant>,
    /// One is made now.
    is_made: bool,
    /// Who waits for its end.
    waiting: Vec<Waker>,
}

thread_local! {
    static LOOKS: RefCell<Looks> = RefCell::default();
    static READY: Option<&'static UnixStream> = always_readable();
}

/// Returns whether this core, being busy, is to look at its sockets and timers again, or is about to.
fn is_to_look() -> bool {
    LOOKS.with_borrow(|looks| {
        looks.is_made || looks.last.is_none_or(|last| Instant::now() >= last + LOOKS_AGAIN)
    })
}

/// Wakes a task after this core has looked at its sockets and timers.
fn wake_after_look(task: &Waker) {
    let is_made = LOOKS.with_borrow_mut(|looks| {
        looks.waiting.push(task.clone());
        std::mem::replace(&mut looks.is_made, true)
    });
    if !is_made {
        // Others wait for it too: it is made even if the one that asked first is dropped.
        monoio::spawn(look());
    }
}

/// Waits until this core has looked at its sockets and timers, which it does when no task is ready, and wakes who
/// waits for that. A core that has nothing else to do does so at once.
async fn look() {
    let began = Instant::now();
    // That a stream is readable is seen at the next look at sockets, or already when an operation is submitted,
    // as a core does between tasks while some are ready.
    if let Some(stream) = READY.with(|ready| *ready) {
        let _ = stream.readable(false).await;
    }
    // A time that has passed is seen only by a core that looks at its timers. One that has done so in the
    // millisecond of this time does not wait.
    monoio::time::sleep_until(began.checked_sub(TIMER_STEP).unwrap_or(began).into()).await;
    let waiting = LOOKS.with_borrow_mut(|looks| {
        (looks.last, looks.is_made) = (Some(Instant::now()), false);
        std::mem::take(&mut looks.waiting)
    });
    waiting.into_iter().for_each(Waker::wake);
}

/// Resolves after all tasks of this core that are ready now have run, and it has looked at its sockets and
/// timers, if it has not done so [just now](LOOKS_AGAIN).
pub async fn all_run() {
    if !is_to_look() {
        return monoio::spawn(async {}).await;
    }
    let mut has_asked = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_asked, true) {
            return Poll::Ready(());
        }
        wake_after_look(context.waker());
        Poll::Pending
    })
    .await;
}

/// Makes a stream that stays readable. The core has it until the process ends: monoio could not close it after
/// its runtime has ended.
fn always_readable() -> Option<&'static UnixStream> {
    let (mut writes, reads) = std::os::unix::net::UnixStream::pair().ok()?;
    writes.write_all(&[0]).ok()?;
    // Even without its other end the byte is still there to be read.
    Some(Box::leak(Box::new(UnixStream::from_std(reads).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

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

    /// Where each look took a timer's millisecond, a body whose sender was faster than the core stood still for most
    /// of the time.
    #[test]
    fn a_core_that_has_nothing_else_to_do_goes_on_at_once() {
        // A timer of 20 ms ends after at most 21 others of a millisecond. That others are faster than that is seen
        // at once, or a little later on a machine that is very busy.
        let looks_in_20_ms = async || {
            let is_over = Rc::new(Cell::new(false));
            let over = is_over.clone();
            monoio::spawn(async move {
                monoio::time::sleep(Duration::from_millis(20)).await;
                over.set(true);
            });
            let mut looks = 0;
            while !is_over.get() {
                all_run().await;
                looks += 1;
            }
            looks
        };
        let was_seen = on_core(async {
            for _ in 0..50 {
                if looks_in_20_ms().await > 100 {
                    return true;
                }
            }
            false
        });
        assert!(was_seen);
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
