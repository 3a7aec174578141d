//! The timers of hyper, on monoio.
//!
//! Invariant: hyper wants them `Send`. A connection and its timers never leave their core, and
//! `SendWrapper` panics if they do.

use hyper::rt::{Sleep, Timer};
use send_wrapper::SendWrapper;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The timers of hyper, made by the runtime of the core.
#[derive(Clone, Copy, Debug)]
pub struct CoreTimer;

/// A sleep that stays on its core.
pub struct CoreSleep(SendWrapper<Pin<Box<monoio::time::Sleep>>>);

impl CoreSleep {
    /// Begins a sleep of this duration.
    pub fn new(duration: Duration) -> Self {
        Self(SendWrapper::new(Box::pin(monoio::time::sleep(duration))))
    }
}

impl Future for CoreSleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl Sleep for CoreSleep {}

impl Timer for CoreTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(CoreSleep::new(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<CoreSleep>() {
            Some(mut own) => own.0.as_mut().reset(deadline.into()),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}
