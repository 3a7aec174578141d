//! Flushes that are shared by everything that waits at the same time.
//!
//! Invariant: the flush that serves a caller starts after its call. A caller that comes while a
//! flush runs waits for the next one, which starts when that one ends and serves everybody who has
//! come meanwhile. After a failed flush every later one fails too (law 3).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::{Device, DeviceError};
use crate::env::Environment;

/// The flushes of one drive, shared by everything on a core that writes to it.
pub struct FlushGroup {
    device: Rc<dyn Device>,
    environment: Rc<dyn Environment>,
    waiting: RefCell<Vec<Rc<Ticket>>>,
    running: Cell<bool>,
    flushes: Cell<u64>,
    /// The first failure, which is final: a later successful flush would not bring back what the
    /// failed one should have made durable.
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

    /// Returns whether a flush is running or about to run. In that case joining the next one is
    /// cheaper than a synchronous write.
    pub fn busy(&self) -> bool {
        self.running.get()
    }

    /// Returns the number of flushes sent to the device so far.
    pub fn flushes(&self) -> u64 {
        self.flushes.get()
    }

    /// Makes every write that completed before this call durable.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed now or earlier. The state of all writes since
    /// the last successful flush is then unknown.
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

    /// Makes every flush of this drive fail from now on with `error`.
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
            // If the group was stopped meanwhile, another core's flush has failed and may have lost
            // the data that this one should have covered.
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
