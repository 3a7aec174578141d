//! One flush for all who wait.
//!
//! Invariant: a caller's flush starts after its call. So a caller that comes while a flush runs waits for the
//! next one, which starts when that one ends and serves everybody who came meanwhile. After a failed flush every later
//! one fails too (law 3).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::{Device, DeviceError};
use crate::env::Environment;

/// Shared by everything on a core that writes to one drive.
pub struct FlushGroup {
    device: Rc<dyn Device>,
    environment: Rc<dyn Environment>,
    waiting: RefCell<Vec<Rc<Ticket>>>,
    running: Cell<bool>,
    flushes: Cell<u64>,
    /// Final: what a failed flush should have made durable is lost to every later one, however well that goes.
    failed: RefCell<Option<DeviceError>>,
}

#[derive(Default)]
struct Ticket {
    result: RefCell<Option<Result<(), DeviceError>>>,
    waker: RefCell<Option<Waker>>,
}

impl FlushGroup {
    pub fn new(device: Rc<dyn Device>, environment: Rc<dyn Environment>) -> Rc<Self> {
        Rc::new(Self {
            device,
            environment,
            waiting: RefCell::default(),
            running: Cell::new(false),
            flushes: Cell::new(0),
            failed: RefCell::default(),
        })
    }

    /// Whether a flush runs or is waited for: then joining it is cheaper than a synchronous write.
    pub fn busy(&self) -> bool {
        self.running.get()
    }

    /// Flushes sent to the device so far.
    pub fn flushes(&self) -> u64 {
        self.flushes.get()
    }

    /// Makes every write that completed before this call durable.
    ///
    /// # Errors
    /// When the device failed: then nothing is known of any write since the last good flush.
    pub async fn flush(self: &Rc<Self>) -> Result<(), DeviceError> {
        if !self.device.needs_flush() {
            return Ok(());
        }
        if let Some(error) = self.failed.borrow().clone() {
            return Err(error);
        }
        let ticket = Rc::new(Ticket::default());
        self.waiting.borrow_mut().push(ticket.clone());
        if !self.running.replace(true) {
            self.environment.spawn(Box::pin(self.clone().serve()));
        }
        poll_fn(|context| match ticket.result.borrow_mut().take() {
            Some(result) => Poll::Ready(result),
            None => {
                *ticket.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// No flush of this drive counts any more.
    pub fn stop(&self, error: DeviceError) {
        self.failed.borrow_mut().get_or_insert(error);
    }

    async fn serve(self: Rc<Self>) {
        loop {
            let tickets = std::mem::take(&mut *self.waiting.borrow_mut());
            if tickets.is_empty() {
                self.running.set(false);
                return;
            }
            self.flushes.set(self.flushes.get() + 1);
            let result = self.device.flush().await;
            // Stopped meanwhile: another core's flush failed, and took away what this one should have covered.
            let result = self.failed.borrow().clone().map_or(result, Err);
            if let Err(error) = &result {
                self.stop(error.clone());
            }
            for ticket in tickets {
                *ticket.result.borrow_mut() = Some(result.clone());
                if let Some(waker) = ticket.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }
}
